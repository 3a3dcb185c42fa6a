//! What a list could not read: a partition that cannot be read must not hide the others.
//!
//! # Guarantees
//! A store that is away is an error, since asking again helps. Partitions that refuse are told beside what is known, unless
//! all of them do.

use trueup_model::Partition;

use super::Result;
use crate::EngineError;

#[derive(Debug, Default)]
pub(super) struct Missing {
    refused: Vec<(Partition, String)>,
}

impl Missing {
    /// What a partition gave, or nothing if it refused.
    pub(super) fn or_note<T>(&mut self, p: Partition, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(EngineError::Refused(why)) => {
                tracing::error!(partition = p.0, "left out of a list: {why}");
                self.refused.push((p, why));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// For [`Page::missing`](crate::Page::missing).
    pub(super) fn told(self, partitions: u16) -> Result<Vec<String>> {
        if self.refused.len() >= usize::from(partitions)
            && let Some((_, why)) = self.refused.first()
        {
            return Err(EngineError::Refused(why.clone()));
        }
        Ok(self.refused.into_iter().map(|(p, why)| format!("partition {p}: {why}")).collect())
    }
}
