//! Notify: collects what people are to be told into deliveries, and makes ONE of them.
//!
//! # Purpose
//! Commits leave notices in the outbox of their partition. Told one by one, 400 of them would be a storm. The first is told
//! within two minutes; while more come, every five.
//! # Reads
//! Collecting: the outboxes of all partitions. Delivering: what the channel answered.
//! # Decides
//! Collecting: one delivery per channel and tenant, grouped by topic, plane, kind and cause; if there are too many
//! for one commit, those of the oldest notices, and the rest at once after it. Delivering: the fact.
//! # Guarantees
//! A notice is in one delivery per channel that wants it, whatever dies when: the deliveries are enqueued by the same
//! commit that takes the notices. A delivery is tried for hours ([`crate::retries`]); a receiver deduplicates by its key.
//! One that fails for good is an event, is tried once more later, and then stays with the dead letters.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::json;
use trueup_model::{
    Commit, CorrelationId, Delivery, DriftKind, Duration, EventKind, Fault, Job, JobId, Next, Notice,
    Outcome, PlaneKind, Queue, Receipt, Severity, StepName, Time, Topic, Write,
    cause::{Member, by_cause},
    job::{self, Cx, collect_id},
    notice::{MAX_COLLECTED, MAX_EXAMPLES, NoticeGroup},
};

use crate::{Ports, Rules, Step, compare::bounded, events, retries::is_last};

/// Between the event that says a delivery failed and the last try: time for people to mend the channel.
const ONCE_MORE: Duration = Duration::minutes(10);
/// Groups in one delivery; what is beyond is counted with the last.
const MAX_GROUPS: usize = 20;
/// Deliveries of one collection: with the next collection they fit one commit (`MAX_PARTS`). The rest is collected at once
/// after it.
const MAX_DELIVERIES: usize = 400;

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

fn collected(cx: &Cx, rules: &Rules, mut notices: Vec<Notice>) -> Commit {
    let mut commit = Commit::default();
    let found = notices.len();
    let deliveries = deliveries(rules, &mut notices);
    if !notices.is_empty() {
        commit.writes.push(Write::Taken(notices.iter().map(|n| n.id.clone()).collect()));
        // While there is something to tell it comes again, and the tick cannot enqueue another one (E8).
        let is_all = notices.len() == found && found < MAX_COLLECTED;
        let at = is_all.then(|| cx.now + rules.settings.digest());
        commit.next.extend(next(collect_id(), job::Notify { deliver: None, kept: None }, at));
    }
    for ((channel, tenant), of) in deliveries {
        let told: Vec<&Notice> = of.into_iter().filter_map(|n| notices.get(n)).collect();
        let named = told.iter().map(|n| n.id.as_str());
        let id = ["deliver", channel, &tenant].into_iter().chain(named).collect::<Vec<_>>();
        let id = JobId::derive(&id);
        let delivery = Delivery { channel: channel.to_owned(), tenant, at: cx.now, groups: groups(&told) };
        commit.next.extend(next(id, job::Notify { deliver: Some(delivery), kept: None }, None));
    }
    commit
}

/// Channel and tenant, and the places of what they are told among the notices.
type Deliveries<'a> = BTreeMap<(&'a str, String), Vec<usize>>;

/// The deliveries for the oldest notices: as many as fit. The notices beyond stay where they are. The first always goes,
/// or nothing would.
fn deliveries<'a>(rules: &'a Rules, notices: &mut Vec<Notice>) -> Deliveries<'a> {
    let mut all = Deliveries::new();
    for (n, notice) in notices.iter().enumerate() {
        let wanting = rules.routes.iter().filter(|route| route.wants(notice));
        let places: BTreeSet<_> =
            wanting.map(|r| (r.channel.as_str(), notice.intent.tenant.clone())).collect();
        let new = places.iter().filter(|place| !all.contains_key(place)).count();
        if n > 0 && all.len() + new > MAX_DELIVERIES {
            notices.truncate(n);
            break;
        }
        for place in places {
            all.entry(place).or_default().push(n);
        }
    }
    all
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
    // That remediation was stopped comes first, and is never counted with others.
    let is_alarm = |g: &NoticeGroup| g.topic == Topic::BlastRadius;
    all.sort_by(|a, b| {
        let larger = is_alarm(b).cmp(&is_alarm(a)).then_with(|| b.members.cmp(&a.members));
        larger.then_with(|| (a.topic, &a.cause).cmp(&(b.topic, &b.cause)))
    });
    let shown = MAX_GROUPS.max(all.iter().filter(|g| is_alarm(g)).count() + 1);
    if all.len() > shown {
        let rest = all.split_off(shown);
        if let Some(last) = all.last_mut() {
            last.members = rest.iter().fold(last.members, |n, g| n.saturating_add(g.members));
            last.severity = rest.iter().map(|g| g.severity).fold(last.severity, Severity::max);
            last.cause = "several".into();
        }
    }
    all
}
