//! Intents that are not reconciled any more: what is known of them is closed. Nobody is asked to approve, or called at night
//! for, what nothing looks at.

use std::collections::BTreeMap;

use trueup_model::{Approval, Commit, Fault, Finding, IntentKey, IntentRecord, Write, job::Cx};

use crate::events::Events;
use crate::steps::emit::{settle_approvals, tell_left};
use crate::{Ports, transitions};

/// What is known of one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Left {
    pub findings: Vec<Finding>,
    pub approvals: Vec<Approval>,
}

pub(super) async fn known(
    records: &[IntentRecord],
    ports: &dyn Ports,
) -> Result<BTreeMap<IntentKey, Left>, Fault> {
    let mut all = BTreeMap::new();
    for record in records {
        if !record.intent.status.is_reconciled() && !record.state.drifts.is_empty() {
            let key = &record.intent.key;
            let (findings, approvals) = (ports.findings(key).await?, ports.approvals(key).await?);
            all.insert(key.clone(), Left { findings, approvals });
        }
    }
    Ok(all)
}

/// Closes findings, withdraws approvals. No fact is added: nobody looked.
pub(super) fn leave(cx: &Cx, record: &IntentRecord, known: Option<&Left>, commit: &mut Commit) {
    let Left { findings, approvals } = known.cloned().unwrap_or_default();
    let correlation_id = findings.iter().find(|f| f.open).map(|f| f.correlation_id.clone());
    if let Some(correlation_id) = correlation_id {
        let mut events = Events::at(cx, record, correlation_id);
        for mut finding in findings.into_iter().filter(|f| f.open) {
            tell_left(&finding, record.intent.status, &mut events);
            settle_approvals(&finding, None, &approvals, &mut events, &mut commit.writes, cx.now);
            finding.open = false;
            finding.persistent = false;
            finding.resolved_at = Some(cx.now);
            finding.next_at = None;
            commit.writes.push(Write::Finding(Box::new(finding)));
        }
        commit.events.extend(events.done());
    }
    commit.writes.push(transitions::forget(record, cx.now));
}
