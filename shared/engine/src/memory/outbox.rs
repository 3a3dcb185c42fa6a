//! Notices: the outbox of each partition, and in partition 0 what was taken from all of them.

use std::collections::BTreeMap;

use trueup_model::{Duration, Notice, NoticeId, Time};

use crate::census::{Census, Row, Tally};
use crate::store::{MAX_OUTBOX, TOLD_FOR};

use super::part::{Now, Part};

#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: BTreeMap<NoticeId, Notice>,
    /// By when, on the lease clock.
    told: BTreeMap<NoticeId, Time>,
    /// Only in partition 0.
    taken: BTreeMap<NoticeId, Time>,
    dropped: u64,
}

fn forget(told: &mut BTreeMap<NoticeId, Time>, now: Time) {
    let remembered = Duration::from_std(TOLD_FOR).unwrap_or(Duration::MAX);
    told.retain(|_, at| now - *at <= remembered);
}

impl Outbox {
    pub(super) fn tell(&mut self, notice: &Notice, at: Now) {
        forget(&mut self.told, at.lease);
        if self.told.contains_key(&notice.id) || self.waiting.contains_key(&notice.id) {
            return;
        }
        if self.waiting.len() >= MAX_OUTBOX {
            self.dropped += 1;
            return;
        }
        self.waiting.insert(notice.id.clone(), notice.clone());
    }

    pub(super) fn take(&mut self, ids: &[NoticeId], at: Now) {
        self.taken.extend(ids.iter().map(|id| (id.clone(), at.lease)));
    }

    fn clear(&mut self, taken: &BTreeMap<NoticeId, Time>, now: Time) {
        let told = &mut self.told;
        self.waiting.retain(|id, _| {
            let waits = !taken.contains_key(id);
            if !waits {
                told.insert(id.clone(), now);
            }
            waits
        });
    }
}

pub(super) fn notices(parts: &mut [Part], limit: usize, now: Time) -> Vec<Notice> {
    let mut taken = parts.first_mut().map(|p| std::mem::take(&mut p.outbox.taken)).unwrap_or_default();
    parts.iter_mut().for_each(|p| p.outbox.clear(&taken, now));
    forget(&mut taken, now);
    if let Some(first) = parts.first_mut() {
        first.outbox.taken = taken;
    }
    let mut all: Vec<&Notice> = parts.iter().flat_map(|p| p.outbox.waiting.values()).collect();
    all.sort_by_key(|n| (n.at.timestamp_millis(), &n.id));
    all.into_iter().take(limit).cloned().collect()
}

/// Counts the records themselves: the oracle for the store that keeps counts.
pub(super) fn census(parts: &[Part]) -> Census {
    let mut tally = Tally::default();
    for kept in parts.iter().flat_map(|p| p.intents.values()) {
        let rows = kept.findings.values().filter_map(Row::of_finding);
        rows.chain(Row::of_intent(&kept.record.intent)).for_each(|row| tally.add(row, 1));
    }
    let waiting = parts.iter().map(|p| p.outbox.waiting.len() as u64).sum();
    tally.census(waiting, parts.iter().map(|p| p.outbox.dropped).sum())
}
