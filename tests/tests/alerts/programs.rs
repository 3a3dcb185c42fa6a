//! The programs of Prometheus, where they are and how they are started.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use trueup_tests::fleet::world_wait::wait_for;

/// `deploy/prometheus`
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

/// A program by one of its names: on PATH, else where `make tools` puts it. `None`: it is not to be used.
///
/// # Panics
/// When it is nowhere, and nobody said that this is fine.
pub(crate) fn program(names: &[&str]) -> Option<PathBuf> {
    if std::env::var("TRUEUP_SKIP_PROMETHEUS").is_ok_and(|v| v == "1") {
        eprintln!("SKIPPED: TRUEUP_SKIP_PROMETHEUS=1, so nobody has seen whether the alerts fire");
        return None;
    }
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/prometheus/usr/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([tools]);
    let found = places.flat_map(|d| names.map_in(&d)).find(|p| p.is_file());
    Some(found.unwrap_or_else(|| {
        panic!("no {}: run `make tools`; TRUEUP_SKIP_PROMETHEUS=1 leaves these tests out", names.join(" or "))
    }))
}

trait Names {
    fn map_in(&self, folder: &Path) -> Vec<PathBuf>;
}

impl Names for &[&str] {
    fn map_in(&self, folder: &Path) -> Vec<PathBuf> {
        self.iter().map(|n| folder.join(n)).collect()
    }
}

pub(crate) const PROMETHEUS: &[&str] = &["prometheus"];
pub(crate) const PROMTOOL: &[&str] = &["promtool"];
pub(crate) const ALERTMANAGER: &[&str] = &["prometheus-alertmanager", "alertmanager"];

/// A server of ours on a free port; killed with the value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) addr: SocketAddr,
    log: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `program` with its files in `dir` and waits until it accepts connections.
    pub(crate) async fn start(program: &Path, dir: &Path, args: &[String]) -> Self {
        let addr = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let log = dir.join("log");
        let output = File::create(&log).expect("a file");
        let child = Command::new(program)
            .args(args)
            .arg(format!("--web.listen-address={addr}"))
            .arg("--log.level=warn")
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file"))
            .stderr(output)
            .spawn()
            .expect("it starts");
        let mut server = Self { child, addr, log };
        wait_for(
            &format!("{} accepts connections", program.display()),
            Duration::from_secs(30),
            async || {
                if let Ok(Some(status)) = server.child.try_wait() {
                    panic!("{} ended, {status}: {}", program.display(), server.output());
                }
                TcpStream::connect(server.addr).map(drop).map_err(|e| e.to_string())
            },
        )
        .await;
        server
    }

    /// Prometheus' answer to a query, as text.
    pub(crate) fn query(&self, promql: &str) -> String {
        self.ask("query", promql, "")
    }

    /// Its answer to what traces it keeps beside a metric, of any time.
    #[allow(dead_code, reason = "the tests of the alerts do not ask for them")]
    pub(crate) fn exemplars(&self, promql: &str) -> String {
        self.ask("query_exemplars", promql, "&start=1&end=9999999999")
    }

    fn ask(&self, what: &str, promql: &str, more: &str) -> String {
        let escaped: String = promql.bytes().map(|b| format!("%{b:02x}")).collect();
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(self.addr)?;
            write!(stream, "GET /api/v1/{what}?query={escaped}{more} HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
        };
        ask().unwrap_or_else(|e| e.to_string())
    }

    /// What it wrote to its log.
    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}
