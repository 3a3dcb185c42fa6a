//! The real binary against a real server on a free loopback port, over the in-memory store.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

#[path = "../../../server/tests/common/fleet.rs"]
pub mod fleet;
pub mod process;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use trueup_engine::memory::MemoryStore;
use trueup_model::ManualClock;
use trueup_server::ApiState;

/// A served API; it ends with the test's process.
pub struct World {
    pub url: String,
    pub store: Arc<MemoryStore>,
    pub clock: ManualClock,
    runtime: tokio::runtime::Runtime,
}

impl World {
    /// The small fleet with drift.
    pub fn drifted() -> Self {
        Self::with(fleet::drifted())
    }
    pub fn empty() -> Self {
        Self::with(async { fleet::empty(1) })
    }
    fn with(made: impl Future<Output = (Arc<MemoryStore>, ManualClock)>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (store, clock) = runtime.block_on(made);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = ApiState::new(store.clone(), Arc::new(clock.clone()));
        runtime.spawn(trueup_server::serve(listener, state, std::future::pending()));
        Self { url, store, clock, runtime }
    }
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Ran {
        run_with(&[args, &["--url", &self.url]].concat(), "")
    }
    #[track_caller]
    pub fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        run_with(&[args, &["--url", &self.url]].concat(), stdin)
    }
}

/// A command that goes on; its lines are those of stdout.
pub fn spawn(args: &[&str]) -> process::Process {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trueup"))
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = process::pump(child.stdout.take().unwrap());
    process::Process::of(child, lines, &args.join(" "))
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    #[track_caller]
    pub fn ends(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{self:#?}");
        self
    }
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:#?}"))
    }
}

#[track_caller]
pub fn run(args: &[&str]) -> Ran {
    run_with(args, "")
}

#[track_caller]
fn run_with(args: &[&str], stdin: &str) -> Ran {
    ran(Command::new(env!("CARGO_BIN_EXE_trueup")).args(args).env_clear(), stdin, Stdio::piped())
}

/// As somebody whose home this is; the result goes to `out`.
#[track_caller]
pub fn run_at_home(home: &std::path::Path, args: &[&str], stdin: &str, out: Stdio) -> Ran {
    ran(Command::new(env!("CARGO_BIN_EXE_trueup")).args(args).env_clear().env("HOME", home), stdin, out)
}

#[track_caller]
fn ran(command: &mut Command, stdin: &str, out: Stdio) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(out).stderr(Stdio::piped()).spawn().unwrap();
    // A child that ends without reading leaves a broken pipe; its status tells.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let done = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: done.status.code().unwrap_or(-1), out: text(done.stdout), err: text(done.stderr) }
}
