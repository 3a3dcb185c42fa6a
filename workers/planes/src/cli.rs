//! Running a program: arguments as a list (never a shell), a time limit, an output limit, nothing left behind.
//!
//! # Guarantees
//! - The program and all it starts form one process group; on timeout, or when the future is dropped, the whole group
//!   is killed.
//! - Output past the limit is read and thrown away, so that a talkative program neither blocks nor fills the memory.
//! - Its environment holds what is given here and the allowed names of ours, nothing else.
//! - Secrets are replaced in all text before anybody sees it, and a cut never leaves half of one.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::redact::{Redaction, one_line};

/// How long output is still read after the program itself ended (something it started may hold the pipe).
const LINGER: Duration = Duration::from_secs(2);

/// A program run, as data.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub args: Vec<OsString>,
    pub cwd: PathBuf,
    /// Set for the program.
    pub env: Vec<(OsString, OsString)>,
    /// Names it inherits from us if they are set.
    pub env_allowed: Vec<String>,
    pub timeout: Duration,
    /// Bytes kept of each output.
    pub max_output: usize,
    pub redaction: Redaction,
}

/// What it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// `None`: ended by a signal.
    pub code: Option<i32>,
    pub stdout: Captured,
    pub stderr: Captured,
}

/// Output as text, redacted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    pub text: String,
    /// There was more.
    pub cut: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("there is no program '{0}'")]
    Missing(String),
    #[error("cannot run '{program}': {why}")]
    Spawn { program: String, why: std::io::Error },
    #[error("'{program}' was ended after {after_s} s{said}")]
    TimedOut { program: String, after_s: u64, said: String },
    #[error("lost '{program}': {why}")]
    Lost { program: String, why: std::io::Error },
}

/// Kills the group unless told that everything in it ended.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(pid) = self.0.take() {
            // ESRCH: nobody left, which is what was wanted.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end.
pub async fn run(program: &Program) -> Result<Finished, CliError> {
    let name = program.path.display().to_string();
    let mut child = spawn(program).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => CliError::Missing(name.clone()),
        _ => CliError::Spawn { program: name.clone(), why },
    })?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id as i32)));
    let (mut out, mut err) = (Sink::new(program.max_output), Sink::new(program.max_output));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());

    let work = async {
        let mut reading = std::pin::pin!(async { tokio::join!(out.drain(stdout), err.drain(stderr)) });
        let status = tokio::select! {
            status = child.wait() => {
                let _ = tokio::time::timeout(LINGER, &mut reading).await;
                status
            }
            _ = &mut reading => child.wait().await,
        };
        status
    };
    let status = tokio::time::timeout(program.timeout, work).await;
    // Whatever it left in its group goes with it, ended or not.
    group.kill();
    let status = match status {
        Ok(status) => status.map_err(|why| CliError::Lost { program: name, why })?,
        Err(_) => {
            let _ = child.wait().await;
            let said = one_line(&err.captured(&program.redaction).text, 200);
            let said = if said.is_empty() { said } else { format!("; it had said: {said}") };
            return Err(CliError::TimedOut { program: name, after_s: program.timeout.as_secs(), said });
        }
    };
    Ok(Finished {
        code: status.code(),
        stdout: out.captured(&program.redaction),
        stderr: err.captured(&program.redaction),
    })
}

fn spawn(program: &Program) -> std::io::Result<Child> {
    let mut command = Command::new(&program.path);
    command.args(&program.args).current_dir(&program.cwd).env_clear();
    for name in &program.env_allowed {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .envs(program.env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// Keeps the beginning, counts the rest.
struct Sink {
    kept: Vec<u8>,
    max: usize,
    cut: bool,
}

impl Sink {
    fn new(max: usize) -> Self {
        Self { kept: Vec::new(), max, cut: false }
    }

    async fn drain(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut piece = vec![0; 64 * 1024];
        loop {
            match from.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(n) => {
                    let room = (self.max - self.kept.len()).min(n);
                    self.kept.extend_from_slice(&piece[..room]);
                    self.cut |= room < n;
                }
            }
        }
    }

    fn captured(&self, redaction: &Redaction) -> Captured {
        let text = redaction.apply(&String::from_utf8_lossy(&self.kept));
        if !self.cut {
            return Captured { text, cut: false };
        }
        // The end may be the beginning of a secret.
        let mut end = text.len().saturating_sub(redaction.longest());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Captured { text: text[..end].to_owned(), cut: true }
    }
}
