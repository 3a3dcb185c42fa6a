//! Real sockets: TLS, and clients that are slow, greedy or gone.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::fleet;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use trueup_model::SharedClock;
use trueup_server::identity::{Bootstrap, Identity, Policies};
use trueup_server::{ApiState, Limits, Serving, Tls, TlsFiles, serve_with};

const KEY: &str = "0123456789abcdef0123456789abcdef";
/// Whatever is waited for comes within this.
const BOUND: Duration = Duration::from_secs(30);

fn state(closed: bool) -> ApiState {
    let (store, clock) = fleet::empty(1);
    let shared: SharedClock = Arc::new(clock);
    let state = ApiState::new(store, shared);
    let identity = Identity::required(Policies::shipped()).with_bootstrap(Some(Bootstrap::new(KEY).unwrap()));
    if closed { state.with_identity(identity) } else { state }
}

struct Served {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(serving: Serving, closed: bool) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let task = tokio::spawn(serve_with(listener, state(closed), serving, shutdown));
    Served { addr, stop: Some(stop), task }
}

fn limits(limits: Limits) -> Serving {
    Serving { limits, ..Serving::default() }
}

/// All that comes until the other side closes.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    let _ = tokio::time::timeout(BOUND, stream.read_to_end(&mut bytes)).await.expect("it is closed in time");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

const LAST: &str = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_head_that_does_not_come_is_not_waited_for() {
    let served = start(limits(Limits { head: Duration::from_millis(300), ..Limits::default() }), false).await;
    for beginning in
        ["", "GET /healthz HT", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-drip: ", "PRI * HTTP/2"]
    {
        let mut stream = TcpStream::connect(served.addr).await.unwrap();
        say(&mut stream, beginning).await;
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("200 OK"), "{beginning:?}: {answer}");
    }
    // Nor is the next request of a connection that idles.
    let mut stream = TcpStream::connect(served.addr).await.unwrap();
    say(&mut stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(rest(&mut stream).await.contains("200 OK"));
}

#[tokio::test]
async fn connections_are_bounded_and_the_next_one_waits() {
    let served = start(
        limits(Limits { connections: 2, head: Duration::from_millis(500), ..Limits::default() }),
        false,
    )
    .await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(TcpStream::connect(served.addr).await.unwrap());
    }
    let mut third = TcpStream::connect(served.addr).await.unwrap();
    say(&mut third, LAST).await;
    // It gets its turn when those that say nothing are given up.
    assert!(rest(&mut third).await.contains("200 OK"));
}

