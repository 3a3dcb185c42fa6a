//! Manifests and their state.

use async_trait::async_trait;
use trueup_model::event::LOOP;
use trueup_model::intent::Manifest;
use trueup_model::job::tick_id;
use trueup_model::{
    Digest, DriftKind, Event, EventId, EventKind, Finding, Intent, IntentKey, IntentRecord, IntentState,
    Partition, Time,
};

use super::missing::Missing;
use super::{Call, RedisStore, Result, limit, script};
use crate::EngineError;
use crate::census::Row;
use crate::keys::Keys;
use crate::manifests::{Expect, Manifests, Put};
use crate::store::{Applied, By, Change, Page};

script!(APPLY, "apply");
script!(DELETE, "delete");

/// Manifest, generation, state, rev, version, owners: the fields of an intent's hash that make a record.
type Fields = (Option<Vec<u8>>, Option<u64>, Option<Vec<u8>>, Option<u64>, Option<u64>, Option<Vec<u8>>);

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

/// As the scripts read it.
fn expected(expect: Expect) -> String {
    match expect {
        Expect::Anything => String::new(),
        Expect::Absent => "absent".into(),
        Expect::Version(version) => version.to_string(),
    }
}

/// As the script reads them: nothing if there are none.
fn owners(put: &Put) -> Result<Vec<u8>> {
    match &put.owners {
        None => Ok(b"=".to_vec()),
        Some(owners) if owners.is_empty() => Ok(Vec::new()),
        Some(owners) => serde_json::to_vec(owners).map_err(refused),
    }
}

#[async_trait]
impl Manifests for RedisStore {
    async fn put(&self, puts: &[Put], by: &By) -> Result<Vec<Applied>> {
        limit("intents", puts.len(), 256)?;
        let mut out: Vec<Option<Applied>> = vec![None; puts.len()];
        for (p, keys) in self.every_partition() {
            let of_p = |put: &Put| put.intent.key.partition(self.partitions) == p;
            let here: Vec<(usize, &Put)> = puts.iter().enumerate().filter(|(_, put)| of_p(put)).collect();
            if here.is_empty() {
                continue;
            }
            let mut call = Call::new(&APPLY);
            for key in [keys.events(), keys.due(), keys.names(), keys.ticks(), keys.nudge(), keys.census()] {
                call.key(key);
            }
            call.num(p).arg(tick_id(p).as_str());
            for (_, put) in &here {
                let intent = &put.intent;
                call.key(keys.intent(&intent.key));
                let digest = Digest::of(&(&intent.target, &intent.desired));
                let data = serde_json::json!({
                    "deployment_intent_id": intent.key.id, "change": "", "generation": -1, "mode": intent.mode,
                });
                let event = intent_event(EventKind::IntentApplied, &intent.key, by, data);
                call.arg(intent.key.to_string())
                    .arg(serde_json::to_vec(&Manifest::from(intent.clone())).map_err(refused)?)
                    .arg(digest.as_str())
                    .arg(Row::of_intent(intent).map(|row| row.text()).unwrap_or_default())
                    .arg(serde_json::to_vec(&event).map_err(refused)?)
                    .arg(expected(put.expect))
                    .arg(owners(put)?);
            }
            let answers: Vec<(u8, u64, u64)> = call.run(&self.connection.0).await?;
            for ((n, put), (change, generation, version)) in here.into_iter().zip(answers) {
                let change = match change {
                    0 => Change::Unchanged,
                    1 => Change::Created,
                    2 => Change::Changed,
                    _ => Change::Conflict,
                };
                out[n] = Some(Applied { intent: put.intent.key.clone(), change, generation, version });
            }
        }
        Ok(out.into_iter().flatten().collect())
    }

    async fn forget(&self, name: &IntentKey, expect: Expect, by: &By) -> Result<Applied> {
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
        // Nobody expects nothing of what is to be forgotten: that is no condition.
        call.arg(if expect == Expect::Absent { String::new() } else { expected(expect) });
        for kind in DriftKind::ALL {
            let id = Finding::id_of(name, kind);
            call.key(keys.finding(&id));
            call.arg(id.as_str());
        }
        let generation: i64 = call.run(&self.connection.0).await?;
        let change = match generation {
            -1 => Change::NotFound,
            ..=-2 => Change::Conflict,
            0.. => Change::Deleted,
        };
        let generation = u64::try_from(generation).unwrap_or(0);
        Ok(Applied { intent: name.clone(), change, generation, version: 0 })
    }
}

impl RedisStore {
    pub(super) async fn do_delete(&self, names: &[IntentKey], by: &By) -> Result<Vec<Applied>> {
        limit("intents", names.len(), 256)?;
        let mut out = Vec::with_capacity(names.len());
        for name in names {
            out.push(self.forget(name, Expect::Anything, by).await?);
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
            pipe.cmd("HMGET").arg(key).arg(&["m", "g", "s", "r", "v", "o"]);
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
                // One from beyond the last partition is at the end.
                .and_then(|(p, last)| Some((p.parse::<u64>().ok()?, last.to_owned())))
                .map(|(p, last)| (u16::try_from(p).unwrap_or(u16::MAX), last))
                .ok_or_else(|| {
                    EngineError::Refused(format!("'{c}' is not a cursor from a page of intents"))
                })?,
        };
        let (limit, mut items, mut missing) = (limit.max(1), Vec::new(), Missing::default());
        while p < self.partitions && items.len() < limit {
            let from = if last.is_empty() { "-".to_owned() } else { format!("({last}") };
            let wanted = limit - items.len();
            let mut cmd = redis::cmd("ZRANGEBYLEX");
            cmd.arg(Keys(Partition(p)).names()).arg(from).arg("+").arg("LIMIT").arg(0).arg(wanted);
            let Some(names) = missing.or_note::<Vec<String>>(Partition(p), self.query(&cmd).await)? else {
                (p, last) = (p + 1, String::new());
                continue;
            };
            let full = names.len() == wanted;
            last = names.last().cloned().unwrap_or_default();
            let keys: Vec<IntentKey> = names.into_iter().filter_map(|n| n.try_into().ok()).collect();
            let found = missing.or_note(Partition(p), self.do_intents(&keys).await)?.unwrap_or_default();
            items.extend(found.into_iter().flatten());
            if !full {
                (p, last) = (p + 1, String::new());
            }
        }
        Ok(Page {
            items,
            next: (p < self.partitions).then(|| format!("{p}:{last}")),
            missing: missing.told(self.partitions)?,
        })
    }
}

fn record(
    name: &IntentKey,
    (manifest, generation, state, rev, version, owners): Fields,
) -> Result<Option<IntentRecord>> {
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
    let owners = owners.map(|o| serde_json::from_slice(&o)).transpose().map_err(|e| broken("owners", e))?;
    let (version, owners) = (version.unwrap_or_default(), owners.unwrap_or_default());
    Ok(Some(IntentRecord { intent, generation, state, rev, version, owners }))
}
