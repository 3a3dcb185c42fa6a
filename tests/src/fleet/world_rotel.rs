//! A real OTLP receiver (rotel, from PyPI), and what it received.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::world_wait::wait_for;

/// Another process may take a port between our look and the receiver's.
const TRIES: usize = 3;

/// `TRUEUP_ROTEL_AGENT`, else PATH, else the workspace's `.venv`. `None`: it is not to be used.
///
/// # Panics
/// When it is nowhere, and nobody said that this is fine.
pub fn agent() -> Option<PathBuf> {
    if std::env::var("TRUEUP_SKIP_ROTEL").is_ok_and(|v| v == "1") {
        return None;
    }
    if let Some(path) = std::env::var_os("TRUEUP_ROTEL_AGENT") {
        return Some(path.into());
    }
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).chain([venv]).map(|d| d.join("rotel-agent")).find(|p| p.is_file());
    Some(found.expect("no rotel-agent (a real OTLP receiver): run `make tools`; TRUEUP_SKIP_ROTEL=1 skips"))
}

/// A span as it was received. Ids in hex, `parent` empty at a root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Received {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    /// Trace and span ids.
    pub links: Vec<(String, String)>,
}

/// Killed with the value.
#[derive(Debug)]
pub struct Rotel {
    child: Child,
    pub http: SocketAddr,
    dir: TempDir,
}

impl Drop for Rotel {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rotel {
    /// Starts it and waits until it accepts spans.
    pub async fn start(agent: &Path) -> Self {
        for _ in 0..TRIES {
            let mut rotel = Self::spawn(agent);
            let ready = wait_for("rotel accepts connections", Duration::from_secs(20), async || {
                match (TcpStream::connect(rotel.http), rotel.child.try_wait()) {
                    (_, Ok(Some(_))) => Ok(false),
                    (Ok(_), _) => Ok(true),
                    (Err(e), _) => Err(e.to_string()),
                }
            });
            if ready.await {
                return rotel;
            }
        }
        panic!("rotel-agent ended at once, {TRIES} times; is {} the right program?", agent.display());
    }

    fn spawn(agent: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let free = || TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let (http, grpc) = (free(), free());
        let output = File::create(dir.path().join("received")).expect("a file");
        let child = Command::new(agent)
            .arg("start")
            .args(["--otlp-http-endpoint", &http.to_string(), "--otlp-grpc-endpoint", &grpc.to_string()])
            .args(["--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed"])
            .arg("--pid-file")
            .arg(dir.path().join("pid"))
            .arg("--log-file")
            .arg(dir.path().join("log"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a file"))
            .stderr(output)
            .spawn()
            .expect("rotel-agent starts");
        Self { child, http, dir }
    }

    /// Everything it printed so far.
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("received")).unwrap_or_default()
    }
}

/// Reads what the receiver prints of each span (`--debug-log-verbosity detailed`).
pub fn spans(output: &str) -> Vec<Received> {
    let mut all: Vec<Received> = Vec::new();
    let mut in_links = false;
    for line in output.lines() {
        let plain = line.trim();
        if plain.starts_with("Span #") {
            all.push(Received::default());
            in_links = false;
            continue;
        }
        if plain == "Links:" {
            in_links = true;
        }
        let Some(span) = all.last_mut() else { continue };
        let (Some((name, value)), bullet) = (plain.split_once(':'), plain.starts_with("->")) else {
            continue;
        };
        let (name, value) = (name.trim_start_matches("->").trim(), value.trim());
        match (name, bullet, in_links) {
            ("Trace ID", false, _) => span.trace = value.into(),
            ("Parent ID", false, _) => span.parent = value.into(),
            ("ID", false, _) => span.id = value.into(),
            ("Name", false, _) => span.name = value.into(),
            ("Trace ID", true, true) => span.links.push((value.into(), String::new())),
            ("ID", true, true) => {
                if let Some(link) = span.links.last_mut() {
                    link.1 = value.into();
                }
            }
            (name, true, false) => {
                let value = value.strip_prefix("Str(").and_then(|v| v.strip_suffix(')')).unwrap_or(value);
                span.attributes.insert(name.into(), value.into());
            }
            _ => {}
        }
    }
    // A span whose last lines are still on their way.
    all.retain(|s| !s.name.is_empty() && !s.id.is_empty());
    all
}
