//! Storing a reconciliation: in chunks, with the sweeps that carry them out; its head last.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use futures::{TryStreamExt as _, stream};
use serde_json::json;
use trueup_engine::requests::{
    Accepted, Asked, CHUNK, MAX_CHUNKS, MAX_READY, Part, Reconciliation, Standing,
};
use trueup_engine::store::NewJob;
use trueup_model::{
    CorrelationId, Event, EventId, EventKind, IntentKey, Job, JobId, Partition, Queue, ReconciliationId,
    StepName, job::Sweep,
};

use super::wanted::{id_of, refused};
use super::{Reason, Refused};
use crate::idempotency::Operation;
use crate::identity::{Access, Permission};
use crate::selector::Selector;
use crate::{ApiState, Problem, trace};

/// Tenants named in one request, also such as nobody has: each is decided about.
const MAX_TENANTS: usize = 64;
/// Partitions that are written at once.
const AT_ONCE: usize = 8;
/// Intents read in one go.
const READ: usize = 1_024;
/// Also of what somebody may not see.
const NO_SUCH: &str = "there is no such intent";

/// Collects what is accepted, and stores it when there is enough.
pub(super) struct Writer<'a> {
    state: &'a ApiState,
    id: ReconciliationId,
    actor: String,
    correlation_id: CorrelationId,
    /// Of each partition, what is no whole chunk yet.
    open: BTreeMap<Partition, Vec<Asked>>,
    ready: Vec<(Partition, Vec<Asked>)>,
    home: Option<Partition>,
    /// Chunks that are stored.
    stored: u32,
    accepted: u64,
    tenants: BTreeSet<String>,
}

