//! Findings, approvals and events, read.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use trueup_model::{Event, Partition};

use super::missing::Missing;
use super::{RedisStore, Result};
use crate::EngineError;
use crate::keys::Keys;
use crate::store::{EventFilter, Page};

/// Entries read in one go while looking for events that match.
const CHUNK: usize = 500;

/// Entries to read where `missing` events are still wanted: no more than those if every event matches.
fn chunk(filter: &EventFilter, missing: usize) -> usize {
    if *filter == EventFilter::default() { CHUNK.min(missing) } else { CHUNK }
}

/// `(id, [(field, value)])`, as a stream answers.
type Entry = (String, Vec<(String, Vec<u8>)>);

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| EngineError::Refused(format!("a stored document cannot be read: {e}")))
}

impl RedisStore {
    pub(super) async fn documents<T: DeserializeOwned>(&self, keys: Vec<String>) -> Result<Vec<T>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipe = redis::pipe();
        keys.iter().for_each(|k| {
            pipe.get(k);
        });
        let found: Vec<Option<Vec<u8>>> = self.pipe(&pipe).await?;
        found.into_iter().flatten().map(|b| read(&b)).collect()
    }

    pub(super) async fn document_anywhere<T: DeserializeOwned>(
        &self,
        key: impl Fn(Keys) -> String,
    ) -> Result<Option<T>> {
        let keys = self.every_partition().map(|(_, k)| key(k)).collect();
        Ok(self.documents(keys).await?.into_iter().next())
    }

    /// A page of an index, newest first, over all partitions; the cursor is the score and id of the last one.
    pub(super) async fn newest<T: DeserializeOwned>(
        &self,
        cursor: Option<&str>,
        limit: usize,
        index: impl Fn(Keys) -> String,
        key: impl Fn(Keys, &str) -> String,
    ) -> Result<Page<T>> {
        let after: Option<(i64, String)> = match cursor {
            None => None,
            Some(c) => Some(
                c.split_once(':')
                    .and_then(|(score, id)| Some((score.parse().ok()?, id.to_owned())))
                    .ok_or_else(|| EngineError::Refused(format!("'{c}' is not a cursor from this list")))?,
            ),
        };
        let limit = limit.max(1);
        let (mut rows, mut missing): (Vec<(i64, String, Keys)>, _) = (Vec::new(), Missing::default());
        for (p, keys) in self.every_partition() {
            let found = self.newest_of(&index(keys), after.as_ref(), limit + 1).await;
            let found = missing.or_note(p, found)?.unwrap_or_default();
            rows.extend(found.into_iter().map(|(s, id)| (s, id, keys)));
        }
        rows.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(|(score, id, _)| format!("{score}:{id}"));
        let items = self.documents(rows.iter().map(|(_, id, keys)| key(*keys, id)).collect()).await?;
        Ok(Page { items, next, missing: missing.told(self.partitions)? })
    }

    /// Up to `n` members behind `after`, in descending order of (score, id).
    async fn newest_of(
        &self,
        index: &str,
        after: Option<&(i64, String)>,
        n: usize,
    ) -> Result<Vec<(i64, String)>> {
        let (mut rows, mut offset) = (Vec::new(), 0);
        while rows.len() < n {
            let mut cmd = redis::cmd("ZREVRANGEBYSCORE");
            cmd.arg(index).arg(after.map_or("+inf".to_owned(), |(s, _)| s.to_string())).arg("-inf");
            cmd.arg("WITHSCORES").arg("LIMIT").arg(offset).arg(n);
            let chunk: Vec<(String, f64)> = self.query(&cmd).await?;
            let ended = chunk.len() < n;
            offset += chunk.len();
            rows.extend(
                chunk
                    .into_iter()
                    .map(|(id, s)| (s as i64, id))
                    .filter(|(s, id)| after.is_none_or(|(last, last_id)| (s, id) < (last, last_id))),
            );
            if ended {
                break;
            }
        }
        rows.truncate(n);
        Ok(rows)
    }

    pub(super) async fn do_events(
        &self,
        filter: &EventFilter,
        after: &BTreeMap<u16, u64>,
        limit: usize,
    ) -> Result<Vec<(Partition, Event)>> {
        let mut found = Vec::new();
        for (p, keys) in self.every_partition().filter(|(p, _)| filter.may_be_in(*p, self.partitions)) {
            let mut from = after.get(&p.0).map_or(0, |seq| seq + 1);
            while found.len() < limit {
                let count = chunk(filter, limit - found.len());
                let mut cmd = redis::cmd("XRANGE");
                cmd.arg(keys.events()).arg(format!("0-{from}")).arg("+").arg("COUNT").arg(count);
                let read = self.read_events(&cmd).await?;
                let Some(last) = read.last() else { break };
                from = last.seq + 1;
                let ended = read.len() < count;
                found.extend(read.into_iter().filter(|e| filter.admits(e)).map(|e| (p, e)));
                if ended {
                    break;
                }
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    pub(super) async fn do_last_events(
        &self,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<Vec<(Partition, Event)>> {
        let mut found: Vec<(Partition, Event)> = Vec::new();
        for (p, keys) in self.every_partition().filter(|(p, _)| filter.may_be_in(*p, self.partitions)) {
            let (mut to, mut here) = ("+".to_owned(), Vec::new());
            while here.len() < limit {
                let count = chunk(filter, limit - here.len());
                let mut cmd = redis::cmd("XREVRANGE");
                cmd.arg(keys.events()).arg(&to).arg("-").arg("COUNT").arg(count);
                let read = self.read_events(&cmd).await?;
                let Some(first) = read.last() else { break };
                to = format!("(0-{}", first.seq);
                let ended = read.len() < count;
                here.extend(read.into_iter().filter(|e| filter.admits(e)).map(|e| (p, e)));
                if ended {
                    break;
                }
            }
            found.extend(here.into_iter().take(limit));
        }
        found.sort_by(|(p, a), (q, b)| (a.created_at, p, a.seq).cmp(&(b.created_at, q, b.seq)));
        let extra = found.len().saturating_sub(limit);
        Ok(found.split_off(extra))
    }

    pub(super) async fn read_events(&self, cmd: &redis::Cmd) -> Result<Vec<Event>> {
        let entries: Vec<Entry> = self.query(cmd).await?;
        entries.into_iter().map(event).collect()
    }
}

/// The sequence number is the second half of the entry's id.
fn event((id, fields): Entry) -> Result<Event> {
    let bytes = fields.iter().find(|(name, _)| name == "e").map_or(&[][..], |(_, value)| value);
    let mut event: Event = read(bytes)?;
    event.seq = id.split_once('-').and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
    Ok(event)
}
