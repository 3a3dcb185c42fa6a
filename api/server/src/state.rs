//! What every handler gets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use trueup_engine::EngineError;
use trueup_engine::store::{By, Store};
use trueup_model::{CorrelationId, SharedClock, Time};

use crate::gauges::Gauges;
use crate::identity::{Access, Identity, Policies};
use crate::live::Live;

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub store: Arc<dyn Store>,
    pub clock: SharedClock,
    /// When this process started to serve, by `clock`.
    pub started: Time,
    /// Warnings found at start, shown in `/v1/health` beside what is found when it is asked.
    pub warnings: Arc<[String]>,
    /// How this process knows who asks.
    pub identity: Arc<Identity>,
    /// Whether answers go over TLS (also where a proxy before us speaks it).
    pub tls: bool,
    /// Whether apalis's board is at `/board`.
    pub board: bool,
    pub(crate) gauges: Arc<Gauges>,
    pub(crate) live: Arc<Live>,
    counter: Arc<AtomicU64>,
}

impl ApiState {
    pub fn new(store: Arc<dyn Store>, clock: SharedClock) -> Self {
        let started = clock.now();
        Self {
            store,
            clock,
            started,
            warnings: Arc::from([]),
            identity: Arc::new(Identity::open(Policies::shipped())),
            tls: false,
            board: false,
            gauges: Arc::new(Gauges::new()),
            live: Arc::default(),
            counter: Arc::default(),
        }
    }

    /// Adds warnings that `/v1/health` shows as long as this process serves.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = Arc::from(warnings);
        self
    }

    /// Shows apalis's board at `/board`.
    #[must_use]
    pub fn with_board(mut self, board: bool) -> Self {
        self.board = board;
        self
    }

    /// Who may ask. Without it, everybody on this host may do everything.
    #[must_use]
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = Arc::new(identity);
        self
    }

    /// A correlation id for a request that brought none: derived from this process, a counter and the clock.
    pub(crate) fn next_correlation(&self) -> CorrelationId {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        CorrelationId::derive(&[
            "request",
            &std::process::id().to_string(),
            &self.started.timestamp_millis().to_string(),
            &self.clock.now().timestamp_millis().to_string(),
            &n.to_string(),
        ])
    }

    /// For the events of a change.
    pub(crate) fn by(&self, access: &Access, correlation_id: &CorrelationId) -> By {
        By { actor: access.actor().into(), correlation_id: correlation_id.clone(), now: self.clock.now() }
    }

    /// A key that certainly has no intent behind it is fine; asking for it proves that the store answers.
    pub(crate) async fn probe(&self) -> Result<(), EngineError> {
        self.store.workers().await.map(|_| ())
    }
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState").field("started", &self.started).finish_non_exhaustive()
    }
}
