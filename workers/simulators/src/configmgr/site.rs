//! A tenant of the simulator: its site behind a lock, its tokens, its counters.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value;
use trueup_model::{Duration, Time};

use super::mischief::ConfigMgrMischief;
use super::seed::ConfigMgrSeed;
use super::state::State;
use super::{ConfigMgrOptions, route};
use crate::trouble::{Planned, Trouble, Troubles};

/// Writes remembered for tests.
const MAX_WRITES: usize = 10_000;

/// What was asked of a site so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ConfigMgrCounts {
    /// Requests to the AdminService, refused ones too.
    pub requests: u64,
    /// Refused with 401.
    pub unauthorized: u64,
    pub tokens: u64,
    pub deployments: usize,
    pub devices: usize,
}

/// A write that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConfigMgrWrite {
    pub method: String,
    /// Below `/AdminService/`.
    pub path: String,
    pub body: Value,
    pub at: Time,
}

#[derive(Debug, Default)]
struct Inside {
    state: State,
    tokens: HashMap<String, Time>,
    issued: u64,
    troubles: Troubles,
    /// In place of the answer: which requests, status, body.
    instead: Option<(String, u16, Vec<u8>)>,
    counts: ConfigMgrCounts,
    writes: VecDeque<ConfigMgrWrite>,
}

/// One site with its AdminService.
#[derive(Debug)]
pub struct ConfigMgrSite {
    pub(crate) name: String,
    pub(crate) options: ConfigMgrOptions,
    inside: Mutex<Inside>,
}

impl ConfigMgrSite {
    pub(crate) fn new(name: &str, options: ConfigMgrOptions) -> Self {
        Self { name: name.to_owned(), options, inside: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        self.options.clock.now()
    }

    /// Adds the default fleet.
    pub fn seed(&self, seed: &ConfigMgrSeed) {
        let now = self.now();
        self.lock().state.fill(seed, now);
    }

    /// Does what an operator would do in the console. The error names what does not exist.
    pub fn mischief(&self, what: &ConfigMgrMischief) -> Result<(), String> {
        let now = self.now();
        let mut inside = self.lock();
        inside.state.settle(now);
        inside.state.mischief(what, now)
    }

    pub fn trouble(&self, planned: impl Into<Planned>) {
        self.lock().troubles.plan(planned.into());
    }

    /// Requests whose `METHOD /path?query` contains `only` are answered with this, with a good token or not.
    pub fn answer_instead(&self, only: &str, status: u16, body: impl Into<Vec<u8>>) {
        self.lock().instead = Some((only.to_owned(), status, body.into()));
    }

    pub fn no_more_trouble(&self) {
        let mut inside = self.lock();
        inside.troubles.clear();
        inside.instead = None;
    }

    /// Every token issued so far is refused from now on.
    pub fn revoke_tokens(&self) {
        self.lock().tokens.clear();
    }

    /// A bearer token, and its life in seconds, as the login gives it.
    pub fn issue_token(&self) -> (String, u32) {
        let now = self.now();
        let mut inside = self.lock();
        inside.issued += 1;
        inside.counts.tokens += 1;
        let life = self.options.token_seconds;
        let text = format!("sim-cm.{}.{}", self.name, inside.issued);
        inside.tokens.retain(|_, until| *until > now);
        inside.tokens.insert(text.clone(), now + Duration::seconds(i64::from(life)));
        (text, life)
    }

    pub(crate) fn is_good(&self, token: &str) -> bool {
        let now = self.now();
        let mut inside = self.lock();
        inside.counts.requests += 1;
        let good = inside.tokens.get(token).is_some_and(|until| *until > now);
        inside.counts.unauthorized += u64::from(!good);
        good
    }

    pub fn counts(&self) -> ConfigMgrCounts {
        let inside = self.lock();
        let state = &inside.state;
        ConfigMgrCounts {
            deployments: state.deployments.len(),
            devices: state.devices.len(),
            ..inside.counts
        }
    }

    /// Accepted writes, oldest first.
    pub fn writes(&self) -> Vec<ConfigMgrWrite> {
        self.lock().writes.iter().cloned().collect()
    }

    /// `AssignmentID`s of what is deployed of an application, visible or not.
    pub fn deployments_of(&self, ci: u32) -> Vec<u32> {
        self.lock().state.deployments.iter().filter(|(_, d)| d.ci == ci).map(|(id, _)| *id).collect()
    }

    pub(crate) fn take_trouble(&self, request: &str, login: bool) -> Option<Trouble> {
        self.lock().troubles.take(request, false, login)
    }

    pub(crate) fn instead(&self, request: &str) -> Option<(u16, Vec<u8>)> {
        let inside = self.lock();
        let (only, status, body) = inside.instead.as_ref()?;
        request.contains(only.as_str()).then(|| (*status, body.clone()))
    }

    pub(crate) fn serve(&self, asked: &route::Asked<'_>) -> route::Reply {
        let now = self.now();
        let mut inside = self.lock();
        inside.state.settle(now);
        let reply = route::serve(&mut inside.state, asked, now);
        if asked.method != "GET" && reply.status < 300 {
            if inside.writes.len() == MAX_WRITES {
                inside.writes.pop_front();
            }
            let body = serde_json::from_slice(asked.body).unwrap_or_default();
            let write =
                ConfigMgrWrite { method: asked.method.into(), path: asked.path.into(), body, at: now };
            inside.writes.push_back(write);
        }
        reply
    }
}
