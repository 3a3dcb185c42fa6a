//! The server's process: started so that it does not outlive us, and always reaped.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{self, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How often a process is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Child {
    process: process::Child,
    /// The thread that started the process ends when this is dropped. The kernel's parent-death signal is bound to that
    /// *thread*, so it must be one that lives as long as this struct, not a runtime's worker or a test's thread.
    _starter: Sender<()>,
}

impl Child {
    pub(super) fn spawn(program: &Path, conf: &Path, output: File) -> io::Result<Self> {
        let mut command = command(program);
        command.arg(conf).stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
        let (starter, until_dropped) = channel::<()>();
        let (started, result) = channel();
        thread::Builder::new().name("redis-starter".into()).spawn(move || {
            if started.send(command.spawn()).is_ok() {
                let _ = until_dropped.recv();
            }
        })?;
        let process = result.recv().map_err(io::Error::other)??;
        Ok(Self { process, _starter: starter })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it has.
    pub(super) fn exited(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// SIGTERM, then SIGKILL when the time is over. Whether it ended by itself.
    pub(super) async fn stop(&mut self, within: Duration) -> bool {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let ended = until(within, || self.exited().is_some()).await;
        self.kill();
        ended
    }

    /// SIGKILL, and reap.
    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `program`, under `setpriv --pdeathsig` where there is one: it asks the kernel to stop the server when we end, however
/// we end, and then becomes the server (same pid).
fn command(program: &Path) -> Command {
    let dies_with_us = || {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--pdeathsig", "TERM", "--"]);
        setpriv
    };
    let works = cfg!(target_os = "linux")
        && (dies_with_us()
            .arg("true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status())
        .is_ok_and(|s| s.success());
    if !works {
        return Command::new(program);
    }
    let mut command = dies_with_us();
    command.arg(program);
    command
}

/// Waits until `done` is, but not longer than `within`. Whether it is.
#[expect(
    clippy::disallowed_methods,
    reason = "another process ends when it ends; there is no event to wait for"
)]
pub(super) async fn until(within: Duration, mut done: impl FnMut() -> bool) -> bool {
    let wait = async {
        while !done() {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(within, wait).await.is_ok()
}
