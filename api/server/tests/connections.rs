//! What a connection says, byte by byte: hosts, bodies that are too large, and halves that are closed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use common::fleet;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use trueup_model::SharedClock;
use trueup_server::{ApiState, MAX_BODY, Serving, Tls, TlsFiles, serve_with};

/// Whatever is waited for comes within this.
const BOUND: Duration = Duration::from_secs(30);

async fn start(tls: Option<Tls>) -> SocketAddr {
    let (store, clock) = fleet::empty(1);
    let clock: SharedClock = Arc::new(clock);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serving = Serving { tls, ..Serving::default() };
    tokio::spawn(serve_with(listener, ApiState::new(store, clock), serving, std::future::pending()));
    addr
}

async fn connect(addr: SocketAddr, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(said.as_bytes()).await.unwrap();
    stream
}

/// All that comes until `end` does, or the other side closes.
async fn upto(stream: &mut TcpStream, end: &str) -> String {
    let mut said = Vec::new();
    let reading = async {
        let mut some = [0; 4096];
        while !String::from_utf8_lossy(&said).contains(end) {
            match stream.read(&mut some).await.unwrap_or(0) {
                0 => break,
                n => said.extend_from_slice(&some[..n]),
            }
        }
    };
    tokio::time::timeout(BOUND, reading).await.expect("it comes in time");
    String::from_utf8(said).unwrap()
}

const NEVER: &str = "(to the end)";

#[tokio::test]
async fn a_request_names_one_host() {
    let addr = start(None).await;
    for (hosts, version, status) in [
        ("", "1.1", 400),
        ("host: localhost\r\nhost: localhost\r\n", "1.1", 400),
        ("host: localhost\r\nHOST: evil.example\r\n", "1.0", 400),
        ("host: localhost\r\n", "1.1", 200),
        ("", "1.0", 200),
    ] {
        let mut stream =
            connect(addr, &format!("GET /healthz HTTP/{version}\r\n{hosts}connection: close\r\n\r\n")).await;
        let answer = upto(&mut stream, NEVER).await;
        assert!(answer.starts_with(&format!("HTTP/{version} {status}")), "{hosts:?}: {answer}");
        let problem = answer.contains("urn:trueup:problem:unreadable") && answer.contains("one Host header");
        assert_eq!(problem, status == 400, "{answer}");
    }
}

#[tokio::test]
async fn too_large_a_body_is_refused_by_what_is_announced() {
    let addr = start(None).await;
    for expect in ["", "expect: 100-continue\r\n"] {
        let head = format!(
            "POST /v1/intents HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: 99999999999\r\n{expect}\r\n"
        );
        let mut stream = connect(addr, &head).await;
        // Long before a body would be given up.
        let answer = tokio::time::timeout(Duration::from_secs(4), upto(&mut stream, "\"instance\"")).await;
        let answer = answer.expect("it is refused at once");
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("10 MiB"), "{expect:?}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    // One that is small enough is asked for.
    let head = "POST /v1/intents HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 2\r\nexpect: 100-continue\r\n\r\n";
    let mut stream = connect(addr, head).await;
    assert!(upto(&mut stream, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
}

#[tokio::test]
async fn who_first_sends_everything_reads_the_refusal() {
    let addr = start(None).await;
    let size = MAX_BODY + 1024 * 1024;
    let head = format!(
        "POST /v1/intents HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {size}\r\n\r\n"
    );
    let mut stream = connect(addr, &head).await;
    let body = vec![b' '; size];
    let sending = stream.write_all(&body);
    tokio::time::timeout(BOUND, sending).await.unwrap().expect("all of it is taken");
    let answer = upto(&mut stream, NEVER).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("too-large"), "{answer}");
}

/// MiBs that come without saying how many there are.
struct Chunks(usize);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        Poll::Ready(Some(Ok(Frame::data(vec![b' '; 1024 * 1024].into()))))
    }
}

#[tokio::test]
async fn who_sends_too_much_still_hears_so() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let files = TlsFiles { certificate: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let over_tls = start(Some(Tls::load(files).unwrap())).await;
    let plain = start(None).await;
    let root = reqwest::Certificate::from_der(made.cert.der()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
    for (base, version) in [
        (format!("https://localhost:{}", over_tls.port()), reqwest::Version::HTTP_2),
        (format!("http://localhost:{}", plain.port()), reqwest::Version::HTTP_11),
    ] {
        for body in [reqwest::Body::from(vec![b' '; MAX_BODY + 1]), reqwest::Body::wrap(Chunks(12))] {
            let request =
                client.post(format!("{base}/v1/intents")).header("content-type", "application/json");
            let answer = request.body(body).timeout(BOUND).send().await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (413, version));
            assert!(answer.text().await.unwrap().contains("urn:trueup:problem:too-large"));
        }
    }
}

#[tokio::test]
async fn who_has_said_all_is_answered() {
    let addr = start(None).await;
    for path in ["/healthz", "/v1/intents"] {
        let mut stream = connect(addr, &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        stream.shutdown().await.unwrap();
        // And the connection ends then.
        let answer = upto(&mut stream, NEVER).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
    }
    let mut stream = connect(addr, "GET /v1/events/stream HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    stream.shutdown().await.unwrap();
    assert!(upto(&mut stream, ": following").await.contains("text/event-stream"));
}
