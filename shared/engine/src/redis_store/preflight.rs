//! Is this Redis safe to use?
//!
//! Refuses what would lose data silently (eviction), warns of what can lose it in a crash (no AOF).

use std::collections::HashMap;

use futures::future::try_join_all;
use trueup_model::{Clock as _, SystemClock};

use super::{RedisStore, Result};
use crate::archive::KEEP;
use crate::keys::{ARCHIVE_ID, FLEET};
use crate::store::Preflight;

/// `INFO` as a map.
fn info(text: &str) -> HashMap<&str, &str> {
    text.lines().filter_map(|l| l.trim_end().split_once(':')).collect()
}

pub(crate) fn judge(info: &HashMap<&str, &str>) -> Preflight {
    let get = |k: &str| info.get(k).copied().unwrap_or("");
    let number = |k: &str| get(k).parse::<u64>().unwrap_or(0);
    let name = if info.contains_key("valkey_version") { "Valkey" } else { "Redis" };
    let version = info.get("valkey_version").copied().unwrap_or_else(|| get("redis_version"));
    let mut report = Preflight { server: format!("{name} {version}"), ..Preflight::default() };

    let major: u32 = get("redis_version").split('.').next().and_then(|m| m.parse().ok()).unwrap_or(0);
    if major < 7 {
        report.refused.push(format!("{name} {version} is too old: version 7 or newer is needed"));
    }
    let policy = get("maxmemory_policy");
    if !policy.is_empty() && policy != "noeviction" {
        report.refused.push(format!(
            "maxmemory-policy is '{policy}': it deletes jobs silently when memory is full; set it to noeviction \
             (CONFIG SET maxmemory-policy noeviction, and in redis.conf)"
        ));
    }
    if get("role") == "slave" {
        report.refused.push("this server is a replica: connect to its primary".into());
    }
    if get("aof_enabled") == "0" {
        report.warnings.push(
            "no AOF: a crash of Redis loses everything since its last snapshot; set appendonly yes (CONFIG SET appendonly \
             yes, and in redis.conf)"
                .into(),
        );
    }
    if info.get("aof_last_write_status").is_some_and(|s| *s != "ok") {
        report.warnings.push("the last write to the AOF failed: look at the disk of the Redis host".into());
    }
    let (used, max) = (number("used_memory"), number("maxmemory"));
    if max > 0 && used * 10 > max * 8 {
        report.warnings.push(format!(
            "{} % of maxmemory is used: raise maxmemory before writes are refused",
            used * 100 / max
        ));
    }
    report
}

impl RedisStore {
    pub(super) async fn do_preflight(&self) -> Result<Preflight> {
        let text: String = self.query(&redis::cmd("INFO")).await?;
        let mut report = judge(&info(&text));
        let before = SystemClock.now();
        let (seconds, micros): (i64, i64) = self.query(&redis::cmd("TIME")).await?;
        // Half of what the answer took is the way here.
        let here = before + (SystemClock.now() - before) / 2;
        report.skew_ms = Some(here.timestamp_millis() - (seconds * 1_000 + micros / 1_000));
        let archive: Option<String> = self.query(redis::cmd("HGET").arg(FLEET).arg(ARCHIVE_ID)).await?;
        let lengths = self
            .every_partition()
            .map(|(_, keys)| async move { self.query::<u64>(redis::cmd("XLEN").arg(keys.events())).await });
        let lengths = try_join_all(lengths).await?;
        report.events = Some(lengths.iter().sum());
        let fullest = lengths.into_iter().max().unwrap_or(0);
        report.archive_behind = archive.map(|_| fullest.saturating_sub(KEEP));
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_settings_are_refused_and_risky_ones_warned_of() {
        let good = "redis_version:7.0.15\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\nrole:master\r\n";
        let table = [
            (good.to_owned(), 0, 0),
            (good.replace("noeviction", "allkeys-lru"), 1, 0),
            (good.replace("7.0.15", "6.2.1"), 1, 0),
            (good.replace("master", "slave"), 1, 0),
            (good.replace("aof_enabled:1", "aof_enabled:0"), 0, 1),
            (format!("{good}used_memory:90\r\nmaxmemory:100\r\n"), 0, 1),
            (format!("{good}aof_last_write_status:err\r\n"), 0, 1),
        ];
        for (text, refused, warned) in table {
            let report = judge(&info(&text));
            assert_eq!(
                (report.refused.len(), report.warnings.len()),
                (refused, warned),
                "{text}: {report:?}"
            );
        }
    }
}
