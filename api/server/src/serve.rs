//! Serving on a socket.

use std::net::SocketAddr;

use crate::{ApiState, router};

/// Whether this address may be served on. It may not if others could reach it.
pub fn loopback_only(addr: SocketAddr) -> Result<(), String> {
    if addr.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "{addr} can be reached from other hosts, and authentication does not exist in this version, so only loopback is \
         allowed: use 127.0.0.1:{port} or [::1]:{port}, and a tunnel (ssh -L, kubectl port-forward) from elsewhere",
        port = addr.port()
    ))
}

/// Serves until `shutdown` resolves, then finishes the requests that are being answered.
///
/// # Errors
/// `PermissionDenied` for an address that is not loopback; else what the socket says.
pub async fn serve(
    listener: tokio::net::TcpListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let addr = listener.local_addr()?;
    loopback_only(addr).map_err(|why| std::io::Error::new(std::io::ErrorKind::PermissionDenied, why))?;
    tracing::info!(%addr, "serving the API");
    let looking = tokio::spawn(crate::routes::keep_looking(state.clone()));
    let ended = axum::serve(listener, router(state)).with_graceful_shutdown(shutdown).await;
    looking.abort();
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_served() {
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
            let answer = loopback_only(addr.parse().unwrap());
            assert_eq!(answer.is_ok(), fine, "{addr}: {answer:?}");
            if let Err(why) = answer {
                assert!(why.contains("authentication does not exist in this version"), "{why}");
            }
        }
    }
}