#[tokio::test]
async fn too_large_a_head_is_refused() {
    let served = start(Serving::default(), false).await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    let large = format!("x-large: {}\r\n", "y".repeat(128 * 1024));
    for headers in [many, large] {
        let mut stream = TcpStream::connect(served.addr).await.unwrap();
        // It may close before all is sent.
        let _ = stream
            .write_all(format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").as_bytes())
            .await;
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
    let mut stream = TcpStream::connect(served.addr).await.unwrap();
    say(&mut stream, LAST).await;
    assert!(rest(&mut stream).await.contains("200 OK"));
}

#[tokio::test]
async fn half_closed_and_torn_connections_do_no_harm() {
    let served = start(Serving::default(), false).await;
    let post = "POST /v1/intents HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    for said in ["", "GET / HT", post] {
        let mut stream = TcpStream::connect(served.addr).await.unwrap();
        say(&mut stream, said).await;
        stream.shutdown().await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("HTTP/1.1 5"), "{said:?}: {answer}");
    }
    let mut stream = TcpStream::connect(served.addr).await.unwrap();
    say(&mut stream, LAST).await;
    assert!(rest(&mut stream).await.contains("200 OK"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_408() {
    let served = start(Serving::default(), false).await;
    let mut stream = TcpStream::connect(served.addr).await.unwrap();
    let head = "POST /v1/intents HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{";
    say(&mut stream, head).await;
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    let answer = String::from_utf8_lossy(&bytes);
    assert!(
        answer.starts_with("HTTP/1.1 408") && answer.contains("urn:trueup:problem:slow-body"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_under_way_at_shutdown_is_finished() {
    let mut served = start(Serving::default(), false).await;
    let mut stream = TcpStream::connect(served.addr).await.unwrap();
    say(&mut stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut first = [0; 15];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    served.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(BOUND, served.task).await.unwrap().unwrap().unwrap();
    assert!(rest(&mut stream).await.contains("live"));
    assert!(TcpStream::connect(served.addr).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn others_are_served_only_with_proof_and_encryption() {
    for (closed, plain_http, expected) in
        [(false, true, "--require-authentication"), (true, false, "--tls-cert")]
    {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let serving = Serving { plain_http, ..Serving::default() };
        let why = serve_with(listener, state(closed), serving, async {}).await.unwrap_err();
        assert_eq!(why.kind(), std::io::ErrorKind::PermissionDenied);
        assert!(why.to_string().contains(expected), "{why}");
    }
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let serving = Serving { plain_http: true, ..Serving::default() };
    serve_with(listener, state(true), serving, async {}).await.unwrap();
}

/// A certificate of its own making, in files.
struct Certificate {
    files: TlsFiles,
    pem: Vec<u8>,
}

fn certificate(dir: &std::path::Path) -> Certificate {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let files = TlsFiles { certificate: dir.join("cert.pem"), key: dir.join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    Certificate { files, pem: made.cert.der().to_vec() }
}

async fn connect(
    addr: SocketAddr,
    trusted: &Certificate,
    alpn: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.pem.clone().into()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn tls_serves_with_a_key_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let cert = certificate(dir.path());
    let tls = Tls::load(cert.files.clone()).unwrap();
    let served = start(Serving { tls: Some(tls), ..Serving::default() }, true).await;
    let mut stream = connect(served.addr, &cert, b"http/1.1").await.unwrap();
    say(
        &mut stream,
        &format!("GET /v1/whoami HTTP/1.1\r\nhost: trueup.example\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n"),
    )
    .await;
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("api:key:bootstrap"), "{answer}");
    assert!(answer.contains("strict-transport-security: max-age=31536000"), "{answer}");
    // HTTP/2 is spoken where it is asked for: the server begins with its settings.
    let mut stream = connect(served.addr, &cert, b"h2").await.unwrap();
    say(&mut stream, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!(frame[3], 4, "a settings frame");
    // Who speaks no TLS gets nothing.
    let mut plain = TcpStream::connect(served.addr).await.unwrap();
    say(&mut plain, LAST).await;
    assert!(!rest(&mut plain).await.contains("200 OK"));
}

#[tokio::test]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Tls::load(certificate(dir.path()).files).unwrap();
    let limits = Limits { head: Duration::from_millis(300), ..Limits::default() };
    let served = start(Serving { tls: Some(tls), limits, ..Serving::default() }, true).await;
    let mut stream = TcpStream::connect(served.addr).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}

#[tokio::test]
async fn sighup_reads_the_certificate_anew_and_a_wrong_one_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let old = certificate(dir.path());
    let served =
        start(Serving { tls: Some(Tls::load(old.files.clone()).unwrap()), ..Serving::default() }, true).await;
    connect(served.addr, &old, b"http/1.1").await.unwrap();
    let new = certificate(dir.path());
    let hang_up = || {
        let kill = format!("kill -HUP {}", std::process::id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    };
    hang_up();
    let replaced = async {
        while connect(served.addr, &new, b"http/1.1").await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(BOUND, replaced).await.expect("the new certificate is in use");
    assert!(connect(served.addr, &old, b"http/1.1").await.is_err());

    std::fs::write(&new.files.key, "no key").unwrap();
    let why = Tls::load(new.files.clone()).unwrap_err();
    assert!(why.contains("key.pem: not a PEM private key"), "{why}");
    hang_up();
    connect(served.addr, &new, b"http/1.1").await.unwrap();
}

#[test]
fn files_that_do_not_serve_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let fine = certificate(dir.path()).files;
    let other = tempfile::tempdir().unwrap();
    let foreign = certificate(other.path()).files;
    let table = [
        (TlsFiles { certificate: dir.path().join("nowhere.pem"), ..fine.clone() }, "nowhere.pem"),
        (TlsFiles { certificate: fine.key.clone(), ..fine.clone() }, "holds no certificate"),
        (TlsFiles { key: fine.certificate.clone(), ..fine.clone() }, "not a PEM private key"),
        (TlsFiles { key: foreign.key, ..fine }, "does not go with"),
    ];
    for (files, expected) in table {
        let why = Tls::load(files).unwrap_err();
        assert!(why.contains(expected), "{why}");
        assert!(!why.contains("PRIVATE"), "{why}");
    }
}
