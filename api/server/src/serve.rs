//! Serving on a socket: who may listen where, and what a connection may cost.
//!
//! # Guarantees
//! - An address that others can reach is served only where everybody proves who they are, and over TLS unless `plain_http` is
//!   said (for a place behind a proxy that speaks TLS).
//! - Connections are bounded; a head, a handshake or a body that does not come is not waited for (slow clients); a client that
//!   has sent all it wants to and closed its half is answered; that one is gone shows when something is written to it.

mod connection;
mod tls;

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::ApiState;
pub(crate) use connection::Arrived;
pub use connection::Limits;
pub use tls::{Tls, TlsFiles};

/// How to serve.
#[derive(Debug, Default)]
pub struct Serving {
    pub tls: Option<Tls>,
    /// Others may reach us without TLS: a proxy before us speaks it.
    pub plain_http: bool,
    pub limits: Limits,
}

fn is_loopback(addr: SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

/// Whether this address may be served on by a process that lets everybody in. It may not if others could reach it.
pub fn loopback_only(addr: SocketAddr) -> Result<(), String> {
    if is_loopback(addr) {
        return Ok(());
    }
    Err(format!(
        "{addr} can be reached from other hosts, and nobody is asked who they are here, so only loopback is allowed: use \
         127.0.0.1:{port} or [::1]:{port}; elsewhere `trueup serve --require-authentication` with TLS",
        port = addr.port()
    ))
}

/// Whether this address may be served on like this. `proves`: everybody has to prove who they are.
pub fn may_serve(addr: SocketAddr, proves: bool, tls: bool, plain_http: bool) -> Result<(), String> {
    if is_loopback(addr) {
        return Ok(());
    }
    if !proves {
        return Err(format!(
            "{addr} can be reached from other hosts, and nobody is asked who they are: add --require-authentication with \
             --bootstrap-key-file or --oidc-issuer, or listen on 127.0.0.1:{}",
            addr.port()
        ));
    }
    if !tls && !plain_http {
        return Err(format!(
            "{addr} can be reached from other hosts, and keys would go there unencrypted: add --tls-cert and --tls-key, or \
             --plain-http if a proxy before it speaks TLS"
        ));
    }
    Ok(())
}

/// Serves plain HTTP on loopback until `shutdown` resolves, then finishes the requests that are being answered.
///
/// # Errors
/// As [`serve_with`].
pub async fn serve(
    listener: TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    serve_with(listener, state, Serving::default(), shutdown).await
}

/// Serves until `shutdown` resolves, then finishes the requests that are being answered, for a while.
///
/// # Errors
/// `PermissionDenied` for an address that may not be served on like this; else what the socket says.
pub async fn serve_with(
    listener: TcpListener,
    state: ApiState,
    serving: Serving,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let looking = tokio::spawn(crate::routes::keep_looking(state.clone()));
    let ended = run(listener, state, crate::router, serving, shutdown).await;
    looking.abort();
    ended
}

/// Serves only `/metrics`, of a process without an API, until `shutdown` resolves.
///
/// # Errors
/// As [`serve_with`].
pub async fn serve_metrics(
    listener: TcpListener,
    state: ApiState,
    serving: Serving,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    run(listener, state, crate::routes::metrics_alone, serving, shutdown).await
}

async fn run(
    listener: TcpListener,
    mut state: ApiState,
    routes: fn(ApiState) -> Router,
    serving: Serving,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let addr = listener.local_addr()?;
    may_serve(addr, !state.identity.is_open(), serving.tls.is_some(), serving.plain_http)
        .map_err(|why| Error::new(ErrorKind::PermissionDenied, why))?;
    state.tls = serving.tls.is_some();
    let limits = serving.limits;
    tracing::info!(%addr, tls = state.tls, authentication = !state.identity.is_open(), "serving");
    let reloading = serving.tls.as_ref().and_then(Tls::reload_on_signal);
    let live = state.live.clone();
    let router = routes(state);
    let (places, graceful) = (Arc::new(Semaphore::new(limits.connections)), GracefulShutdown::new());
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let next = async {
            // Who finds no place waits in the socket's queue.
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        match (place, accepted) {
            (Ok(place), Ok((stream, peer))) => {
                let (router, tls) = (router.clone(), serving.tls.as_ref().map(Tls::acceptor));
                let watcher = graceful.watcher();
                tokio::spawn(async move {
                    connection::answer(stream, peer, tls, router, limits, watcher).await;
                    drop(place);
                });
            }
            (_, Err(e)) => {
                tracing::warn!("a connection could not be accepted: {e}");
                // Without a descriptor left, trying again at once would only burn the processor.
                let _ = tokio::time::timeout(connection::PAUSE, std::future::pending::<()>()).await;
            }
            (Err(_), _) => break,
        }
    }
    drop(listener);
    // Streams would go on for minutes.
    live.end();
    if tokio::time::timeout(limits.grace, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were still open at the end of the grace period");
    }
    if let Some(task) = reloading {
        task.abort();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_served_to_everybody() {
        let table = [
            ("127.0.0.1:7171", true),
            ("127.1.2.3:1", true),
            ("[::1]:7171", true),
            ("[::ffff:127.0.0.1]:7171", true),
            ("0.0.0.0:7171", false),
            ("[::]:7171", false),
            ("10.1.2.3:7171", false),
            ("[2001:db8::1]:7171", false),
        ];
        for (addr, fine) in table {
            let addr = addr.parse().unwrap();
            assert_eq!(loopback_only(addr).is_ok(), fine, "{addr}");
            for (proves, tls, plain, elsewhere) in [
                (false, false, false, Some("--require-authentication")),
                (false, true, true, Some("--require-authentication")),
                (true, false, false, Some("--tls-cert")),
                (true, true, false, None),
                (true, false, true, None),
            ] {
                match (may_serve(addr, proves, tls, plain), elsewhere) {
                    (Ok(()), expected) => assert!(fine || expected.is_none(), "{addr}"),
                    (Err(why), Some(expected)) => assert!(!fine && why.contains(expected), "{addr}: {why}"),
                    (Err(why), None) => panic!("{addr}: {why}"),
                }
            }
        }
    }
}
