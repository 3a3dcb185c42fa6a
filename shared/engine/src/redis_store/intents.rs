//! Manifests and their state.

use trueup_model::event::LOOP;
use trueup_model::intent::Manifest;
use trueup_model::job::tick_id;
use trueup_model::{
    Digest, DriftKind, Event, EventId, EventKind, Finding, Intent, IntentKey, IntentRecord, IntentState,
    Partition, Time,
};

use super::{Call, RedisStore, Result, limit, script};
use crate::EngineError;
use crate::census::Row;
use crate::keys::Keys;
use crate::store::{Applied, By, Change, Page};

script!(APPLY, "apply");
script!(DELETE, "delete");

/// Manifest, generation, state, rev: the fields of an intent's hash that make a record.
type Fields = (Option<Vec<u8>>, Option<u64>, Option<Vec<u8>>, Option<u64>);

pub(crate) fn intent_event(kind: EventKind, key: &IntentKey, by: &By, data: serde_json::Value) -> Event {
    let at = by.now.timestamp_millis().to_string();
    Event {
        event_id: EventId::derive(&[kind.as_str(), &key.to_string(), by.correlation_id.as_str(), &at]),
        seq: 0,
        schema: 1,
        event_type: kind,
        tenant: key.tenant.clone(),
        intent: key.id.clone(),
        correlation_id: by.correlation_id.clone(),
        causation_id: None,
        trace_id: None,
        actor: if by.actor.is_empty() { LOOP.into() } else { by.actor.clone() },
        created_at: by.now,
        event_data: data,
    }
}

fn refused(e: serde_json::Error) -> EngineError {
    EngineError::Refused(format!("cannot be written as JSON: {e}"))
}

impl RedisStore {
    pub(super) async fn do_apply(&self, intents: &[Intent], by: &By) -> Result<Vec<Applied>> {
        limit("intents", intents.len(), 256)?;
        let mut out: Vec<Option<Applied>> = vec![None; intents.len()];
        for (p, keys) in self.every_partition() {
            let here: Vec<(usize, &Intent)> =
                intents.iter().enumerate().filter(|(_, i)| i.key.partition(self.partitions) == p).collect();
            if here.is_empty() {
                continue;
            }
            let mut call = Call::new(&APPLY);
            for key in [keys.events(), keys.due(), keys.names(), keys.ticks(), keys.nudge(), keys.census()] {
                call.key(key);
            }
            call.num(p).arg(tick_id(p).as_str());
            for (_, intent) in &here {
                call.key(keys.intent(&intent.key));
                let digest = Digest::of(&(&intent.target, &intent.desired));
                let data = serde_json::json!({
                    "deployment_intent_id": intent.key.id, "change": "", "generation": -1, "mode": intent.mode,
                });
                let event = intent_event(EventKind::IntentApplied, &intent.key, by, data);
                call.arg(intent.key.to_string())
                    .arg(serde_json::to_vec(&Manifest::from((*intent).clone())).map_err(refused)?)
                    .arg(digest.as_str())
                    .arg(Row::of_intent(intent).map(|row| row.text()).unwrap_or_default())
                    .arg(serde_json::to_vec(&event).map_err(refused)?);
            }
            let answers: Vec<(u8, u64)> = call.run(&self.connection.0).await?;
            for ((n, intent), (change, generation)) in here.into_iter().zip(answers) {
                let change = match change {
                    0 => Change::Unchanged,
                    1 => Change::Created,
                    _ => Change::Changed,
                };
                out[n] = Some(Applied { intent: intent.key.clone(), change, generation });
            }
        }
        Ok(out.into_iter().flatten().collect())
    }

    pub(super) async fn do_delete(&self, names: &[IntentKey], by: &By) -> Result<Vec<Applied>> {
        limit("intents", names.len(), 256)?;
        let mut out = Vec::with_capacity(names.len());
        for name in names {
            let keys = Keys(name.partition(self.partitions));
            let mut call = Call::new(&DELETE);
            for key in [
                keys.events(),
                keys.due(),
                keys.findings(),
                keys.approvals(),
                keys.intent(name),
                keys.approvals_of(name),
                keys.names(),
                keys.census(),
            ] {
                call.key(key);
            }
            let data = serde_json::json!({"deployment_intent_id": name.id});
            let event = intent_event(EventKind::IntentRetired, name, by, data);
            call.arg(name.to_string()).arg(serde_json::to_vec(&event).map_err(refused)?);
            call.arg(keys.approval(&trueup_model::ApprovalId::from_wire("")));
            for kind in DriftKind::ALL {
                let id = Finding::id_of(name, kind);
                call.key(keys.finding(&id));
                call.arg(id.as_str());
            }
            let generation: i64 = call.run(&self.connection.0).await?;
            out.push(match u64::try_from(generation) {
                Ok(generation) => Applied { intent: name.clone(), change: Change::Deleted, generation },
                Err(_) => Applied { intent: name.clone(), change: Change::NotFound, generation: 0 },
            });
        }
        Ok(out)
    }

