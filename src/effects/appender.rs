//! Lines that are appended to a file by a thread of its own, so that whoever has one to write never waits for a disk.
//!
//! A file that was moved away, as log rotation does, is left and made anew at the next line; one that was truncated is appended to, too.
//! When lines come faster than they can be written, and when they cannot be written at all, they are counted as lost, never waited for.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use prometheus_client::metrics::counter::Counter;

/// So many lines wait at most.
const MAX_WAITING: usize = 4_096;
/// So many are written at once at most.
const MAX_BATCH: usize = 256;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    StandardOutput,
    StandardError,
    File(PathBuf),
}

/// Appends lines. What waits is written before this is gone.
pub struct Appender {
    /// `None` while this is dropped.
    queue: Option<SyncSender<String>>,
    thread: Option<JoinHandle<()>>,
    losses: Losses,
}

/// Lines that were lost.
#[derive(Clone, Default)]
struct Losses {
    total: Counter,
    /// Since the last line.
    untold: Arc<AtomicU64>,
}

/// What the thread works with.
struct Writer {
    sink: Sink,
    losses: Losses,
    is_failing: bool,
    /// Part of a line may be there.
    is_torn: bool,
}

enum Sink {
    Standard(Box<dyn Write + Send>),
    File { path: PathBuf, file: File },
}

impl Appender {
    /// `lost` counts what is lost.
    pub fn open(destination: &Destination, lost: Counter) -> io::Result<Self> {
        let losses = Losses { total: lost, untold: Arc::default() };
        let sink = match destination {
            Destination::StandardOutput => Sink::Standard(Box::new(io::stdout())),
            Destination::StandardError => Sink::Standard(Box::new(io::stderr())),
            Destination::File(path) => Sink::File { path: path.clone(), file: open_file(path)? },
        };
        let writer = Writer { sink, losses: losses.clone(), is_failing: false, is_torn: false };
        let (queue, lines) = sync_channel(MAX_WAITING);
        let thread = thread::Builder::new().name("appender".into()).spawn(move || writer.run(&lines))?;
        Ok(Self { queue: Some(queue), thread: Some(thread), losses })
    }

    /// Hands over a line, made of how many were lost since the one before.
    pub fn append(&self, line: impl FnOnce(u64) -> String) {
        let lost = self.losses.untold.swap(0, Ordering::Relaxed);
        let queued = self.queue.as_ref().is_some_and(|queue| queue.try_send(line(lost)).is_ok());
        if !queued {
            self.losses.total.inc();
            self.losses.untold.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Writer {
    fn run(mut self, lines: &Receiver<String>) {
        while let Ok(first) = lines.recv() {
            let (mut text, mut count) = (first, 1);
            text.push('\n');
            for line in lines.try_iter().take(MAX_BATCH - 1) {
                text.push_str(&line);
                text.push('\n');
                count += 1;
            }
            let written = self.write(&text);
            if let Err(error) = &written {
                self.losses.total.inc_by(count);
                self.losses.untold.fetch_add(count, Ordering::Relaxed);
                if !self.is_failing {
                    tracing::error!(error = %error, "the audit log cannot be written: lines are lost");
                }
            }
            self.is_failing = written.is_err();
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.sink.follow_rotation()?;
        let sink: &mut dyn Write = match &mut self.sink {
            Sink::Standard(sink) => sink,
            Sink::File { file, .. } => file,
        };
        if self.is_torn {
            sink.write_all(b"\n")?;
        }
        self.is_torn = true;
        sink.write_all(text.as_bytes())?;
        sink.flush()?;
        self.is_torn = false;
        Ok(())
    }
}

impl Sink {
    /// Goes on in the file that has the name now.
    fn follow_rotation(&mut self) -> io::Result<()> {
        let Self::File { path, file } = self else { return Ok(()) };
        let opened = file.metadata()?;
        let is_same =
            std::fs::metadata(&*path).is_ok_and(|named| (named.dev(), named.ino()) == (opened.dev(), opened.ino()));
        if !is_same {
            match open_file(path) {
                Ok(made) => *file = made,
                // Better where it was moved to than nowhere.
                Err(error) => {
                    tracing::error!(error = %error, path = %path.display(), "a file that was moved away cannot be made anew");
                }
            }
        }
        Ok(())
    }
}

/// Opens a file for appending. A missing one is made, for its owner alone.
pub fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}
