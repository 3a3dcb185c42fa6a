//! A worker process, and what can be done to it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use trueup_engine::Incarnation;

use super::Setting;

/// Killed with the value. Its standard input is ours, so it also ends if the test is killed.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    pub(super) fn start(setting: &Setting, url: &str, dir: &Path, n: usize) -> Self {
        let log = dir.join(format!("worker-{n}.log"));
        let child = Command::new(&setting.program)
            .env("CHAOS_URL", url)
            .env("CHAOS_DIR", dir)
            .env("CHAOS_OBSERVE_MS", setting.observe.as_millis().to_string())
            .env("CHAOS_APPLY_MS", setting.apply.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log file"))
            .spawn()
            .expect("a worker process");
        Self { child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether a lease name is one of this process's.
    pub fn is(&self, who: &Incarnation) -> bool {
        who.0.starts_with(&format!("w{}-", self.pid()))
    }

    /// Kill -9; returns once it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a signal is sent");
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}
