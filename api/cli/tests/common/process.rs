//! A process whose lines are read as they come.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::io::{BufRead as _, BufReader, Read};
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Bound on anything that is waited for.
pub const SOON: Duration = Duration::from_secs(45);

/// It ends with the value.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    command: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    pub fn of(child: Child, lines: Receiver<String>, command: &str) -> Self {
        Self { child, lines, command: command.to_owned() }
    }

    /// The next lines; a test that waits in vain says what there was.
    pub fn lines(&self, n: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        while lines.len() < n {
            match self.lines.recv_timeout(SOON) {
                Ok(line) => lines.push(line),
                Err(e) => panic!("{}: {e} after {lines:#?}", self.command),
            }
        }
        lines
    }

    pub fn line_with(&self, part: &str) -> String {
        let mut before = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(SOON) {
            if line.contains(part) {
                return line;
            }
            before.push(line);
        }
        panic!("{}: no '{part}' in {before:#?}", self.command);
    }

    /// As ctrl-c does. What came until it ended, and its status.
    pub fn interrupt(mut self) -> (Vec<String>, i32) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(SOON) {
            rest.push(line);
        }
        (rest, self.status())
    }

    pub fn status(&mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Its status, if it has ended.
    pub fn try_wait(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }
}

/// The lines of a pipe, which is read whether anybody waits for them or not.
pub fn pump(from: impl Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            // Whether anybody listens does not matter: it has to be read.
            let _ = to.send(line);
        }
    });
    lines
}
