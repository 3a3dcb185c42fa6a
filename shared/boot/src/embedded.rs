//! A private Redis: a `redis-server` or `valkey-server` of our own as a child process, its data in one directory. The
//! default of `trueup dev`, and what tests and benches run on.
//!
//! # Expected flow
//! [`Redis::start`] → [`Redis::url`] → … → [`Redis::stop`]. A second start on the same directory continues with its data.
//! Tests also use [`Redis::crash`] (kill -9) and [`Redis::restart`].
//!
//! # Guarantees
//! - One owner per directory: a lock file refuses a second one, with the pid of the first.
//! - A server that outlived its owner (kill -9) is found by its pid file and its command line at the next start, and
//!   stopped first, gracefully. A process that only inherited the pid is never touched. Where the system has `setpriv`
//!   (Linux), the server does not outlive its owner in the first place.
//! - Nobody else reaches it: a unix socket in a directory of ours, or a loopback port.
//! - Every wait is bounded, and an error shows the last lines of the server's log.
//!
//! # Assumptions
//! Redis 7 or later, or any Valkey. `stop` should be awaited; a dropped [`Redis`] is killed, which loses nothing that
//! was answered, but leaves the last second unsynced to disk.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tracing::{debug, info, warn};

mod child;
mod options;
mod probe;
mod stale;

use child::Child;
use options::{Address, render};
pub use options::{Append, Listen, Options};

const LOCK: &str = "lock";
const CONF: &str = "redis.conf";
const LOG: &str = "redis.log";
const PID: &str = "redis.pid";

/// How long a graceful stop may take before the server is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A log larger than this is begun anew at the next start.
const LOG_BYTES: u64 = 4 * 1024 * 1024;

/// Tries to find a free loopback port, since another process may take it between our look and the server's.
const PORT_TRIES: usize = 5;

/// Why there is no private Redis.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "no redis-server or valkey-server on PATH. Install one (Debian, Ubuntu: `apt-get install redis-server`; Fedora: \
         `dnf install valkey`; macOS: `brew install redis`), or name a running one with --redis-url"
    )]
    NotInstalled,
    #[error("{} is in use by process {owner}. Stop that one first, or use another directory", dir.display())]
    InUse { dir: PathBuf, owner: String },
    #[error("a server that is not ours answers on {}. Stop it, or use another directory", socket.display())]
    Foreign { socket: PathBuf },
    #[error("an earlier server (process {pid}) in {} does not stop. End it with `kill -9 {pid}`", dir.display())]
    StaleStays { dir: PathBuf, pid: i32 },
    #[error("the private Redis {reason}. The end of {}:\n{log_tail}", log.display())]
    DidNotStart { reason: String, log: PathBuf, log_tail: String },
    #[error("setting `{key}` for the private Redis is not valid: {why}")]
    Setting { key: String, why: &'static str },
    #[error("{what} ({}): {source}", path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
}

fn io_error<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> EmbeddedError + use<'a> {
    move |source| EmbeddedError::Io { what, path: path.into(), source }
}

/// A running private Redis, or one that has been stopped and can be started again.
pub struct Redis {
    child: Option<Child>,
    program: PathBuf,
    dir: PathBuf,
    options: Options,
    address: Address,
    /// Held for as long as the directory is ours.
    lock: File,
    /// Where the socket is if `dir` is too long for one.
    _short: Option<TempDir>,
    /// `dir` itself, if it is a temporary one. Last, so that it goes after the server.
    _temporary: Option<TempDir>,
}

impl Redis {
    /// Starts a server on `dir` (created if missing) and waits until it answers, its data loaded.
    ///
    /// # Errors
    /// [`EmbeddedError`]; each says what to do.
    pub async fn start(dir: &Path, options: Options) -> Result<Self, EmbeddedError> {
        let mut redis = Self::prepare(dir, options)?;
        stale::stop(&redis.dir, &redis.dir.join(CONF), STOP_WITHIN).await?;
        redis.refuse_foreign().await?;
        redis.run().await?;
        Ok(redis)
    }

    /// As [`Redis::start`], on a directory that is removed with the server. For tests and benches.
    ///
    /// # Errors
    /// As `start`.
    pub async fn temporary(options: Options) -> Result<Self, EmbeddedError> {
        let made = tempfile::Builder::new().prefix("tu-").tempdir();
        let dir = made.map_err(io_error("cannot make a temporary directory", &std::env::temp_dir()))?;
        let mut redis = Self::start(dir.path(), options).await?;
        redis._temporary = Some(dir);
        Ok(redis)
    }

    fn prepare(dir: &Path, options: Options) -> Result<Self, EmbeddedError> {
        let program = find(&["redis-server", "valkey-server"]).ok_or(EmbeddedError::NotInstalled)?;
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(io_error("cannot make the directory of the private Redis", dir))?;
        let dir =
            dir.canonicalize().map_err(io_error("cannot resolve the directory of the private Redis", dir))?;
        let lock = lock(&dir)?;
        let (address, short) = Address::choose(&dir, options.listen)?;
        Ok(Self { child: None, program, dir, options, address, lock, _short: short, _temporary: None })
    }

