//! The event streams, as the archive reads and trims them.

use async_trait::async_trait;
use trueup_model::Partition;

use super::{Call, RedisStore, Result, script};
use crate::archive::{EventLog, Extent};
use crate::keys::{ARCHIVE_ID, FLEET, Keys};

script!(ARCHIVE, "archive");

/// `(id, [(field, value)])`, as a stream answers.
type Entry = (String, Vec<(String, Vec<u8>)>);

impl RedisStore {
    fn archive_call(p: Partition, what: &str, holder: &str) -> Call {
        let mut call = Call::new(&ARCHIVE);
        call.key(Keys(p).archiver());
        call.key(Keys(p).events());
        call.arg(what).arg(holder);
        call
    }
}

#[async_trait]
impl EventLog for RedisStore {
    fn partitions(&self) -> u16 {
        self.partitions
    }

    async fn archive_of_fleet(&self, id: &str) -> Result<String> {
        let (_, there): (bool, String) =
            self.pipe(redis::pipe().hset_nx(FLEET, ARCHIVE_ID, id).hget(FLEET, ARCHIVE_ID)).await?;
        Ok(there)
    }

    async fn hold(&self, p: Partition, holder: &str, ms: u64) -> Result<Option<Extent>> {
        let mut call = Self::archive_call(p, "hold", holder);
        call.num(ms);
        let (mine, last, first): (u8, u64, u64) = call.run(&self.connection.0).await?;
        Ok((mine == 1).then_some(Extent { first, last }))
    }

    async fn read(&self, p: Partition, from: u64, to: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(Keys(p).events()).arg(format!("0-{from}")).arg(format!("0-{to}")).arg("COUNT").arg(limit);
        let entries: Vec<Entry> = self.query(&cmd).await?;
        let seq = |id: &str| id.split_once('-').and_then(|(_, n)| n.parse().ok()).unwrap_or(0);
        let event =
            |fields: Vec<(String, Vec<u8>)>| fields.into_iter().find(|(name, _)| name == "e").map(|(_, v)| v);
        Ok(entries.into_iter().map(|(id, fields)| (seq(&id), event(fields).unwrap_or_default())).collect())
    }

    async fn trim(&self, p: Partition, holder: &str, first_kept: u64) -> Result<Option<u64>> {
        let mut call = Self::archive_call(p, "trim", holder);
        call.arg(format!("0-{first_kept}"));
        let removed: i64 = call.run(&self.connection.0).await?;
        Ok(u64::try_from(removed).ok())
    }
}
