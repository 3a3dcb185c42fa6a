//! Notify: collects what people are to be told into deliveries, and makes ONE of them.
//!
//! # Purpose
//! Commits leave notices in the outbox of their partition. Told one by one, 400 of them would be a storm. The first is told
//! within two minutes; while more come, every five.
//! # Reads
//! Collecting: the outboxes of all partitions. Delivering: what the channel answered.
//! # Decides
//! Collecting: one delivery per channel and tenant, grouped by topic, plane, kind and cause. Delivering: the fact.
//! # Guarantees
//! A notice is in one delivery per channel that wants it, whatever dies when: the deliveries are enqueued by the same
//! commit that takes the notices. A delivery is tried for hours ([`crate::retries`]); a receiver deduplicates by its key.
//! One that fails for good is an event, is tried once more later, and then stays with the dead letters.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::json;
use trueup_model::{
    Commit, CorrelationId, Delivery, DriftKind, Duration, EventKind, Fault, Job, JobId, Next, Notice,
    Outcome, PlaneKind, Queue, Receipt, StepName, Time, Topic, Write,
    cause::{Member, by_cause},
    job::{self, Cx, collect_id},
    notice::{MAX_COLLECTED, MAX_EXAMPLES, NoticeGroup},
};

use crate::{Ports, Rules, Step, compare::bounded, events, retries::is_last};

/// Between the event that says a delivery failed and the last try: time for people to mend the channel.
const ONCE_MORE: Duration = Duration::minutes(10);
/// Groups in one delivery; what is beyond is counted with the last.
const MAX_GROUPS: usize = 20;

#[derive(Debug)]
pub struct Notify<'a>(pub &'a Rules);

#[derive(Debug, Clone, PartialEq)]
pub enum Facts {
    Collected(Vec<Notice>),
    Delivered(Receipt),
    /// For good; says why.
    Refused(String),
}

#[async_trait]
impl Step for Notify<'_> {
    const NAME: StepName = StepName::Notify;
    type Payload = job::Notify;
    type Facts = Facts;

    async fn gather(&self, cx: &Cx, job: &job::Notify, ports: &dyn Ports) -> Result<Facts, Fault> {
        let Some(delivery) = &job.deliver else {
            return Ok(Facts::Collected(ports.notices(MAX_COLLECTED).await?));
        };
        let key = job.kept.clone().unwrap_or_else(|| cx.effect());
        match ports.deliver(delivery, &key).await {
            Ok(receipt) => Ok(Facts::Delivered(receipt)),
            Err(fault @ Fault::Throttled { .. }) => Err(fault),
            // That it failed was told already. With the dead letters, somebody can still try it.
            Err(fault) if job.kept.is_some() => Err(Fault::permanent(fault.to_string())),
            Err(fault) if is_last(Self::NAME, &fault, cx.attempt) => Ok(Facts::Refused(fault.to_string())),
            Err(fault) => Err(fault),
        }
    }

    fn decide(&self, cx: &Cx, job: &job::Notify, facts: Facts) -> Outcome {
        let delivery = match (&facts, &job.deliver) {
            (Facts::Collected(_), _) | (_, None) => None,
            (_, Some(delivery)) => Some(delivery),
        };
        let mut commit = Commit::default();
        match (facts, delivery) {
            (Facts::Collected(notices), _) => return Outcome::Done(collected(cx, self.0, notices)),
            (Facts::Delivered(receipt), Some(delivery)) => {
                let answer = json!({"note": bounded(&receipt.note)});
                commit.events.push(told(cx, delivery, EventKind::NotificationSent, answer));
            }
            (Facts::Refused(why), Some(delivery)) => {
                let answer = json!({"because": bounded(&why), "tries": cx.attempt});
                commit.events.push(told(cx, delivery, EventKind::NotificationFailed, answer));
                let kept = job::Notify { deliver: Some(delivery.clone()), kept: Some(cx.effect()) };
                commit.next.extend(next(cx.next_id(0), kept, Some(cx.now + ONCE_MORE)));
            }
            (Facts::Delivered(_) | Facts::Refused(_), None) => {}
        }
        Outcome::Done(commit)
    }
}

