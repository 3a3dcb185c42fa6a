//! The census: how many intents and open findings there are, and of which sort.
//!
//! # Guarantees
//! Always what counting the records would give: the scripts that store, change or delete a record keep the counts in the
//! same step. Its size is bounded by the combinations that exist (tenants × planes × kinds × severities), not by records.
//!
//! # Assumptions
//! Records stored by a version without a census are counted from their next `apply` or observation on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trueup_model::{DriftKind, Finding, Intent, PlaneKind, Severity};

/// Everything that is counted, over all partitions. Rows are sorted; what is not there is not listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Census {
    /// Intents that are reconciled.
    pub intents: Vec<IntentCount>,
    /// Findings that are open.
    pub findings: Vec<FindingCount>,
    /// Notices in the outboxes: collected by nobody yet.
    pub notices_waiting: u64,
    /// Notices that were never told because an outbox was full, since the fleet began.
    pub notices_dropped: u64,
}

impl Census {
    /// The intents of one tenant on one plane that are reconciled.
    pub fn intents_of(&self, tenant: &str, plane: PlaneKind) -> u64 {
        let row = self.intents.iter().find(|r| r.tenant == tenant && r.plane == plane);
        row.map_or(0, |r| r.count)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentCount {
    pub tenant: String,
    pub plane: PlaneKind,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingCount {
    pub tenant: String,
    pub plane: PlaneKind,
    pub kind: DriftKind,
    pub severity: Severity,
    pub persistent: bool,
    pub count: u64,
}

/// What one record counts as. Its text (a JSON array) names the field of the hash that holds the count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Row {
    Finding(String, PlaneKind, DriftKind, Severity, bool),
    Intent(String, PlaneKind),
}

impl Row {
    /// Nothing for an intent that is not reconciled.
    pub(crate) fn of_intent(i: &Intent) -> Option<Self> {
        i.status.is_reconciled().then(|| Self::Intent(i.key.tenant.clone(), i.plane()))
    }

    /// Nothing for a finding that is closed.
    pub(crate) fn of_finding(f: &Finding) -> Option<Self> {
        f.open.then(|| Self::Finding(f.intent.tenant.clone(), f.plane, f.kind, f.severity, f.persistent))
    }

    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Counts by row, on the way to a census.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<Row, u64>);

impl Tally {
    pub(crate) fn add(&mut self, row: Row, n: u64) {
        *self.0.entry(row).or_default() += n;
    }

    /// Rows of a version that counts otherwise are passed over.
    pub(crate) fn read(&mut self, text: &str, n: u64) {
        if let Ok(row) = serde_json::from_str(text) {
            self.add(row, n);
        }
    }

    pub(crate) fn census(self, notices_waiting: u64, notices_dropped: u64) -> Census {
        let mut census = Census { notices_waiting, notices_dropped, ..Census::default() };
        for (row, count) in self.0.into_iter().filter(|(_, n)| *n > 0) {
            match row {
                Row::Intent(tenant, plane) => census.intents.push(IntentCount { tenant, plane, count }),
                Row::Finding(tenant, plane, kind, severity, persistent) => {
                    census.findings.push(FindingCount { tenant, plane, kind, severity, persistent, count });
                }
            }
        }
        census
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let rows = [
            Row::Intent("acme.eu".into(), PlaneKind::ConfigMgr),
            Row::Finding("a\"b".into(), PlaneKind::Jamf, DriftKind::ScopeMismatch, Severity::High, true),
        ];
        for row in rows {
            let mut tally = Tally::default();
            tally.read(&row.text(), 3);
            tally.read("[\"of\",\"another\",\"version\"]", 1);
            tally.read("not even JSON", 1);
            assert_eq!(tally.0, [(row, 3)].into());
        }
    }
}
