//! The steps' ports, on the store and the planes.

use std::sync::Arc;

use async_trait::async_trait;
use trueup_engine::{EngineError, Patience, Store};
use trueup_model::job::Check;
use trueup_model::{
    Action, Approval, Caps, Delivery, EffectKey, Fault, Finding, IntentKey, IntentRecord, Notice, Observed,
    Partition, PlaneKind, Queue, Receipt, Reserved, Target, Time,
};
use trueup_planes::channels::Channels;
use trueup_planes::{Plane, Planes};
use trueup_workflows::Ports;

pub(crate) struct FleetPorts {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) planes: Planes,
    pub(crate) channels: Channels,
}

/// Failures (with their waits: about 15 s) after which a read gives up.
const TRIES: u32 = 12;

/// Reads state, waiting while Redis is away: that is no fault of the job (E12). After a while the job itself waits, at no
/// cost, so that it does not run into its time limit here.
macro_rules! insist {
    ($what:literal, $call:expr) => {{
        let mut patience = Patience::default();
        loop {
            if patience.failures() > TRIES {
                break Err(Fault::Throttled { until: Time::UNIX_EPOCH, what: "Redis is away".into() });
            }
            match $call.await {
                Ok(answer) => {
                    patience.over($what);
                    break Ok(answer);
                }
                Err(e @ EngineError::Unavailable(_)) => patience.after($what, &e).await,
                Err(EngineError::Refused(what)) => break Err(Fault::Bug { what }),
            }
        }
    }};
}

impl FleetPorts {
    fn plane(&self, tenant: &str, plane: PlaneKind) -> Result<Arc<dyn Plane>, Fault> {
        self.planes.get(tenant, plane).ok_or_else(|| {
            Fault::permanent(format!(
                "no connection to plane '{plane}' for tenant '{tenant}': add one to 'connections' in the workers' configuration"
            ))
        })
    }
}

#[async_trait]
impl Ports for FleetPorts {
    async fn due(
        &self,
        p: Partition,
        now: Time,
        limit: usize,
    ) -> Result<(Vec<IntentKey>, Option<Time>), Fault> {
        insist!("due", self.store.due(p, now, limit))
    }
    async fn intents(&self, keys: &[IntentKey]) -> Result<Vec<Option<IntentRecord>>, Fault> {
        let found: Vec<Option<IntentRecord>> = insist!("intents", self.store.intents(keys))?;
        // The run of one intent: from here on the log says for whom.
        if let [Some(record)] = found.as_slice()
            && let Some(run) = &record.state.run
        {
            tracing::Span::current().record("correlation_id", run.correlation_id.as_str());
        }
        Ok(found)
    }
    async fn findings(&self, intent: &IntentKey) -> Result<Vec<Finding>, Fault> {
        insist!("findings", self.store.findings(intent))
    }
    async fn approvals(&self, intent: &IntentKey) -> Result<Vec<Approval>, Fault> {
        insist!("approvals", self.store.approvals(intent))
    }
    async fn backlog(&self, p: Partition, queue: Queue) -> Result<u64, Fault> {
        insist!("backlog", self.store.backlog(p, queue))
    }
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, Fault> {
        insist!("notices", self.store.notices(limit))
    }
    async fn reserve(
        &self,
        tenant: &str,
        plane: PlaneKind,
        caps: &Caps,
        key: &EffectKey,
        now: Time,
    ) -> Result<Reserved, Fault> {
        insist!("reserve", self.store.reserve(tenant, plane, caps, key.as_str(), now))
    }

    async fn observe(
        &self,
        tenant: &str,
        plane: PlaneKind,
        checks: &[Check],
    ) -> Vec<Result<Observed, Fault>> {
        match self.plane(tenant, plane) {
            Ok(connection) => {
                let answers = connection.observe(checks).await;
                let asked = answers
                    .iter()
                    .filter(|a| !matches!(a, Err(Fault::Throttled { .. } | Fault::Away { .. })))
                    .count();
                trueup_planes::metrics::checked(tenant, plane, asked as u64);
                answers
            }
            Err(fault) => vec![Err(fault); checks.len()],
        }
    }

    async fn act(
        &self,
        tenant: &str,
        target: &Target,
        action: &Action,
        key: &EffectKey,
    ) -> Result<Receipt, Fault> {
        self.plane(tenant, target.plane())?.apply(target, action, key).await
    }

    async fn deliver(&self, delivery: &Delivery, key: &EffectKey) -> Result<Receipt, Fault> {
        self.channels.deliver(delivery, key).await
    }
}