    async fn refuse_foreign(&self) -> Result<(), EmbeddedError> {
        match &self.address {
            Address::Unix(socket) if probe::listens(&self.address).await => {
                Err(EmbeddedError::Foreign { socket: socket.clone() })
            }
            _ => Ok(()),
        }
    }

    async fn run(&mut self) -> Result<(), EmbeddedError> {
        for left in (0..PORT_TRIES).rev() {
            match self.run_once().await {
                Err(EmbeddedError::DidNotStart { log_tail, .. })
                    if left > 0 && matches!(self.address, Address::Tcp(_)) && log_tail.contains("in use") =>
                {
                    self.address = Address::free_port()?;
                    debug!("somebody took the port first; trying another");
                }
                done => return done,
            }
        }
        Ok(())
    }

    async fn run_once(&mut self) -> Result<(), EmbeddedError> {
        let (conf, log) = (self.dir.join(CONF), self.dir.join(LOG));
        let text = render(&self.dir, &self.address, &self.options)?;
        write_private(&conf, &text).map_err(io_error("cannot write", &conf))?;
        let keep = fs::metadata(&log).is_ok_and(|m| m.len() < LOG_BYTES);
        let opened =
            File::options().create(true).append(keep).truncate(!keep).write(true).mode(0o600).open(&log);
        let output = opened.map_err(io_error("cannot write", &log))?;
        let mut child =
            Child::spawn(&self.program, &conf, output).map_err(io_error("cannot start", &self.program))?;
        let pid = self.dir.join(PID);
        write_private(&pid, &child.pid().to_string()).map_err(io_error("cannot write", &pid))?;
        let password = self.options.password.as_deref();
        let reason =
            match probe::until_ready(&self.address, password, &mut child, self.options.ready_within).await {
                Ok(()) => {
                    info!(pid = child.pid(), dir = %self.dir.display(), "private Redis started");
                    self.child = Some(child);
                    return Ok(());
                }
                Err(reason) => reason,
            };
        child.kill();
        Err(EmbeddedError::DidNotStart { reason, log_tail: tail(&log), log })
    }

    /// How to connect, as redis-rs reads it: `redis+unix:///…` or `redis://127.0.0.1:…`. Holds the password, if any.
    pub fn url(&self) -> String {
        self.address.url(self.options.password.as_deref())
    }

    /// The server's process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::pid)
    }

    /// Where its data, configuration and log are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the process is there. `false` after `stop`, `crash`, or when it ended by itself.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| c.exited().is_none())
    }

    /// The last lines of the server's log.
    pub fn log_tail(&self) -> String {
        tail(&self.dir.join(LOG))
    }

    /// Asks the server to write everything and end; kills it after ten seconds. Nothing happens if it does not run.
    pub async fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if !child.stop(STOP_WITHIN).await {
            warn!(pid = child.pid(), "the private Redis did not stop in time and was killed");
        }
        let _ = fs::remove_file(self.dir.join(PID));
    }

    /// Kill -9, as a crash would. Its files stay as they are.
    pub fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill();
        }
    }

    /// Stops it if it runs, and starts it again on the same data and under the same url.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.stop().await;
        self.run_once().await
    }

    /// Other options from the next [`Redis::restart`] on. The way it listens stays.
    pub fn set_options(&mut self, options: Options) {
        self.options = Options { listen: self.options.listen, ..options };
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.crash();
            let _ = fs::remove_file(self.dir.join(PID));
        }
        // Not left to the closing of the file: a process that another thread is just forking holds a copy of it until it
        // executes its program, and the next start would be refused.
        let _ = self.lock.unlock();
    }
}

fn find(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    names.iter().find_map(|name| std::env::split_paths(&path).map(|d| d.join(name)).find(|p| p.is_file()))
}

fn lock(dir: &Path) -> Result<File, EmbeddedError> {
    let path = dir.join(LOCK);
    let opened = File::options().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let file = opened.map_err(io_error("cannot open the lock file", &path))?;
    match file.try_lock() {
        Ok(()) => {
            fs::write(&path, std::process::id().to_string()).map_err(io_error("cannot write", &path))?;
            Ok(file)
        }
        Err(fs::TryLockError::WouldBlock) => {
            let owner = fs::read_to_string(&path).unwrap_or_default();
            let owner = if owner.is_empty() { "(unknown)".into() } else { owner };
            Err(EmbeddedError::InUse { dir: dir.into(), owner })
        }
        Err(fs::TryLockError::Error(source)) => {
            Err(EmbeddedError::Io { what: "cannot lock the directory of the private Redis", path, source })
        }
    }
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use io::Write;
    File::options().create(true).truncate(true).write(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

/// The last 15 lines, and no more than 16 KiB.
fn tail(log: &Path) -> String {
    use io::{Read, Seek, SeekFrom};
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let size = file.metadata().map_or(0, |m| m.len());
        let _ = file.seek(SeekFrom::Start(size.saturating_sub(16 * 1024)));
        let _ = file.take(16 * 1024).read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

#[cfg(test)]
mod tests;
