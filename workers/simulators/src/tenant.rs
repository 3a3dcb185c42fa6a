//! A tenant of the simulator: its state behind a lock, its tokens, its counters.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use trueup_model::{Duration, Time};

use crate::Options;
use crate::mischief::Mischief;
use crate::seed::{Seed, client_id, secret_after};
use crate::state::State;
use crate::throttle::{Kind, Throttle, TooMany};
use crate::trouble::{Planned, Trouble, Troubles};

/// Writes remembered for tests.
const MAX_WRITES: usize = 10_000;

/// What was asked of a tenant so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// HTTP requests to Graph.
    pub requests: u64,
    /// Requests inside batches.
    pub batched: u64,
    /// Refused with 429, in batches or not.
    pub throttled: u64,
    /// Calls about applications as Graph counts them: an item of a batch is one, the batch itself none.
    pub app_calls: u64,
    /// Those of them that write.
    pub app_writes: u64,
    /// Calls about devices and what they report.
    pub device_calls: u64,
    pub device_writes: u64,
    pub tokens: u64,
    pub apps: usize,
    pub devices: usize,
}

impl Counts {
    /// All calls as Graph counts them, refused ones included.
    pub fn calls(&self) -> u64 {
        self.app_calls + self.device_calls
    }
}

/// A write that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Write {
    pub path: String,
    /// `client-request-id`, as sent.
    pub key: Option<String>,
    pub at: Time,
}

#[derive(Debug)]
struct Token {
    client: String,
    until: Time,
}

#[derive(Debug)]
struct Inside {
    state: State,
    tokens: HashMap<String, Token>,
    issued: u64,
    /// How often the client secret was.
    rotated: u32,
    throttle: Throttle,
    troubles: Troubles,
    counts: Counts,
    writes: VecDeque<Write>,
}

/// One directory with its Intune.
#[derive(Debug)]
pub struct Tenant {
    pub(crate) name: String,
    pub(crate) options: Options,
    inside: Mutex<Inside>,
    pub(crate) huge: Arc<AtomicU64>,
}

impl Tenant {
    pub(crate) fn new(name: &str, options: Options) -> Self {
        let inside = Inside {
            state: State::new(name),
            tokens: HashMap::new(),
            issued: 0,
            rotated: 0,
            throttle: Throttle::default(),
            troubles: Troubles::default(),
            counts: Counts::default(),
            writes: VecDeque::new(),
        };
        Self { name: name.to_owned(), options, inside: Mutex::new(inside), huge: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Time {
        self.options.clock.now()
    }

    /// Adds the default fleet.
    pub fn seed(&self, seed: &Seed) {
        let now = self.now();
        self.lock().state.fill(seed, now);
    }

    /// Does what an operator would do in the portal. The error names what does not exist.
    pub fn mischief(&self, what: &Mischief) -> Result<(), String> {
        let now = self.now();
        let mut inside = self.lock();
        inside.state.settle(now);
        inside.state.mischief(what, now)
    }

    pub fn trouble(&self, planned: impl Into<Planned>) {
        self.lock().troubles.plan(planned.into());
    }

    pub fn no_more_trouble(&self) {
        self.lock().troubles.clear();
    }

    /// Every token issued so far is refused from now on.
    pub fn revoke_tokens(&self) {
        self.lock().tokens.clear();
    }

    /// The client secret is another from now on ([`secret_after`]), and tokens got with the old one are refused.
    pub fn rotate_secret(&self) {
        let mut inside = self.lock();
        inside.rotated += 1;
        inside.tokens.clear();
    }

    /// Bytes of [`Trouble::Huge`] answers that were taken from it.
    pub fn huge_bytes(&self) -> u64 {
        self.huge.load(Ordering::Relaxed)
    }

    pub fn counts(&self) -> Counts {
        let inside = self.lock();
        Counts { apps: inside.state.app_at.len(), devices: inside.state.devices.len(), ..inside.counts }
    }

    /// The assignments of a `mobileApp`, as they are served; none if there is no such application.
    pub fn assigned(&self, app: &str) -> Vec<serde_json::Value> {
        self.with_state(|state, _| {
            let assignments = state.app_at.get(app).map(|at| &state.apps[*at].assignments);
            assignments.into_iter().flatten().enumerate().map(|(n, a)| crate::graph::served(a, n)).collect()
        })
    }

    /// Accepted writes, oldest first.
    pub fn writes(&self) -> Vec<Write> {
        self.lock().writes.iter().cloned().collect()
    }

    /// Runs `f` on the state as it is now.
    pub(crate) fn with_state<T>(&self, f: impl FnOnce(&mut State, Time) -> T) -> T {
        let now = self.now();
        let mut inside = self.lock();
        inside.state.settle(now);
        f(&mut inside.state, now)
    }

    pub(crate) fn note_write(&self, path: &str, key: Option<&str>) {
        let at = self.now();
        let mut inside = self.lock();
        if inside.writes.len() == MAX_WRITES {
            inside.writes.pop_front();
        }
        inside.writes.push_back(Write { path: path.to_owned(), key: key.map(str::to_owned), at });
    }

    pub(crate) fn take_trouble(&self, request: &str, items: bool, login: bool) -> Option<Trouble> {
        self.lock().troubles.take(request, items, login)
    }

    pub(crate) fn knows(&self, id: &str, secret: &str) -> bool {
        let rotated = self.lock().rotated;
        id == client_id(&self.name) && secret == secret_after(&self.name, rotated)
    }

    /// A token, and its life in seconds.
    pub(crate) fn issue(&self, client: &str) -> (String, u32) {
        let now = self.now();
        let mut inside = self.lock();
        inside.issued += 1;
        inside.counts.tokens += 1;
        inside.tokens.retain(|_, t| t.until > now);
        let life = self.options.token_seconds;
        let text = format!("sim.{}.{}.{}", self.name, client, inside.issued);
        let until = now + Duration::seconds(i64::from(life));
        inside.tokens.insert(text.clone(), Token { client: client.to_owned(), until });
        (text, life)
    }

    /// Whose token it is, if it is good.
    pub(crate) fn client_of(&self, token: &str) -> Option<String> {
        let now = self.now();
        self.lock().tokens.get(token).filter(|t| t.until > now).map(|t| t.client.clone())
    }

    pub(crate) fn count_request(&self) {
        self.lock().counts.requests += 1;
    }

    pub(crate) fn admit(&self, client: &str, kind: Kind, batched: bool) -> Result<(), TooMany> {
        let now = self.options.throttle_clock.now();
        let mut inside = self.lock();
        inside.counts.batched += u64::from(batched);
        let counts = &mut inside.counts;
        let (calls, writes) = match kind.devices {
            true => (&mut counts.device_calls, &mut counts.device_writes),
            false => (&mut counts.app_calls, &mut counts.app_writes),
        };
        *calls += 1;
        *writes += u64::from(kind.write);
        let result = inside.throttle.admit(client, kind, &self.options.limits, self.options.wait, now);
        inside.counts.throttled += u64::from(result.is_err());
        result
    }
}
