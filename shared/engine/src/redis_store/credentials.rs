//! API keys in Redis.

use async_trait::async_trait;
use serde_json::{from_str, to_string};
use trueup_model::{EventKind, Partition, Time};

use super::{Call, RedisStore, Result, script};
use crate::EngineError;
use crate::credentials::{Credential, Credentials, KeyChange, MAX_CREDENTIALS, check, event};
use crate::keys::Keys;
use crate::store::By;

script!(CREDENTIAL, "credential");

/// Where all keys are, with their audit events.
const HOME: Keys = Keys(Partition(0));
/// Tries to change a key that others change too.
const MAX_TRIES: usize = 8;
/// Keys forgotten in one call.
const MAX_FORGOTTEN: usize = 64;

fn written<T: serde::Serialize>(value: &T) -> Result<String> {
    to_string(value).map_err(|e| EngineError::Refused(e.to_string()))
}

fn read(id: &str, json: &str, used: Option<i64>) -> Result<Credential> {
    let mut credential: Credential = from_str(json).map_err(|e| {
        EngineError::Refused(format!(
            "the stored API key {id} cannot be read ({e}); make another one instead"
        ))
    })?;
    credential.last_used_at = used.and_then(Time::from_timestamp_millis);
    Ok(credential)
}

impl RedisStore {
    async fn stored_credential(&self, id: &str) -> Result<Option<(String, Credential)>> {
        let mut pipe = redis::pipe();
        pipe.hget(HOME.credentials(), id).hget(HOME.credentials_used(), id);
        let (json, used): (Option<String>, Option<i64>) = self.pipe(&pipe).await?;
        json.map(|json| read(id, &json, used).map(|c| (json, c))).transpose()
    }

    async fn put_credential(
        &self,
        seen: &str,
        new: &Credential,
        kind: EventKind,
        by: &By,
        forgotten: &[&str],
    ) -> Result<bool> {
        let mut call = Call::new(&CREDENTIAL);
        for key in [HOME.credentials(), HOME.credentials_used(), HOME.events()] {
            call.key(key);
        }
        call.arg(new.id.as_str()).arg(seen).arg(written(new)?).arg(written(&event(kind, new, by))?);
        call.num(MAX_CREDENTIALS);
        for id in forgotten {
            call.arg(*id);
        }
        Ok(call.run::<i8>(&self.connection.0).await? == 1)
    }
}

#[async_trait]
impl Credentials for RedisStore {
    async fn credential(&self, id: &str) -> Result<Option<Credential>> {
        Ok(self.stored_credential(id).await?.map(|(_, credential)| credential))
    }

    async fn all_credentials(&self) -> Result<Vec<Credential>> {
        let mut pipe = redis::pipe();
        pipe.hgetall(HOME.credentials()).hgetall(HOME.credentials_used());
        type Found = (std::collections::BTreeMap<String, String>, std::collections::BTreeMap<String, i64>);
        let (all, used): Found = self.pipe(&pipe).await?;
        // One that cannot be read must not hide the others.
        let read = |(id, json): (&String, &String)| match read(id, json, used.get(id).copied()) {
            Ok(credential) => Some(credential),
            Err(e) => {
                tracing::error!("left out: {e}");
                None
            }
        };
        Ok(all.iter().filter_map(read).collect())
    }

    async fn create_credential(&self, new: &Credential, by: &By) -> Result<bool> {
        check(new)?;
        let all = self.all_credentials().await?;
        let history = all.iter().filter(|c| c.is_history(by.now)).map(|c| c.id.as_str());
        let forgotten: Vec<&str> = history.take(MAX_FORGOTTEN).collect();
        self.put_credential("", new, EventKind::KeyCreated, by, &forgotten).await
    }

    async fn change_credential(&self, id: &str, change: &KeyChange, by: &By) -> Result<Option<Credential>> {
        for _ in 0..MAX_TRIES {
            let Some((seen, credential)) = self.stored_credential(id).await? else { return Ok(None) };
            let Some(new) = credential.changed(change, by.now) else { return Ok(None) };
            if self.put_credential(&seen, &new, change.event(), by, &[]).await? {
                return Ok(Some(new));
            }
        }
        Err(EngineError::Unavailable(format!("the API key {id} is being changed by many at once")))
    }

    async fn credential_used(&self, id: &str, at: Time) -> Result<()> {
        let mut cmd = redis::cmd("HSET");
        cmd.arg(HOME.credentials_used()).arg(id).arg(at.timestamp_millis());
        self.query(&cmd).await
    }
}
