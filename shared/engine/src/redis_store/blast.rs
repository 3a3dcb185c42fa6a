//! The blast-radius switches.

use trueup_model::{Caps, Partition, PlaneKind, Reserved, Time, Trip};

use super::{Call, RedisStore, Result, limit, script};
use crate::EngineError;
use crate::blast::{Limits, MAX_MEMBER, Tripped, rearmed};
use crate::census::Row;
use crate::keys::Keys;
use crate::store::By;

script!(RESERVE, "reserve");
script!(REARM, "rearm");

/// Where all switches are, with the audit events of their rearming.
const HOME: Keys = Keys(Partition(0));

/// Field of a switch among the trips. No plane has a dot in its name.
fn place(tenant: &str, plane: PlaneKind) -> String {
    format!("{tenant}.{plane}")
}

fn place_of(field: &str) -> Option<(&str, PlaneKind)> {
    let (tenant, plane) = field.rsplit_once('.')?;
    Some((tenant, plane.parse().ok()?))
}

fn read(place: &str, json: &str) -> Result<Tripped> {
    serde_json::from_str(json).map_err(|e| {
        EngineError::Refused(format!(
            "the stored trip of the blast-radius switch {place} cannot be read ({e}); rearm it"
        ))
    })
}

impl RedisStore {
    pub(super) async fn do_reserve(
        &self,
        tenant: &str,
        plane: PlaneKind,
        caps: &Caps,
        member: &str,
        now: Time,
    ) -> Result<Reserved> {
        limit("bytes in the name of a member", member.len(), MAX_MEMBER)?;
        // Only a share needs to know of what.
        let intents = if caps.percent.is_some() { self.intents_on(tenant, plane).await? } else { 0 };
        let limits = Limits::of(caps, intents);
        let place = place(tenant, plane);
        let mut call = Call::new(&RESERVE);
        call.key(HOME.places(tenant, plane));
        call.key(HOME.trips());
        call.arg(place.as_str()).arg(member).num(now.timestamp_millis());
        call.num(limits.window.num_milliseconds()).num(limits.kept.num_milliseconds());
        let both = [&limits.in_window, &limits.in_minute];
        for cap in both {
            call.arg(cap.as_ref().map(|l| l.places.to_string()).unwrap_or_default());
        }
        for cap in both {
            let text = cap.as_ref().map(|l| l.text.clone()).unwrap_or_default();
            let trip = Tripped { at: now, cap: text, member: member.to_owned() };
            call.arg(serde_json::to_vec(&trip).map_err(|e| EngineError::Refused(e.to_string()))?);
        }
        let answer: String = call.run(&self.connection.0).await?;
        if answer.is_empty() {
            return Ok(Reserved::Granted);
        }
        Ok(read(&place, &answer)?.answer(tenant, plane, member))
    }

    /// How many intents of a tenant on a plane are reconciled, from the census.
    async fn intents_on(&self, tenant: &str, plane: PlaneKind) -> Result<u64> {
        let row = Row::Intent(tenant.to_owned(), plane).text();
        let mut pipe = redis::pipe();
        for (_, keys) in self.every_partition() {
            pipe.hget(keys.census(), &row);
        }
        let counts: Vec<Option<u64>> = self.pipe(&pipe).await?;
        Ok(counts.into_iter().flatten().sum())
    }

    pub(super) async fn do_rearm(&self, tenant: &str, plane: PlaneKind, by: &By) -> Result<bool> {
        let place = place(tenant, plane);
        let seen: Option<String> = self.query(redis::cmd("HGET").arg(HOME.trips()).arg(&place)).await?;
        let Some(seen) = seen else { return Ok(false) };
        // One that cannot be read can be rearmed all the same.
        let event = rearmed(tenant, plane, read(&place, &seen).ok().as_ref(), by);
        let mut call = Call::new(&REARM);
        for key in [HOME.places(tenant, plane), HOME.trips(), HOME.events()] {
            call.key(key);
        }
        call.arg(place).arg(seen);
        call.arg(serde_json::to_vec(&event).map_err(|e| EngineError::Refused(e.to_string()))?);
        Ok(call.run::<u8>(&self.connection.0).await? == 1)
    }

    pub(super) async fn do_trips(&self) -> Result<Vec<Trip>> {
        let all: Vec<(String, String)> = self.query(redis::cmd("HGETALL").arg(HOME.trips())).await?;
        let mut trips = Vec::with_capacity(all.len());
        for (field, json) in all {
            // One that cannot be read must not hide the others.
            match (place_of(&field), read(&field, &json)) {
                (Some((tenant, plane)), Ok(tripped)) => trips.push(tripped.shown(tenant, plane)),
                (_, Err(e)) => tracing::error!("left out: {e}"),
                (None, _) => tracing::error!(%field, "left out: not the name of a blast-radius switch"),
            }
        }
        trips.sort_by(|a, b| (&a.tenant, a.plane).cmp(&(&b.tenant, b.plane)));
        Ok(trips)
    }
}
