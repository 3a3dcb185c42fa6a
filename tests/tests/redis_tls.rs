//! `rediss://`: the store over TLS, with a certificate authority of one's own (`SSL_CERT_FILE`).
//!
//! Which authorities are trusted is in the environment, so the part that connects is this test run again as a process.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use trueup_engine::store::Store as _;
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::SystemClock;

/// Set in the process that connects.
const URL: &str = "TRUEUP_TEST_REDISS_URL";

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A Redis that speaks TLS and nothing else; nothing if this one was built without it.
fn serve(dir: &Path) -> Option<(Server, u16)> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let port = free_port();
    let settings = format!(
        "port 0\ntls-port {port}\nbind 127.0.0.1\ndir {0}\ntls-cert-file {0}/cert.pem\ntls-key-file {0}/key.pem\n\
         tls-auth-clients no\nsave \"\"\nappendonly yes\nmaxmemory-policy noeviction\nrequirepass secret\n",
        dir.display()
    );
    std::fs::write(dir.join("redis.conf"), settings).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    let program = if Command::new("redis-server").arg("--version").output().is_ok() {
        "redis-server"
    } else {
        "valkey-server"
    };
    let server = Command::new(program)
        .arg(dir.join("redis.conf"))
        .stdout(log)
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server or valkey-server");
    let mut server = Server(server);
    for _ in 0..200 {
        if server.0.try_wait().unwrap().is_some() {
            let log = std::fs::read_to_string(dir.join("log")).unwrap();
            assert!(log.contains("Bad directive") || log.contains("TLS"), "{log}");
            return None;
        }
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some((server, port));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("it does not listen: {}", std::fs::read_to_string(dir.join("log")).unwrap());
}

fn again(url: &str, trusted: Option<&Path>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "connects", "--ignored", "--nocapture"])
        .env(URL, url)
        .env_remove("SSL_CERT_DIR");
    match trusted {
        Some(file) => command.env("SSL_CERT_FILE", file),
        None => command.env_remove("SSL_CERT_FILE"),
    };
    command.output().unwrap()
}

#[test]
fn the_store_is_reached_over_tls_and_only_with_trust() {
    let dir = tempfile::tempdir().unwrap();
    let Some((_server, port)) = serve(dir.path()) else {
        eprintln!("not tested: this Redis was built without TLS");
        return;
    };
    let url = format!("rediss://:secret@localhost:{port}");
    let cert = dir.path().join("cert.pem");
    let text =
        |o: &Output| format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr));
    let trusted = again(&url, Some(&cert));
    assert!(trusted.status.success(), "{}", text(&trusted));
    for (url, trust) in [
        // Nobody vouches for it; another name; no TLS.
        (url.clone(), None),
        (format!("rediss://:secret@127.0.0.2:{port}"), Some(cert.as_path())),
        (format!("redis://:secret@127.0.0.1:{port}"), Some(cert.as_path())),
        (format!("{url}/#insecure"), None),
    ] {
        let refused = again(&url, trust);
        assert!(!refused.status.success(), "{url}");
        assert!(!text(&refused).contains("secret"), "the password is shown: {}", text(&refused));
    }
}

#[tokio::test]
#[ignore = "run by the test above, as a process of its own"]
async fn connects() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = std::env::var(URL).unwrap();
    let options = RedisOptions { partitions: Some(2), ..RedisOptions::new(url, Arc::new(SystemClock)) };
    let store = match RedisStore::connect(options).await {
        Ok(store) => store,
        Err(e) => panic!("{e}"),
    };
    assert!(store.preflight().await.unwrap().refused.is_empty());
    assert_eq!(store.workers().await.unwrap(), []);
}
