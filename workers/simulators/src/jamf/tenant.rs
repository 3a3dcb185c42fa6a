//! One Jamf Pro server: its state behind a lock, its tokens, its counters.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use trueup_model::{Duration, Time};

use super::mischief::JamfMischief;
use super::seed::{self, JamfSeed};
use super::state::State;
use super::token::{self, Login};
use super::trouble::{JamfPlanned, JamfTrouble, Troubles};
use super::wire::{Asked, Reply};
use super::{JamfOptions, classic, pro};

/// Writes remembered for tests.
const MAX_WRITES: usize = 10_000;

/// What was asked of a server so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct JamfCounts {
    /// All but those for a token.
    pub requests: u64,
    pub tokens: u64,
    /// Refused for want of a connection.
    pub refused: u64,
    /// Most calls at once.
    pub most_at_once: usize,
    /// Requests that did not bring the cookie back.
    pub without_cookie: u64,
    pub policies: usize,
    pub computers: usize,
}

/// A write that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JamfWrite {
    pub path: String,
    pub body: String,
    pub at: Time,
}

#[derive(Debug, Default)]
struct Inside {
    state: State,
    tokens: HashMap<String, Time>,
    issued: u64,
    conversations: u8,
    at_once: usize,
    troubles: Troubles,
    counts: JamfCounts,
    writes: VecDeque<JamfWrite>,
}

/// One Jamf Pro.
#[derive(Debug)]
pub struct JamfTenant {
    name: String,
    pub(crate) options: JamfOptions,
    inside: Mutex<Inside>,
}

impl JamfTenant {
    pub(crate) fn new(name: &str, options: JamfOptions) -> Self {
        let inside = Inside { state: State::new(name), ..Inside::default() };
        Self { name: name.to_owned(), options, inside: Mutex::new(inside) }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Time {
        self.options.clock.now()
    }

    /// Adds the default fleet.
    pub fn seed(&self, seed: &JamfSeed) {
        let now = self.now();
        self.lock().state.fill(seed, now);
    }

    /// Does what an operator would do in the console. The error names what does not exist.
    pub fn mischief(&self, what: &JamfMischief) -> Result<(), String> {
        let now = self.now();
        let mut inside = self.lock();
        inside.state.settle(now);
        inside.state.mischief(what, now)
    }

    pub fn trouble(&self, planned: impl Into<JamfPlanned>) {
        self.lock().troubles.plan(planned.into());
    }

    pub fn no_more_trouble(&self) {
        self.lock().troubles.clear();
    }

    /// Every token issued so far is refused from now on.
    pub fn revoke_tokens(&self) {
        self.lock().tokens.clear();
    }

    pub fn counts(&self) -> JamfCounts {
        let inside = self.lock();
        let (policies, computers) = (inside.state.policies.len(), inside.state.computers.len());
        JamfCounts { policies, computers, ..inside.counts }
    }

    /// Accepted writes, oldest first.
    pub fn writes(&self) -> Vec<JamfWrite> {
        self.lock().writes.iter().cloned().collect()
    }

    /// Whether a client wrote asterisks where a password was.
    pub fn is_spoiled(&self) -> bool {
        let right = seed::password(&self.name);
        self.lock().state.policies.values().any(|p| p.password != right)
    }

    pub(crate) fn take_trouble(&self, request: &str, login: bool) -> Option<JamfTrouble> {
        self.lock().troubles.take(request, login)
    }

    /// A connection; `false` if there are too many.
    pub(crate) fn connect(&self) -> bool {
        let mut inside = self.lock();
        if inside.at_once >= self.options.connections {
            inside.counts.refused += 1;
            return false;
        }
        inside.at_once += 1;
        inside.counts.most_at_once = inside.counts.most_at_once.max(inside.at_once);
        true
    }

    pub(crate) fn disconnect(&self) {
        let mut inside = self.lock();
        inside.at_once = inside.at_once.saturating_sub(1);
    }

    /// The node of the cluster that answers: the cookie's, else each in turn.
    pub(crate) fn node(&self, cookie: Option<u8>) -> u8 {
        cookie.unwrap_or_else(|| {
            let mut inside = self.lock();
            inside.counts.without_cookie += 1;
            inside.conversations = inside.conversations.wrapping_add(1);
            1 + inside.conversations % 2
        })
    }

    pub(crate) fn login(&self, login: &Login<'_>) -> Reply {
        if let Err(refusal) = token::check(&self.name, login) {
            return refusal;
        }
        let now = self.now();
        let mut inside = self.lock();
        inside.issued += 1;
        inside.counts.tokens += 1;
        inside.tokens.retain(|_, until| *until > now);
        let life = self.options.token_seconds;
        let text = format!("sim-jamf.{}.{}", self.name, inside.issued);
        inside.tokens.insert(text.clone(), now + Duration::seconds(i64::from(life)));
        token::granted(login.path, &text, life, now)
    }

    pub(crate) fn is_good(&self, token: Option<&str>) -> bool {
        let now = self.now();
        let inside = self.lock();
        token.and_then(|t| inside.tokens.get(t)).is_some_and(|until| *until > now)
    }

    /// Answers a request with a good token.
    pub(crate) fn serve(&self, asked: &Asked<'_>, lie: u64) -> Reply {
        let mut inside = self.lock();
        inside.counts.requests += 1;
        inside.state.settle(asked.now);
        if asked.path.starts_with("/api/") {
            return pro::serve(&inside.state, asked, lie);
        }
        let reply = classic::serve(&mut inside.state, asked);
        if asked.method != "GET" && reply.status < 300 {
            let body = String::from_utf8_lossy(asked.body).into_owned();
            inside.writes.push_back(JamfWrite { path: asked.path.to_owned(), body, at: asked.now });
            if inside.writes.len() > MAX_WRITES {
                inside.writes.pop_front();
            }
        }
        reply
    }
}
