//! A plane whose checks are counted, so that the broker can say how many calls a check takes.

use std::sync::Arc;

use async_trait::async_trait;
use trueup_model::job::Check;
use trueup_model::{Action, EffectKey, Fault, Observed, Receipt, Target};

use super::Broker;
use crate::Plane;

#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) plane: Arc<dyn Plane>,
    pub(crate) connection: String,
    pub(crate) broker: Arc<dyn Broker>,
}

#[async_trait]
impl Plane for Counted {
    async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let answers = self.plane.observe(checks).await;
        // Who is asked to wait comes again.
        let made = answers
            .iter()
            .filter(|a| !matches!(a, Err(Fault::Throttled { .. } | Fault::Away { .. })))
            .count();
        self.broker.looked(&self.connection, made);
        answers
    }

    async fn apply(&self, target: &Target, action: &Action, key: &EffectKey) -> Result<Receipt, Fault> {
        self.plane.apply(target, action, key).await
    }

    async fn probe(&self) -> Result<String, Fault> {
        self.plane.probe().await
    }
}