fn next(id: JobId, job: job::Notify, at: Option<Time>) -> Option<Next> {
    let queue = Queue::new(StepName::Notify, None)?;
    Some(Next { id, queue, job: Job::Notify(job), at })
}

fn told(cx: &Cx, delivery: &Delivery, kind: EventKind, answer: serde_json::Value) -> trueup_model::Event {
    let groups: Vec<_> = delivery
        .groups
        .iter()
        .map(|g| json!({"topic": g.topic, "plane": g.plane, "drift_type": g.kind, "cause": g.cause, "members": g.members}))
        .collect();
    let data = json!({
        "channel": delivery.channel, "groups": groups, "answer": answer,
    });
    events::of_tenant(cx, kind, &delivery.tenant, CorrelationId::derive(&[cx.job.as_str()]), data)
}

fn collected(cx: &Cx, rules: &Rules, notices: Vec<Notice>) -> Commit {
    let taken = notices.iter().map(|n| n.id.clone()).collect::<Vec<_>>();
    let mut commit = Commit::default();
    if !taken.is_empty() {
        commit.writes.push(Write::Taken(taken));
        // While there is something to tell it comes again, and the tick cannot enqueue another one (E8).
        let at = (notices.len() < MAX_COLLECTED).then(|| cx.now + rules.settings.digest());
        commit.next.extend(next(collect_id(), job::Notify { deliver: None, kept: None }, at));
    }
    for route in &rules.routes {
        let mut tenants: BTreeMap<&str, Vec<&Notice>> = BTreeMap::new();
        for notice in notices.iter().filter(|n| route.wants(n)) {
            tenants.entry(&notice.intent.tenant).or_default().push(notice);
        }
        for (tenant, notices) in tenants {
            let named = notices.iter().map(|n| n.id.as_str());
            let id = ["deliver", route.channel.as_str(), tenant].into_iter().chain(named).collect::<Vec<_>>();
            let (channel, tenant) = (route.channel.clone(), tenant.to_owned());
            let delivery = Delivery { channel, tenant, at: cx.now, groups: groups(&notices) };
            let job = job::Notify { deliver: Some(delivery), kept: None };
            commit.next.extend(next(JobId::derive(&id), job, None));
        }
    }
    commit
}

fn groups(notices: &[&Notice]) -> Vec<NoticeGroup> {
    type Members<'a> = Vec<Member<'a, &'a Notice>>;
    let mut places: BTreeMap<(Topic, PlaneKind, DriftKind), Members<'_>> = BTreeMap::new();
    for notice in notices {
        let member = Member { what: *notice, causes: &notice.causes };
        places.entry((notice.topic, notice.plane, notice.kind)).or_default().push(member);
    }
    let mut all = Vec::new();
    for ((topic, plane, kind), members) in places {
        for (cause, mut members) in by_cause(members) {
            members.sort_by(|a, b| (&a.intent, &a.id).cmp(&(&b.intent, &b.id)));
            let Some(severity) = members.iter().map(|n| n.severity).max() else { continue };
            all.push(NoticeGroup {
                topic,
                plane,
                kind,
                cause,
                members: u32::try_from(members.len()).unwrap_or(u32::MAX),
                severity,
                examples: members.into_iter().take(MAX_EXAMPLES).cloned().collect(),
            });
        }
    }
    all.sort_by(|a, b| b.members.cmp(&a.members).then_with(|| (a.topic, &a.cause).cmp(&(b.topic, &b.cause))));
    if all.len() > MAX_GROUPS {
        let rest: u32 = all.split_off(MAX_GROUPS).iter().map(|g| g.members).sum();
        if let Some(last) = all.last_mut() {
            last.members = last.members.saturating_add(rest);
            last.cause = "several".into();
        }
    }
    all
}
