//! The end of a process: SIGTERM or SIGINT asks for it, a second one enforces it.
//!
//! # Expected flow
//! `main` makes one [`Shutdown`], gives clones to what it starts and awaits [`Shutdown::requested`] everywhere work is
//! taken. [`Shutdown::on_signal`] ties it to the signals. What has been started is finished by its owner, within the
//! grace period the owner is configured with; nothing here waits for it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal as listen};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit status after a second signal: as a shell reports a process ended by SIGINT.
const FORCED: i32 = 130;

/// Whether the process should end. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    pub fn new() -> Self {
        Self::default()
    }

    /// One that the first SIGTERM or SIGINT requests. A second signal ends the process at once, with status 130.
    ///
    /// # Errors
    /// If the signals cannot be listened to. Must be called within a tokio runtime.
    pub fn on_signal() -> io::Result<Self> {
        let shutdown = Self::new();
        let asked = signal()?;
        let on = shutdown.clone();
        tokio::spawn(async move {
            asked.await;
            on.request();
        });
        Ok(shutdown)
    }

    /// Asks for it. Again is nothing more.
    pub fn request(&self) {
        self.0.cancel();
    }

    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns when it has been asked for.
    pub async fn requested(&self) {
        self.0.cancelled().await;
    }

    /// `work`, or nothing if the shutdown came first; `work` is dropped then.
    pub async fn or<F: Future>(&self, work: F) -> Option<F::Output> {
        self.0.run_until_cancelled(work).await
    }

    /// One that is requested with this one, but can be requested alone.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// The token itself, for libraries that take one.
    pub fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}

/// The first SIGTERM or SIGINT, by name. From the call on (not from the first poll) the signals no longer end the process;
/// after the first one has been awaited, the next ends it at once, with status 130.
///
/// # Errors
/// If the signals cannot be listened to. Must be called within a tokio runtime.
pub fn signal() -> io::Result<impl Future<Output = &'static str> + Send> {
    let mut signals = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        let name = next(&mut signals).await;
        info!(signal = name, "shutting down; once more ends at once");
        tokio::spawn(async move {
            let name = next(&mut signals).await;
            warn!(signal = name, "ending at once");
            std::process::exit(FORCED);
        });
        name
    })
}

async fn next((term, int): &mut (Signal, Signal)) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Child, ChildStdout, Command, Stdio};

    use rustix::process::{Pid, Signal as Sig, kill_process};

    use super::*;

    #[tokio::test]
    async fn a_request_reaches_every_clone_and_child_but_not_the_parent() {
        let all = Shutdown::new();
        let part = all.child();
        assert_eq!(all.or(async { 1 }).await, Some(1));
        part.request();
        assert!(part.is_requested() && !all.is_requested());
        let other = all.child();
        all.clone().request();
        other.requested().await;
        assert_eq!(other.or(std::future::pending::<()>()).await, None);
    }

    /// The process that the test below starts: this test binary again, with a variable set.
    #[tokio::test]
    async fn child() {
        if std::env::var_os("TRUEUP_TEST_SHUTDOWN").is_none() {
            return;
        }
        let shutdown = Shutdown::on_signal().unwrap();
        say("ready");
        shutdown.requested().await;
        say("requested");
        std::future::pending::<()>().await;
    }

    fn say(what: &str) {
        let mut out = std::io::stdout().lock();
        writeln!(out, "\n{what}").unwrap();
        out.flush().unwrap();
    }

    fn wait_for(what: &str, from: &mut BufReader<ChildStdout>) {
        let mut line = String::new();
        while line.trim() != what {
            line.clear();
            assert_ne!(from.read_line(&mut line).unwrap(), 0, "the child ended before {what:?}");
        }
    }

    fn start() -> (Child, BufReader<ChildStdout>, Pid) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "shutdown::tests::child", "--nocapture"])
            .env("TRUEUP_TEST_SHUTDOWN", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        wait_for("ready", &mut out);
        let pid = Pid::from_child(&child);
        (child, out, pid)
    }

    #[test]
    fn the_first_signal_asks_and_the_second_ends() {
        for (first, second) in [(Sig::TERM, Sig::INT), (Sig::INT, Sig::INT), (Sig::TERM, Sig::TERM)] {
            let (mut child, mut out, pid) = start();
            kill_process(pid, first).unwrap();
            wait_for("requested", &mut out);
            assert_eq!(child.try_wait().unwrap(), None, "the first signal must not end the process");
            kill_process(pid, second).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(FORCED));
        }
    }
}
