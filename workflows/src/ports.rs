//! What a step's `gather` may ask of the world. The runner implements it; tests implement it with tables.

use async_trait::async_trait;
use trueup_model::{
    Action, Approval, EffectKey, Fault, Finding, IntentKey, IntentRecord, Observed, Partition, PlaneKind,
    Queue, Receipt, Target, Time, job::Check,
};

/// A message to people about one intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub subject: String,
    pub text: String,
}

#[async_trait]
pub trait Ports: Send + Sync {
    // --- our own state, read only
    async fn due(
        &self,
        p: Partition,
        now: Time,
        limit: usize,
    ) -> Result<(Vec<IntentKey>, Option<Time>), Fault>;
    async fn intents(&self, keys: &[IntentKey]) -> Result<Vec<Option<IntentRecord>>, Fault>;
    async fn findings(&self, intent: &IntentKey) -> Result<Vec<Finding>, Fault>;
    async fn approvals(&self, intent: &IntentKey) -> Result<Vec<Approval>, Fault>;
    /// Ready and scheduled jobs of a queue in a partition.
    async fn backlog(&self, p: Partition, queue: Queue) -> Result<u64, Fault>;

    // --- the outside, read
    /// One answer per check, in order.
    async fn observe(&self, tenant: &str, plane: PlaneKind, checks: &[Check])
    -> Vec<Result<Observed, Fault>>;

    // --- the outside, ONE effect
    async fn act(
        &self,
        tenant: &str,
        target: &Target,
        action: &Action,
        key: &EffectKey,
    ) -> Result<Receipt, Fault>;
    async fn notify(&self, notice: &Notice, key: &EffectKey) -> Result<(), Fault>;
}
