//! A server that outlived its owner. We hold the directory's lock when we look, so whatever runs here has no owner.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tracing::warn;

use super::child::until;
use super::{EmbeddedError, PID};

/// Stops the server whose pid file is in `dir`, if that process is one and was started with `conf`.
pub(super) async fn stop(dir: &Path, conf: &Path, within: Duration) -> Result<(), EmbeddedError> {
    let file = dir.join(PID);
    let text = fs::read_to_string(&file).unwrap_or_default();
    let Some(pid) = text.trim().parse().ok().filter(|n| *n > 1).and_then(Pid::from_raw) else {
        return Ok(());
    };
    let raw = pid.as_raw_nonzero().get();
    if is_ours(raw, conf) {
        warn!(pid = raw, dir = %dir.display(), "stopping a private Redis whose owner is gone");
        let gone = || test_kill_process(pid).is_err() || !is_ours(raw, conf);
        let _ = kill_process(pid, Signal::TERM);
        if !until(within, gone).await {
            let _ = kill_process(pid, Signal::KILL);
            if !until(Duration::from_secs(2), gone).await {
                return Err(EmbeddedError::StaleStays { dir: dir.into(), pid: raw });
            }
        }
    }
    let _ = fs::remove_file(&file);
    Ok(())
}

/// Whether process `pid` was started with our configuration file: pids are used again, so the pid alone says nothing.
fn is_ours(pid: i32, conf: &Path) -> bool {
    let conf = conf.as_os_str().as_bytes();
    if Path::new("/proc/self/cmdline").exists() {
        // Empty for a process that has ended and waits to be reaped.
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        return line.split(|b| *b == 0).any(|argument| argument == conf);
    }
    let ps = Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output();
    ps.is_ok_and(|o| o.stdout.trim_ascii_end().ends_with(conf))
}
