//! Connections: accepting them within limits, serving them, and ending them in good order.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::OptionFuture;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt as _;

use super::bind::CoreListener;
use super::tls::{Secured, Tls, Trust};
use crate::domain::certificate::ClientCertificate;
use crate::grpc::GrpcFront;
use crate::http::{ClientAddress, ConnectionCertificate};

/// Connections at a time, over all listeners.
const MAX_CONNECTIONS: usize = 4_096;
/// How long to wait when the process is out of file descriptors or connections.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// How long a client may take to say its first word, or to send its headers.
pub(super) const HEADER_PATIENCE: Duration = Duration::from_secs(5);
/// Connections are ended in good order after so long, so that clients spread over new servers.
const MAX_AGE: Duration = Duration::from_mins(30);
/// How long requests under way may take to finish when a connection is ended.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);
const MAX_HEADERS: usize = 64;
const MAX_HEADER_BYTES: usize = 16 << 10;
const MAX_STREAMS: u32 = 256;
const MAX_PENDING_RESETS: usize = 20;
const MAX_LOCAL_RESETS: usize = 256;
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_PATIENCE: Duration = Duration::from_secs(10);

/// What serves the connections of a listener.
#[derive(Clone)]
pub(super) enum Front {
    /// HTTP/1.1.
    Http(Router),
    /// gRPC over HTTP/2.
    Grpc(GrpcFront),
}

/// What is behind a port.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) front: Front,
    /// `None`: it is not encrypted. The Unix socket never is.
    pub(super) tls: Option<Tls>,
}

/// What is known of the other end of a connection.
#[derive(Default)]
struct Peer {
    /// `None`: it came through the Unix socket.
    address: Option<IpAddr>,
    /// In DER, of a client that the handshake has trusted.
    certificate: Option<ClientCertificate>,
    /// `None`: it is trusted for as long as it lasts.
    trust: Option<Trust>,
}

/// How many more connections there may be.
#[derive(Clone)]
pub(super) struct ConnectionLimit(Arc<Semaphore>);

impl Default for ConnectionLimit {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_CONNECTIONS)))
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream, SocketAddr),
    Unix(UnixStream),
}

impl Listener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream, peer))
            }
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

impl Stream {
    /// Waits until there is something to read.
    async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream, _) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }
}

/// Accepts until drained, then waits for the connections within the limit.
pub(super) async fn accept(
    listener: CoreListener,
    port: Port,
    limit: ConnectionLimit,
    mut draining: watch::Receiver<bool>,
) {
    let listener = match listener {
        CoreListener::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
        CoreListener::Unix(listener) => UnixListener::from_std(listener).map(Listener::Unix),
    };
    let listener = listener.expect("a bound, non-blocking socket can be registered with the runtime");
    let mut connections = JoinSet::new();
    let drained = draining.clone();
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener, &limit) => accepted,
            Some(_) = connections.join_next() => continue,
            _ = draining.wait_for(|draining| *draining) => break,
        };
        match accepted {
            Ok((stream, permit)) => {
                connections.spawn(serve(stream, port.clone(), permit, drained.clone()));
            }
            // Out of file descriptors, or a connection that was gone already: neither ends the server.
            Err(error) => {
                tracing::warn!(error = %error, "a connection could not be accepted");
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    drop(listener);
    if timeout(DRAIN_PATIENCE, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        tracing::warn!(connections = connections.len(), "connections were cut off: they did not end in time");
    }
}

/// The permit first: a connection that may not be served waits in the kernel's queue.
async fn accept_one(listener: &Listener, limit: &ConnectionLimit) -> io::Result<(Stream, OwnedSemaphorePermit)> {
    let permit = limit.0.clone().acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, permit))
}

async fn serve(stream: Stream, port: Port, permit: OwnedSemaphorePermit, mut draining: watch::Receiver<bool>) {
    // HTTP/2 has no limit of its own for a peer that never says its first word.
    let speaks = tokio::select! {
        readable = timeout(HEADER_PATIENCE, stream.readable()) => matches!(readable, Ok(Ok(()))),
        _ = draining.wait_for(|draining| *draining) => false,
    };
    if speaks {
        match (stream, port.tls) {
            (Stream::Tcp(stream, peer), None) => {
                let peer = Peer { address: Some(peer.ip()), ..Peer::default() };
                serve_io(stream, peer, port.front, draining).await;
            }
            (Stream::Tcp(stream, peer), Some(tls)) => serve_tls(stream, peer.ip(), &tls, port.front, draining).await,
            (Stream::Unix(stream), _) => serve_io(stream, Peer::default(), port.front, draining).await,
        }
    }
    drop(permit);
}

async fn serve_tls(stream: TcpStream, address: IpAddr, tls: &Tls, front: Front, mut draining: watch::Receiver<bool>) {
    let secured = tokio::select! {
        secured = tls.accept(stream) => secured,
        _ = draining.wait_for(|draining| *draining) => return,
    };
    match secured {
        Ok(Secured { stream, trust }) => {
            let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
            let certificate = certificate.map(|certificate| ClientCertificate::of_connection(certificate));
            serve_io(stream, Peer { address: Some(address), certificate, trust }, front, draining).await;
        }
        Err(error) => tracing::debug!(error = %error, "a connection had no good handshake"),
    }
}

async fn serve_io<S>(stream: S, peer: Peer, front: Front, draining: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let Peer { address, certificate, trust } = peer;
    let ended = match front {
        Front::Http(router) => {
            let certificate = certificate.map(ConnectionCertificate);
            let router = router.map_request(move |mut request: Request<Incoming>| {
                if let Some(address) = address {
                    request.extensions_mut().insert(ClientAddress(address));
                }
                if let Some(certificate) = &certificate {
                    request.extensions_mut().insert(certificate.clone());
                }
                request
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_PATIENCE)
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(io, TowerToHyperService::new(router));
            until_ended(connection, trust, draining).await
        }
        Front::Grpc(front) => {
            let is_local = address.is_none_or(|address| address.to_canonical().is_loopback());
            let names = certificate.map(|certificate| certificate.names()).unwrap_or_default();
            let caller = front.connecting(&names, is_local);
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(MAX_STREAMS)
                .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
                .max_local_error_reset_streams(MAX_LOCAL_RESETS)
                .max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_PATIENCE)
                .serve_connection(io, service_fn(move |request| front.answer(request, caller)));
            until_ended(connection, trust, draining).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "a connection ended with an error");
    }
}

/// Serves a connection until the peer ends it, it is old or no longer trusted, or the server drains. In the last three cases no new request is
/// taken and those under way may finish, within the limit.
#[expect(
    clippy::manual_async_fn,
    reason = "the compiler can only prove the future `Send` where the signature asks for it"
)]
fn until_ended<C>(
    connection: C,
    trust: Option<Trust>,
    mut draining: watch::Receiver<bool>,
) -> impl Future<Output = Result<(), C::Error>> + Send
where
    C: GracefulConnection<Error: Send> + Send,
{
    async move {
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return ended,
            _ = draining.wait_for(|draining| *draining) => {}
            () = sleep(MAX_AGE) => {}
            Some(()) = OptionFuture::from(trust.map(Trust::ended)) => {}
        }
        connection.as_mut().graceful_shutdown();
        // What is not finished then is cut off: a peer that stays silent would hold the process for ever.
        timeout(DRAIN_PATIENCE, connection).await.unwrap_or(Ok(()))
    }
}
