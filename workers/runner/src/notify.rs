//! Telling people. This version writes to the log, where whatever watches the log picks it up.

use async_trait::async_trait;
use trueup_model::{EffectKey, Fault};
use trueup_workflows::Notice;

#[async_trait]
pub trait Notifier: Send + Sync {
    /// ONE notification. Sent again with the same key after a crash; receivers deduplicate by it.
    async fn notify(&self, notice: &Notice, key: &EffectKey) -> Result<(), Fault>;
}

/// One line at level WARN, target `trueup::escalation`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogNotifier;

#[async_trait]
impl Notifier for LogNotifier {
    async fn notify(&self, notice: &Notice, key: &EffectKey) -> Result<(), Fault> {
        tracing::warn!(target: "trueup::escalation", effect_key = %key, subject = %notice.subject, "{}", notice.text);
        Ok(())
    }
}