    pub(super) async fn do_intents(&self, names: &[IntentKey]) -> Result<Vec<Option<IntentRecord>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        for name in names {
            let key = Keys(name.partition(self.partitions)).intent(name);
            pipe.cmd("HMGET").arg(key).arg(&["m", "g", "s", "r"]);
        }
        let rows: Vec<Fields> = self.pipe(&pipe).await?;
        // One that cannot be read (a newer version wrote it, somebody edited it) must not hide the others.
        let read = |(name, row)| {
            record(name, row).unwrap_or_else(|e| {
                tracing::error!(intent = %name, "left out: {e}");
                None
            })
        };
        Ok(names.iter().zip(rows).map(read).collect())
    }

    pub(super) async fn do_due(
        &self,
        p: Partition,
        now: Time,
        limit: usize,
    ) -> Result<(Vec<IntentKey>, Option<Time>)> {
        let (key, now) = (Keys(p).due(), now.timestamp_millis());
        let mut pipe = redis::pipe();
        pipe.cmd("ZRANGEBYSCORE").arg(&key).arg("-inf").arg(now).arg("LIMIT").arg(0).arg(limit);
        pipe.cmd("ZRANGEBYSCORE")
            .arg(&key)
            .arg(format!("({now}"))
            .arg("(+inf")
            .arg("WITHSCORES")
            .arg("LIMIT")
            .arg(0)
            .arg(1);
        let (names, next): (Vec<String>, Vec<(String, f64)>) = self.pipe(&pipe).await?;
        let next = next.first().and_then(|(_, ms)| Time::from_timestamp_millis(*ms as i64));
        Ok((names.into_iter().filter_map(|n| n.try_into().ok()).collect(), next))
    }

    /// In lexical order within each partition; the cursor is the partition and the last name.
    pub(super) async fn do_list_intents(
        &self,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<IntentRecord>> {
        let (mut p, mut last) = match cursor {
            None => (0, String::new()),
            Some(c) => c
                .split_once(':')
                .and_then(|(p, last)| Some((p.parse::<u16>().ok()?, last.to_owned())))
                .ok_or_else(|| {
                    EngineError::Refused(format!("'{c}' is not a cursor from a page of intents"))
                })?,
        };
        let (limit, mut items) = (limit.max(1), Vec::new());
        while p < self.partitions && items.len() < limit {
            let from = if last.is_empty() { "-".to_owned() } else { format!("({last}") };
            let wanted = limit - items.len();
            let mut cmd = redis::cmd("ZRANGEBYLEX");
            cmd.arg(Keys(Partition(p)).names()).arg(from).arg("+").arg("LIMIT").arg(0).arg(wanted);
            let names: Vec<String> = self.query(&cmd).await?;
            let full = names.len() == wanted;
            last = names.last().cloned().unwrap_or_default();
            let keys: Vec<IntentKey> = names.into_iter().filter_map(|n| n.try_into().ok()).collect();
            items.extend(self.do_intents(&keys).await?.into_iter().flatten());
            if !full {
                (p, last) = (p + 1, String::new());
            }
        }
        Ok(Page { items, next: (p < self.partitions).then(|| format!("{p}:{last}")) })
    }
}

fn record(name: &IntentKey, (manifest, generation, state, rev): Fields) -> Result<Option<IntentRecord>> {
    let (Some(manifest), Some(generation), Some(state), Some(rev)) = (manifest, generation, state, rev)
    else {
        return Ok(None);
    };
    let broken = |what: &str, e: serde_json::Error| {
        EngineError::Refused(format!(
            "the stored {what} of intent {name} cannot be read ({e}); apply its manifest again"
        ))
    };
    let intent: Intent = serde_json::from_slice(&manifest).map_err(|e| broken("manifest", e))?;
    let state: IntentState = serde_json::from_slice(&state).map_err(|e| broken("state", e))?;
    Ok(Some(IntentRecord { intent, generation, state, rev }))
}
