//! One connection, from its handshake to its end.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// Pause after a connection could not be accepted.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// Headers of one request, and bytes of all of them.
const MAX_HEADERS: usize = 100;
const MAX_HEAD: usize = 64 * 1024;
/// Bytes of an answer that wait in the system for who reads slowly.
const SEND_BUFFER: usize = 128 * 1024;
/// And of those, bytes that the other end has no room for: thousands who read nothing must not fill the system's memory for
/// connections, which all of them share.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 16 * 1024;
/// How long they wait for who reads nothing: then the connection is over.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(60);
/// Requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At once. Each has a buffer of 64 KiB at most, beside what its request takes.
    pub connections: usize,
    /// For the TLS handshake, and for the head of a request; also how long a connection may idle.
    pub head: Duration,
    /// For requests that are being answered at shutdown.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 16_384, head: Duration::from_secs(15), grace: Duration::from_secs(10) }
    }
}

/// Beside each request that came over a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived {
    /// Whether the connection is encrypted here.
    pub(crate) tls: bool,
}

/// Answers the requests of one connection until it ends.
pub(super) async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    limits: Limits,
    watcher: Watcher,
) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    bound(&stream);
    let Some(tls) = tls else {
        return http1(stream, service(router, peer, false), peer, limits, watcher).await;
    };
    let service = service(router, peer, true);
    match tokio::time::timeout(limits.head, tls.accept(stream)).await {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            http2(stream, service, peer, limits, watcher).await;
        }
        Ok(Ok(stream)) => http1(stream, service, peer, limits, watcher).await,
        Ok(Err(e)) => tracing::debug!(%peer, "no TLS: {e}"),
        Err(_) => tracing::debug!(%peer, "no TLS handshake in time"),
    }
}

/// What somebody who reads nothing costs the system: so much, and for so long.
fn bound(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    // Where a system has no such bounds it has its own.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    #[cfg(target_os = "linux")]
    {
        let _ = socket.set_tcp_notsent_lowat(UNSENT);
        let _ = socket.set_tcp_user_timeout(Some(UNREAD));
    }
}

/// What answers the requests of a connection.
trait Answering:
    tower::Service<
        axum::http::Request<hyper::body::Incoming>,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
}

impl<T> Answering for T where
    T: tower::Service<
            axum::http::Request<hyper::body::Incoming>,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
            Future: Send + 'static,
        > + Clone
        + Send
        + 'static
{
}

/// The routes, told who is at the other end, and how they came.
fn service(router: Router, peer: SocketAddr, tls: bool) -> impl Answering {
    router.map_request(move |mut request: axum::http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(Arrived { tls });
        request.map(axum::body::Body::new)
    })
}

async fn http1<S>(stream: S, service: impl Answering, peer: SocketAddr, limits: Limits, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        // Who has said all may still listen. Who is gone shows when something is written to them.
        .half_close(true);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(e) = watcher.watch(served).await {
        tracing::debug!(%peer, "a connection ended: {e}");
    }
}

async fn http2<S>(stream: S, service: impl Answering, peer: SocketAddr, limits: Limits, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(limits.head)
        .keep_alive_timeout(limits.head);
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(e) = watcher.watch(served).await {
        tracing::debug!(%peer, "a connection ended: {e}");
    }
}
