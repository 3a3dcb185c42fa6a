//! How a fleet process is set up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use trueup_model::{PlaneKind, Queue, StepName};

/// Jobs of each step that one process works on at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slots {
    pub sweep: usize,
    /// Per plane: a plane that hangs uses up nobody else's slots.
    pub query: usize,
    pub compare: usize,
    pub emit: usize,
    /// Per plane.
    pub remediate: usize,
    pub escalate: usize,
    pub notify: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self { sweep: 4, query: 8, compare: 16, emit: 64, remediate: 16, escalate: 8, notify: 4 }
    }
}

#[derive(Debug, Clone)]
pub struct Options {
    pub slots: Slots,
    /// The planes this process serves; others' jobs stay for other pools.
    pub planes: Vec<PlaneKind>,
    /// How long what has started may go on after a stop was asked for.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { slots: Slots::default(), planes: PlaneKind::ALL.to_vec(), grace: Duration::from_secs(20) }
    }
}

impl Options {
    pub(crate) fn by_queue(&self) -> BTreeMap<Queue, usize> {
        let s = &self.slots;
        Queue::all()
            .into_iter()
            .filter(|q| q.plane().is_none_or(|p| self.planes.contains(&p)))
            .map(|q| {
                let n = match q.step() {
                    StepName::Sweep => s.sweep,
                    StepName::Query => s.query,
                    StepName::Compare => s.compare,
                    StepName::Emit => s.emit,
                    StepName::Remediate => s.remediate,
                    StepName::Escalate => s.escalate,
                    StepName::Notify => s.notify,
                };
                (q, n)
            })
            .collect()
    }
}

/// How long one execution of a step may take before it is given up and tried again. Above every timeout inside it: the
/// longest is a run of Ansible that waits for others first ([`trueup_planes::ansible::LONGEST`]). A query looks at its
/// targets beside each other; those that find the plane busy come back as another job.
pub(crate) fn time_limit(step: StepName) -> Duration {
    Duration::from_secs(match step {
        StepName::Query | StepName::Remediate => 20 * 60,
        StepName::Escalate | StepName::Notify => 2 * 60,
        StepName::Sweep | StepName::Compare | StepName::Emit => 60,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_touches_a_plane_has_more_time_than_the_plane_takes() {
        for step in StepName::ALL.into_iter().filter(|s| s.touches_plane()) {
            assert!(time_limit(step) > trueup_planes::ansible::LONGEST, "{step}");
        }
    }
}
