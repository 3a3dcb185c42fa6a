//! Reconciliations and idempotency keys of the memory twin.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use trueup_model::{Duration, IntentKey, Partition, Queue, ReconciliationId, StepName, Time};

use super::{MemoryStore, Result, at_most, newest_first, page};
use crate::EngineError;
use crate::requests::{
    Accepted, Answer, Asked, CLAIMED_FOR, Claim, Claimed, KEPT_FOR, MAX_ANSWER, MAX_ANSWERS,
    MAX_ANSWERS_BYTES, MAX_ASKED, MAX_READY, MAX_RECONCILIATIONS, Part, Reconciliation, Requests, Standing,
    check_part, share,
};
use crate::store::{JobState, Page};

/// Of all partitions. Locked before the partitions, never after.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    reconciliations: BTreeMap<ReconciliationId, Entry>,
    once: BTreeMap<String, Once>,
    /// Numbers what comes, since several things come in one millisecond.
    count: u64,
}

#[derive(Debug)]
struct Entry {
    home: Partition,
    at: (Time, u64),
    chunks: BTreeMap<u32, Vec<Asked>>,
    head: Option<Reconciliation>,
}

impl Entry {
    fn size(&self) -> usize {
        self.chunks.values().map(Vec::len).sum()
    }
}

#[derive(Debug)]
struct Once {
    home: Partition,
    at: (Time, u64),
    fingerprint: String,
    token: String,
    answer: Option<Answer>,
    until: Time,
}

fn kept_for() -> Duration {
    Duration::from_std(KEPT_FOR).unwrap_or(Duration::MAX)
}

impl Kept {
    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    /// Keeps the partition within its share of the bounds; `newest` stays.
    fn forget_old(&mut self, home: Partition, newest: &ReconciliationId, partitions: u16, now: Time) {
        loop {
            let here = || self.reconciliations.iter().filter(|(_, e)| e.home == home);
            let over = here().count() > share(MAX_RECONCILIATIONS, partitions)
                || here().map(|(_, e)| e.size()).sum::<usize>() > share(MAX_ASKED, partitions);
            let Some((oldest, entry)) = here().min_by_key(|(_, e)| e.at) else { return };
            if oldest == newest || !(over || entry.at.0 <= now - kept_for()) {
                return;
            }
            let oldest = oldest.clone();
            self.reconciliations.remove(&oldest);
        }
    }

    fn forget_old_answers(&mut self, home: Partition, newest: &str, partitions: u16) {
        loop {
            let here = || self.once.iter().filter(|(_, o)| o.home == home);
            let bytes = |o: &Once| o.answer.as_ref().map_or(0, Answer::size);
            let over = here().count() > share(MAX_ANSWERS, partitions)
                || here().map(|(_, o)| bytes(o)).sum::<usize>() > share(MAX_ANSWERS_BYTES, partitions);
            let Some((oldest, _)) = here().min_by_key(|(_, o)| o.at) else { return };
            if oldest == newest || !over {
                return;
            }
            let oldest = oldest.clone();
            self.once.remove(&oldest);
        }
    }
}