impl<'a> Writer<'a> {
    /// `content` is what is asked for: where no idempotency key names the operation, it tells requests apart should two
    /// processes ever give the same correlation id.
    pub(super) fn new(
        state: &'a ApiState,
        access: &Access,
        correlation_id: CorrelationId,
        operation: Option<Operation>,
        content: &str,
    ) -> Self {
        let actor = access.actor().to_owned();
        let id = match operation {
            Some(Operation(operation)) => id_of(&actor, operation.as_str(), ""),
            None => id_of(&actor, state.next_correlation().as_str(), content),
        };
        Self {
            state,
            id,
            actor,
            correlation_id,
            open: BTreeMap::new(),
            ready: Vec::new(),
            home: None,
            stored: 0,
            accepted: 0,
            tenants: BTreeSet::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.accepted == 0
    }

    pub(super) async fn add(&mut self, key: IntentKey, runs: u64) -> Result<(), Problem> {
        let p = key.partition(self.state.store.partitions());
        if !self.tenants.contains(&key.tenant) {
            self.tenants.insert(key.tenant.clone());
        }
        self.accepted += 1;
        let open = self.open.entry(p).or_default();
        open.push(Asked(key, runs));
        if open.len() == CHUNK {
            let chunk = std::mem::take(open);
            self.ready.push((p, chunk));
            if self.ready.len() == MAX_CHUNKS {
                self.store().await?;
            }
        }
        Ok(())
    }

    /// Adds a tenant's intents that are reconciled and match. Returns how many it has.
    pub(super) async fn add_tenant(
        &mut self,
        tenant: &str,
        selector: Option<&Selector>,
    ) -> Result<usize, Problem> {
        let (store, mut seen) = (self.state.store.clone(), 0);
        for p in (0..store.partitions()).map(Partition) {
            let mut after: Option<IntentKey> = None;
            loop {
                let names = store.requests().names_of(p, tenant, after.as_ref(), READ).await?;
                let Some(last) = names.last() else { break };
                let (more, last) = (names.len() == READ, last.clone());
                seen += names.len();
                match selector {
                    None => {
                        let standings = store.requests().standings(&names).await?;
                        for (key, standing) in names.into_iter().zip(standings) {
                            if let Some(Standing { runs, reconciled: true, .. }) = standing {
                                self.add(key, runs).await?;
                            }
                        }
                    }
                    Some(selector) => {
                        for record in store.intents(&names).await?.into_iter().flatten() {
                            let intent = &record.intent;
                            if intent.status.is_reconciled() && selector.matches(&intent.labels) {
                                self.add(record.intent.key, record.state.runs).await?;
                            }
                        }
                    }
                }
                if !more {
                    break;
                }
                after = Some(last);
            }
        }
        Ok(seen)
    }

    /// Stores what is ready: the record first, then the sweeps. Without a head it is nobody's yet.
    async fn store(&mut self) -> Result<(), Problem> {
        let chunks = std::mem::take(&mut self.ready);
        let Some((first, _)) = chunks.first() else { return Ok(()) };
        let home = *self.home.get_or_insert(*first);
        let mut sweeps: BTreeMap<Partition, Vec<NewJob>> = BTreeMap::new();
        for (p, chunk) in &chunks {
            sweeps.entry(*p).or_default().push(self.sweep(*p, chunk)?);
        }
        let part = Part {
            id: self.id.clone(),
            home,
            first: self.stored,
            chunks: chunks.into_iter().map(|(_, chunk)| chunk).collect(),
            sweep: None,
            head: None,
        };
        self.stored += u32::try_from(part.chunks.len()).unwrap_or(u32::MAX);
        match self.state.store.requests().accept(&part).await? {
            Accepted::Yes => {}
            // All of it was stored when it was asked for first.
            Accepted::Before => return Ok(()),
            Accepted::Full => return Err(full()),
        }
        let state = self.state;
        stream::iter(sweeps.into_iter().map(Ok::<_, Problem>))
            .try_for_each_concurrent(AT_ONCE, |(p, jobs)| async move {
                let queue = jobs[0].queue;
                if state.store.backlog(p, queue).await? >= MAX_READY as u64 {
                    return Err(full());
                }
                trace::enqueue(state, p, jobs).await?;
                Ok(())
            })
            .await
    }

    fn sweep(&self, partition: Partition, chunk: &[Asked]) -> Result<NewJob, Problem> {
        let only: Vec<IntentKey> = chunk.iter().map(|asked| asked.0.clone()).collect();
        // Named by what it asks for: should the first try have seen other intents, its sweep is another one.
        let names: Vec<String> = only.iter().map(ToString::to_string).collect();
        let parts: Vec<&str> =
            ["request", self.id.as_str()].into_iter().chain(names.iter().map(String::as_str)).collect();
        let id = JobId::derive(&parts);
        let queue = Queue::new(StepName::Sweep, None).ok_or_else(Problem::bug)?;
        let correlation_id = Some(self.correlation_id.clone());
        let sweep = Job::Sweep(Sweep { partition, only: Some(only), correlation_id });
        Ok(NewJob { traceparent: trace::onward(), ..NewJob::of(id, queue, &sweep, None) })
    }

    /// Stores the rest and the head: from now on it is accepted.
    pub(super) async fn finish(
        mut self,
        selector: Option<String>,
        refused: usize,
    ) -> Result<Reconciliation, Problem> {
        let open = std::mem::take(&mut self.open);
        for (p, chunk) in open.into_iter().filter(|(_, chunk)| !chunk.is_empty()) {
            self.ready.push((p, chunk));
            if self.ready.len() == MAX_CHUNKS {
                self.store().await?;
            }
        }
        // One chunk alone goes with its sweep and the head, in one step.
        let alone = if self.stored == 0 && self.ready.len() == 1 { self.ready.pop() } else { None };
        self.store().await?;
        let home = alone.as_ref().map(|(p, _)| *p).or(self.home).ok_or_else(Problem::bug)?;
        let sweep = alone.as_ref().map(|(p, chunk)| self.sweep(*p, chunk)).transpose()?;
        let first = self.stored;
        let chunks: Vec<Vec<Asked>> = alone.into_iter().map(|(_, chunk)| chunk).collect();
        let head = Reconciliation {
            id: self.id.clone(),
            home,
            tenants: self.tenants.into_iter().collect(),
            selector,
            accepted: self.accepted,
            refused: refused as u64,
            chunks: first + u32::try_from(chunks.len()).unwrap_or(u32::MAX),
            actor: self.actor,
            requested_at: self.state.clock.now(),
            correlation_id: self.correlation_id,
        };
        let event = requested(&head);
        let part = Part { id: self.id, home, first, chunks, sweep, head: Some((head.clone(), event)) };
        match self.state.store.requests().accept(&part).await? {
            Accepted::Yes => Ok(head),
            Accepted::Before => {
                // Asked for before, and the answer got lost: that is the one to tell of.
                let before = self.state.store.requests().reconciliation(&head.id).await?;
                Ok(before.unwrap_or(head))
            }
            Accepted::Full => Err(full()),
        }
    }
}

/// Judges each name and adds what can be looked at; twice is once. Returns the others.
pub(super) async fn judged(
    state: &ApiState,
    access: &Access,
    writer: &mut Writer<'_>,
    names: Vec<Result<IntentKey, Refused>>,
) -> Result<Vec<Refused>, Problem> {
    let (mut wrong, mut fine, mut seen) = (Vec::new(), Vec::new(), BTreeMap::new());
    let denials = denials(access, &names)?;
    for (item, name) in names.into_iter().enumerate() {
        match name {
            Err(why) => wrong.push(why),
            Ok(key) => match denials.get(&key.tenant) {
                Some((reason, why)) => wrong.push(refused(item, &key.to_string(), *reason, why.as_str())),
                None => fine.push((item, key)),
            },
        }
    }
    for some in fine.chunks(READ) {
        let keys: Vec<IntentKey> = some.iter().map(|(_, key)| key.clone()).collect();
        let standings = state.store.requests().standings(&keys).await?;
        for ((item, key), standing) in some.iter().zip(standings) {
            match standing {
                None => wrong.push(not_found(*item, key)),
                Some(standing) if !standing.reconciled => {
                    let why =
                        "it is paused or retired and is not checked; apply it with another status first";
                    wrong.push(refused(*item, &key.to_string(), Reason::NotReconciled, why));
                }
                Some(standing) => {
                    seen.entry(key.clone()).or_insert(standing.runs);
                }
            }
        }
    }
    for (key, runs) in seen {
        writer.add(key, runs).await?;
    }
    Ok(wrong)
}

/// Why the intents of a tenant are refused, by tenant. Decided and logged once for each, however many lines name it: a denial
/// takes several decisions, and nothing waits in between.
fn denials(
    access: &Access,
    names: &[Result<IntentKey, Refused>],
) -> Result<BTreeMap<String, (Reason, String)>, Problem> {
    let tenants: BTreeSet<&str> = names.iter().flatten().map(|key| key.tenant.as_str()).collect();
    if tenants.len() > MAX_TENANTS {
        let detail = format!("intents of more than {MAX_TENANTS} tenants in one request; send them in parts");
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-many", "Too many tenants", detail));
    }
    let denial = |tenant: &str| {
        if !access.sees(tenant) {
            return Some((Reason::NotFound, NO_SUCH.to_owned()));
        }
        access.require(Permission::Reconcile, Some(tenant)).err().map(|why| (Reason::Forbidden, why.detail))
    };
    Ok(tenants.into_iter().filter_map(|t| Some((t.to_owned(), denial(t)?))).collect())
}

fn not_found(item: usize, key: &IntentKey) -> Refused {
    refused(item, &key.to_string(), Reason::NotFound, NO_SUCH)
}

/// The audit event: about an intent where it is one, else about a tenant, else about none.
fn requested(head: &Reconciliation) -> Event {
    let tenant = if let [one] = head.tenants.as_slice() { one.clone() } else { String::new() };
    Event {
        event_id: EventId::derive(&[head.id.as_str(), "requested"]),
        seq: 0,
        schema: 1,
        event_type: EventKind::ReconciliationRequested,
        tenant,
        intent: String::new(),
        correlation_id: head.correlation_id.clone(),
        causation_id: None,
        trace_id: None,
        actor: head.actor.clone(),
        created_at: head.requested_at,
        event_data: json!({
            "reconciliation": head.id, "accepted": head.accepted, "refused": head.refused,
            "selector": head.selector, "tenants": head.tenants,
        }),
    }
}

/// 503: workers have to catch up first.
fn full() -> Problem {
    let detail = format!(
        "{MAX_READY} sweeps wait in one partition already and workers have to catch up first; see `trueup queue ls` (is sweep \
         paused? do workers run?). Sending it again later is safe"
    );
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "queue-full", "Too much waits already", detail)
}
