//! The API in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Killed with the value. Its standard input is ours, so it also ends if the test is killed.
#[derive(Debug)]
pub struct Api {
    child: Child,
    /// HOST:PORT.
    pub address: String,
}

impl Api {
    /// `program` is the binary `api_process`.
    ///
    /// # Errors
    /// When it does not start or does not say where it serves.
    pub fn start(program: &Path, redis: &str) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            .env("API_REDIS", redis)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line.trim().to_owned();
        if address.is_empty() {
            let _ = child.kill();
            let _ = child.wait();
            return Err(std::io::Error::other("it ended before it served"));
        }
        Ok(Self { child, address })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kill -9; returns once it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.kill();
    }
}