impl MemoryStore {
    fn ledger(&self) -> MutexGuard<'_, Kept> {
        self.ledger.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Requests for MemoryStore {
    async fn names_of(
        &self,
        p: Partition,
        tenant: &str,
        after: Option<&IntentKey>,
        limit: usize,
    ) -> Result<Vec<IntentKey>> {
        let from = after.cloned().unwrap_or_else(|| IntentKey::new(tenant, ""));
        self.on(p, |part| {
            let rest = part.intents.range(from.clone()..).map(|(key, _)| key).filter(|key| **key != from);
            rest.take_while(|key| key.tenant == tenant).take(limit).cloned().collect()
        })
    }

    async fn standings(&self, keys: &[IntentKey]) -> Result<Vec<Option<Standing>>> {
        at_most(1024, keys.len(), "intents")?;
        let of = |key| {
            self.on_intent(key, |part| {
                let record = part.intents.get(key).map(|kept| &kept.record);
                record.map(|r| Standing::of(&r.state, r.intent.status.is_reconciled()))
            })
        };
        keys.iter().map(of).collect()
    }

    async fn accept(&self, part: &Part) -> Result<Accepted> {
        check_part(part)?;
        let Some(sweeps) = Queue::new(StepName::Sweep, None) else {
            return Err(EngineError::Refused("a sweep has no queue".into()));
        };
        let (mut kept, now) = (self.ledger(), self.now());
        if kept.reconciliations.get(&part.id).is_some_and(|e| e.head.is_some()) {
            return Ok(Accepted::Before);
        }
        let full = self.on(part.home, |p| {
            let full = p.queue(sweeps).count(JobState::Ready) >= MAX_READY;
            if !full {
                p.enqueue(part.sweep.as_slice(), now);
                part.head.iter().for_each(|(_, event)| p.append(event.clone()));
            }
            full
        })?;
        if full {
            return Ok(Accepted::Full);
        }
        let at = (now.lease, kept.number());
        let new = Entry { home: part.home, at, chunks: BTreeMap::new(), head: None };
        let entry = kept.reconciliations.entry(part.id.clone()).or_insert(new);
        entry.chunks.extend((part.first..).zip(part.chunks.iter().cloned()));
        entry.head = part.head.as_ref().map(|(head, _)| head.clone());
        kept.forget_old(part.home, &part.id, self.partitions, now.lease);
        Ok(Accepted::Yes)
    }

    async fn reconciliation(&self, id: &ReconciliationId) -> Result<Option<Reconciliation>> {
        let (kept, oldest) = (self.ledger(), self.now().lease - kept_for());
        let entry = kept.reconciliations.get(id).filter(|e| e.at.0 > oldest);
        Ok(entry.and_then(|e| e.head.clone()))
    }

    async fn reconciliations(&self, cursor: Option<&str>, limit: usize) -> Result<Page<Reconciliation>> {
        let (kept, oldest) = (self.ledger(), self.now().lease - kept_for());
        let there = kept.reconciliations.values().filter(|e| e.at.0 > oldest);
        let heads = there.filter_map(|e| e.head.as_ref().map(|head| (e.at, head)));
        let place = |(at, n): (Time, u64)| newest_first(at, &format!("{:020}", u64::MAX - n));
        let sorted: BTreeMap<_, _> = heads.map(|(at, head)| (place(at), head)).collect();
        Ok(page(sorted.into_iter().map(|(key, head)| (key, head.clone())), cursor, limit))
    }

    async fn asked(&self, of: &Reconciliation, from: u32, n: u32) -> Result<Vec<Vec<Asked>>> {
        let kept = self.ledger();
        let chunks = kept.reconciliations.get(&of.id).map(|entry| &entry.chunks);
        let upto = of.chunks.min(from.saturating_add(n.min(16)));
        Ok((from..upto).map(|n| chunks.and_then(|c| c.get(&n)).cloned().unwrap_or_default()).collect())
    }

    async fn event_ends(&self) -> Result<BTreeMap<u16, u64>> {
        let parts = self.parts();
        Ok(parts.iter().filter_map(|part| Some((part.id.0, part.events.last()?.seq))).collect())
    }

    async fn claim(&self, claim: Claimed<'_>) -> Result<Claim> {
        claim.check()?;
        let (mut kept, now) = (self.ledger(), self.now().lease);
        kept.once.retain(|_, once| once.until > now);
        if let Some(old) = kept.once.get(claim.scope) {
            return Ok(match &old.answer {
                _ if old.fingerprint != claim.fingerprint => Claim::Other,
                Some(answer) => Claim::Answered(answer.clone()),
                None => Claim::Running,
            });
        }
        let new = Once {
            home: claim.home(self.partitions),
            at: (now, kept.number()),
            fingerprint: claim.fingerprint.to_owned(),
            token: claim.token.to_owned(),
            answer: None,
            until: now + Duration::from_std(CLAIMED_FOR).unwrap_or(Duration::MAX),
        };
        kept.once.insert(claim.scope.to_owned(), new);
        Ok(Claim::Yours)
    }

    async fn answer(&self, claim: Claimed<'_>, answer: &Answer) -> Result<bool> {
        claim.check()?;
        let (mut kept, now) = (self.ledger(), self.now().lease);
        let mine = |once: &&mut Once| once.token == claim.token && once.answer.is_none() && once.until > now;
        let Some(once) = kept.once.get_mut(claim.scope).filter(mine) else { return Ok(false) };
        if answer.size() > MAX_ANSWER {
            return Ok(false);
        }
        (once.answer, once.until) = (Some(answer.clone()), now + kept_for());
        kept.forget_old_answers(claim.home(self.partitions), claim.scope, self.partitions);
        Ok(true)
    }

    async fn release(&self, claim: Claimed<'_>) -> Result<()> {
        claim.check()?;
        let mut kept = self.ledger();
        let mine = |once: &Once| once.token == claim.token && once.answer.is_none();
        if kept.once.get(claim.scope).is_some_and(mine) {
            kept.once.remove(claim.scope);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use trueup_model::CorrelationId;

    use super::*;

    #[tokio::test]
    async fn a_lost_chunk_is_empty_in_its_place() {
        let store = MemoryStore::new(1);
        let head = Reconciliation {
            id: ReconciliationId::derive(&["r"]),
            home: Partition(0),
            tenants: vec!["acme".into()],
            selector: None,
            accepted: 1,
            refused: 0,
            chunks: 3,
            actor: "tester".into(),
            requested_at: Time::UNIX_EPOCH,
            correlation_id: CorrelationId::derive(&["r"]),
        };
        assert_eq!(store.asked(&head, 0, 16).await.unwrap(), vec![Vec::new(); 3], "all of it");
        let chunk = vec![Asked(IntentKey::new("acme", "a"), 0)];
        let chunks = vec![chunk.clone()];
        let part = Part { id: head.id.clone(), home: head.home, first: 1, chunks, sweep: None, head: None };
        assert_eq!(store.accept(&part).await.unwrap(), Accepted::Yes);
        assert_eq!(store.asked(&head, 0, 16).await.unwrap(), [vec![], chunk, vec![]]);
    }
}
