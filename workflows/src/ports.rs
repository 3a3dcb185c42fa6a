//! What a step's `gather` may ask of the world. The runner implements it; tests implement it with tables.

use async_trait::async_trait;
use trueup_model::{
    Action, Approval, Caps, Delivery, EffectKey, Fault, Finding, IntentKey, IntentRecord, Notice, Observed,
    Partition, PlaneKind, Queue, Receipt, Reserved, Target, Time, job::Check,
};

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
    /// What people are to be told and is in no delivery yet, of all partitions, the oldest first.
    async fn notices(&self, limit: usize) -> Result<Vec<Notice>, Fault>;
    /// Takes a place for one automatic attempt. Asking again under the same key gives the same answer.
    async fn reserve(
        &self,
        tenant: &str,
        plane: PlaneKind,
        caps: &Caps,
        key: &EffectKey,
        now: Time,
    ) -> Result<Reserved, Fault>;

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
    /// ONE message to one channel.
    async fn deliver(&self, delivery: &Delivery, key: &EffectKey) -> Result<Receipt, Fault>;
}
