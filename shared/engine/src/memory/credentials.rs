//! API keys in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use trueup_model::{EventKind, Partition, Time};

use super::{MemoryStore, Result};
use crate::credentials::{Credential, Credentials, KeyChange, MAX_CREDENTIALS, check, event};
use crate::store::By;

#[derive(Debug, Default)]
pub(super) struct Ring(Mutex<BTreeMap<String, Credential>>);

impl Ring {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Credential>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Credentials for MemoryStore {
    async fn credential(&self, id: &str) -> Result<Option<Credential>> {
        Ok(self.credentials.all().get(id).cloned())
    }

    async fn all_credentials(&self) -> Result<Vec<Credential>> {
        Ok(self.credentials.all().values().cloned().collect())
    }

    async fn create_credential(&self, new: &Credential, by: &By) -> Result<bool> {
        check(new)?;
        let mut all = self.credentials.all();
        all.retain(|_, c| !c.is_history(by.now));
        if all.contains_key(&new.id) || all.len() >= MAX_CREDENTIALS {
            return Ok(false);
        }
        all.insert(new.id.clone(), new.clone());
        self.on(Partition(0), |part| part.append(event(EventKind::KeyCreated, new, by)))?;
        Ok(true)
    }

    async fn change_credential(&self, id: &str, change: &KeyChange, by: &By) -> Result<Option<Credential>> {
        let mut all = self.credentials.all();
        let Some(new) = all.get(id).and_then(|c| c.changed(change, by.now)) else { return Ok(None) };
        all.insert(id.to_owned(), new.clone());
        self.on(Partition(0), |part| part.append(event(change.event(), &new, by)))?;
        Ok(Some(new))
    }

    async fn credential_used(&self, id: &str, at: Time) -> Result<()> {
        if let Some(credential) = self.credentials.all().get_mut(id) {
            credential.last_used_at = Some(at);
        }
        Ok(())
    }
}
