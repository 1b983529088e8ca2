//! A line to another server that can be cut.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What is at the other end.
#[derive(Clone, Debug)]
pub enum Target {
    Tcp(String),
    Unix(PathBuf),
}

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    Whole,
    /// Connections stay and carry nothing, as when a packet filter drops everything.
    Silent,
    /// What comes back is no answer, but as much of something else. A connection that carried such ends with it: without TLS, nobody
    /// could tell what comes afterwards from what was asked before.
    Garbled,
    /// Connections are closed, new ones at once.
    Closed,
}

/// A port of its own that leads to the target.
pub struct Proxy {
    pub port: u16,
    line: Arc<watch::Sender<Line>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: Target) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Arc::new(watch::Sender::new(Line::Whole));
        let lines = line.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (target, line) = (target.clone(), lines.subscribe());
                tokio::spawn(async move {
                    if *line.borrow() == Line::Closed {
                        return;
                    }
                    match target {
                        Target::Tcp(address) => carry(stream, TcpStream::connect(address).await, line).await,
                        Target::Unix(path) => carry(stream, UnixStream::connect(path).await, line).await,
                    }
                });
            }
        });
        Self { port, line, accepting }
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    here: TcpStream,
    there: std::io::Result<S>,
    line: watch::Receiver<Line>,
) {
    let Ok(there) = there else { return };
    let (here, there) = (split(here), split(there));
    tokio::select! {
        () = one_way(here.0, there.1, line.clone(), Way::There) => {}
        () = one_way(there.0, here.1, line, Way::Back) => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    There,
    Back,
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut line: watch::Receiver<Line>,
    way: Way,
) {
    let mut buffer = vec![0; 16 << 10];
    let mut garbled = false;
    loop {
        let read = tokio::select! {
            biased;
            Ok(_) = line.wait_for(|line| *line == Line::Closed || (garbled && *line == Line::Whole)) => return,
            read = from.read(&mut buffer) => read,
        };
        let Ok(count @ 1..) = read else { return };
        let state = match line.wait_for(|line| *line != Line::Silent).await {
            Ok(state) => *state,
            Err(_) => return,
        };
        if (state, way) == (Line::Garbled, Way::Back) {
            garbled = true;
            for (place, byte) in buffer[..count].iter_mut().enumerate() {
                // Messages of PostgreSQL that are shorter than their own length.
                *byte = b"R\0\0\0\0"[place % 5];
            }
        }
        if state == Line::Closed || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
