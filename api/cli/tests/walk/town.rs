//! Real processes of the real binary: the API with authentication, two workers, and a simulated Graph.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use trueup_boot::embedded::{Options as RedisOptions, Redis};
use trueup_model::{Clock as _, SystemClock};
use trueup_simulators::{Options, Seed, Simulator, client_id, client_secret};

use super::process::{Process, SOON, pump};
use super::transcript::Transcript;

pub(crate) const TENANT: &str = "contoso";
pub(crate) const APPS: usize = 1_000;
const KEY: &str = "a-key-of-at-least-32-characters-for-a-test";

pub(crate) struct Town {
    pub(crate) redis: Redis,
    pub(crate) graph: Simulator,
    pub(crate) transcript: Transcript,
    pub(crate) runtime: tokio::runtime::Runtime,
    home: tempfile::TempDir,
    processes: Vec<Process>,
}

/// Words of a line as a shell reads them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (n, part) in line.split('\'').enumerate() {
        if n % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

impl Town {
    pub(crate) fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let redis = runtime.block_on(Redis::temporary(RedisOptions::default())).unwrap();
        let clock: trueup_model::SharedClock = Arc::new(SystemClock);
        let graph = Simulator::with(Options { throttle_clock: clock.clone(), ..Options::new(clock) });
        graph.tenant(TENANT).seed(&Seed { apps: APPS, devices: 10, devices_per_app: 1, ..Seed::default() });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let served = graph.clone();
        runtime.spawn(async move { served.serve(listener, std::future::pending()).await });

        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(home.path().join(name));
            file.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
        };
        write("first.key", KEY);
        let archive = home.path().join("archive");
        let config = format!(
            "archive: {}\nconnections:\n- plane: intune\n  name: contoso-intune\n  tenant: {TENANT}\n  directory_tenant: {TENANT}\n  \
             client_id: {}\n  client_secret_env: CONTOSO_SECRET\n  graph_url: {origin}/v1.0\n  login_url: {origin}\n  \
             quota: {{apps: 1000000, devices: 1000000, writes: 1000000}}\n",
            archive.display(),
            client_id(TENANT)
        );
        write("workers.yaml", &config);
        let transcript = Transcript::new(&home.path().display().to_string());
        Self { redis, graph, transcript, runtime, home, processes: Vec::new() }
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn command(&self, line: &str) -> Command {
        let words = words(line);
        assert_eq!(words[0], "trueup", "{line}");
        let mut command = Command::new(env!("CARGO_BIN_EXE_trueup"));
        command.args(&words[1..]).env_clear().env("HOME", self.home()).current_dir(self.home());
        command.env("TRUEUP_REDIS_URL", self.redis.url()).env("CONTOSO_SECRET", client_secret(TENANT));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A command that goes on; its lines are those of stdout.
    pub(crate) fn spawn(&self, line: &str) -> Process {
        let mut child = self.command(line).spawn().unwrap();
        let lines = pump(child.stdout.take().unwrap());
        drop(pump(child.stderr.take().unwrap()));
        Process::of(child, lines, line)
    }

    /// A process of the fleet; its lines are those of stderr. `ready`: what it says when it is.
    pub(crate) fn daemon(&mut self, line: &str, shown: &str, ready: &str) -> String {
        let mut child = self.command(line).spawn().unwrap();
        let lines = pump(child.stderr.take().unwrap());
        drop(pump(child.stdout.take().unwrap()));
        let process = Process::of(child, lines, line);
        let said = process.line_with(ready);
        self.processes.push(process);
        self.transcript.command(&format!("{line} &"), shown, 0, None);
        said
    }

    /// Waits until one of the daemons has ended; its status.
    pub(crate) fn ended(&mut self) -> i32 {
        let until = SystemClock.now() + SOON;
        while SystemClock.now() < until {
            for process in &mut self.processes {
                if let Some(status) = process.try_wait() {
                    return status;
                }
            }
            std::thread::yield_now();
        }
        panic!("no process of the fleet has ended");
    }

    /// A command that is no part of the story.
    pub(crate) fn quietly(&self, line: &str) -> (i32, String, String) {
        let done = self.command(line).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (done.status.code().unwrap_or(-1), text(done.stdout), text(done.stderr))
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        let (_, out, err) = self.quietly(&format!("{line} --output json"));
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{line}: {e}: {out}{err}"))
    }

    /// Asks the command line until it says so.
    pub(crate) fn until(&self, line: &str, is: impl Fn(&Value) -> bool) {
        let end = SystemClock.now() + SOON;
        loop {
            let said = self.json(line);
            if is(&said) {
                return;
            }
            assert!(SystemClock.now() < end, "{line}: {said:#}");
        }
    }

    pub(crate) fn run(&mut self, line: &str) -> String {
        self.ends(line, 0)
    }

    /// A command of the story; what a terminal would show.
    pub(crate) fn ends(&mut self, line: &str, status: i32) -> String {
        self.ends_sorted(line, status, None)
    }

    /// `sorted`: see [`Transcript::command`].
    pub(crate) fn ends_sorted(&mut self, line: &str, status: i32, sorted: Option<usize>) -> String {
        // One file for both, so that the order is theirs.
        let path = self.home().join("terminal");
        let screen = std::fs::File::create(&path).unwrap();
        let mut command = self.command(line);
        command.stdout(screen.try_clone().unwrap()).stderr(screen);
        let ended = command.status().unwrap().code();
        let said = std::fs::read_to_string(path).unwrap();
        assert_eq!(ended, Some(status), "{line}\n{said}");
        // Progress comes as often as the machine is slow.
        let said: String = said
            .lines()
            .filter(|l| !(l.starts_with(char::is_numeric) && l.ends_with(" looked at")))
            .map(|l| format!("{l}\n"))
            .collect();
        self.transcript.command(line, &said, status, sorted);
        said
    }
}
