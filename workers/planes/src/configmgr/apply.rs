//! Changing what an application is deployed to. One write at a time, each after a look.
//!
//! # Guarantees
//! Doing an action again does no more than the first time: a deployment is known by what it deploys and by its derived
//! name, and one that was just made is remembered (by this process) until the site lists it. A creation without an answer
//! puts the action off until the site had time to list it, whichever process goes on. Nothing is deleted to make room
//! unless the site says that one exists already.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use trueup_model::intent::{Install, Scope};
use trueup_model::target::ConfigMgrTarget;
use trueup_model::{Duration, EffectKey, Fault, Receipt, Time};

use super::deploy::{Step, Wanted, steps};
use super::parse::{Collection, Created, Deployment, Rules};
use super::service::Service;
use super::{query, request};
use crate::http::Answer;

/// For this long a deployment of ours counts although the site does not list it.
const LISTED_WITHIN: Duration = Duration::minutes(15);
/// Deployments remembered, at most.
const MAX_REMEMBERED: usize = 10_000;

/// A deployment we made. `id` is unknown if its creation was not answered.
#[derive(Debug, Clone, Copy)]
struct Made {
    install: Install,
    id: Option<u32>,
    at: Time,
}

/// What was made a moment ago, by application and collection.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<HashMap<(u32, String), Made>>);

impl Recent {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(u32, String), Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, ci: u32, collection: &str, made: Made) {
        let mut all = self.lock();
        all.retain(|_, m| made.at - m.at < LISTED_WITHIN);
        if all.len() < MAX_REMEMBERED {
            all.insert((ci, collection.to_owned()), made);
        }
    }

    fn forget(&self, ci: u32, collection: &str) {
        self.lock().remove(&(ci, collection.to_owned()));
    }

    /// Adds what is not listed yet; waits for what may or may not be.
    fn complete(
        &self,
        ci: u32,
        collections: &BTreeSet<String>,
        known: &mut Vec<Deployment>,
        now: Time,
    ) -> Result<(), Fault> {
        let all = self.lock();
        for collection in collections {
            let Some(made) = all.get(&(ci, collection.clone())).filter(|m| now - m.at < LISTED_WITHIN) else {
                continue;
            };
            let listed = |d: &&Deployment| match made.id {
                Some(id) => d.id == id,
                None => {
                    d.collection == *collection && d.cis().contains(&ci) && d.install() == Ok(made.install)
                }
            };
            match (known.iter().find(listed), made.id) {
                (Some(_), _) => {}
                (None, Some(id)) => known.push(Deployment::unlisted(id, ci, collection, made.install)),
                (None, None) => {
                    return Err(Fault::Throttled {
                        until: made.at + LISTED_WITHIN,
                        what: format!(
                            "a deployment of {ci} to {collection} was sent and not answered, and is not listed: it is not made a second time before it had time to appear"
                        ),
                    });
                }
            }
        }
        Ok(())
    }
}

/// What an action asks of one application.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) ci: u32,
    pub(crate) install: Install,
    pub(crate) include: &'a BTreeSet<Scope>,
    pub(crate) remove: &'a BTreeSet<Scope>,
}

/// Collections, and devices by ResourceID.
fn split(scopes: &BTreeSet<Scope>) -> Result<(BTreeSet<String>, BTreeSet<u32>), Fault> {
    let (mut collections, mut devices) = (BTreeSet::new(), BTreeSet::new());
    for scope in scopes {
        match scope {
            Scope::Group(id) if trueup_model::target::is_collection_id(id) => {
                collections.insert(id.clone());
            }
            Scope::Device(id) if id.parse::<u32>().is_ok() => devices.extend(id.parse::<u32>()),
            other => return Err(Fault::bug(format!("configmgr cannot deploy to {other:?}"))),
        }
    }
    Ok((collections, devices))
}

/// Whether the site refused a creation because one is there. Any other refusal would meet the next try too.
fn exists_already(answer: &Answer) -> bool {
    let says = || {
        let text = String::from_utf8_lossy(&answer.body).to_lowercase();
        ["already exist", "already been deployed", "duplicate"].iter().any(|s| text.contains(s))
    };
    answer.status == 409 || (answer.status == 400 && says())
}

pub(crate) struct Apply<'a> {
    pub(crate) service: &'a Service,
    pub(crate) recent: &'a Recent,
    pub(crate) target: &'a ConfigMgrTarget,
    pub(crate) key: &'a EffectKey,
    pub(crate) done: Vec<String>,
}

impl Apply<'_> {
    fn receipt(self) -> Receipt {
        let changed = !self.done.is_empty();
        let note = if changed { self.done.join("; ") } else { "deployed as wanted already".into() };
        Receipt { note, changed }
    }

    /// `Assign`: deployments to collections, rules for single devices.
    pub(crate) async fn assign(mut self, change: Change<'_>) -> Result<Receipt, Fault> {
        let (mut include, devices) = split(change.include)?;
        let (remove, leaving) = split(change.remove)?;
        let single = self.target.device_collection.clone();
        if let Some(id) = single.as_ref().filter(|id| include.contains(*id) || remove.contains(*id)) {
            return Err(Fault::permanent(format!(
                "{id} is target.device_collection and named as a group too: name the devices or the collection, not both"
            )));
        }
        match &single {
            Some(id) if !devices.is_empty() => {
                include.insert(id.clone());
            }
            None if !devices.is_empty() || !leaving.is_empty() => {
                return Err(Fault::permanent("scopes of kind device need target.device_collection"));
            }
            _ => {}
        }
        self.deploy(change.ci, change.install, &include, &remove).await?;
        if let Some(id) = single.filter(|_| !devices.is_empty() || !leaving.is_empty()) {
            self.rules(&id, &devices, &leaving).await?;
        }
        Ok(self.receipt())
    }

    /// `Unassign`, of an older application: a device collection as a whole, for its rules belong to the newer one too.
    pub(crate) async fn unassign(mut self, ci: u32, remove: &BTreeSet<Scope>) -> Result<Receipt, Fault> {
        let (mut collections, devices) = split(remove)?;
        if !devices.is_empty() {
            collections.extend(self.target.device_collection.clone());
        }
        self.deploy(ci, Install::Required, &BTreeSet::new(), &collections).await?;
        Ok(self.receipt())
    }

    async fn deploy(
        &mut self,
        ci: u32,
        install: Install,
        include: &BTreeSet<String>,
        remove: &BTreeSet<String>,
    ) -> Result<(), Fault> {
        self.exist(include).await?;
        let named: BTreeSet<String> = include.union(remove).cloned().collect();
        let queries = query::deployments_to(named.iter().map(String::as_str));
        let mut known: Vec<Deployment> = self.service.rows_of_all(&queries).await?;
        self.recent.complete(ci, &named, &mut known, self.service.http.clock().now())?;
        let wanted = Wanted { app: &self.target.app_name, ci, install, include, remove };
        for step in steps(&known, &wanted) {
            match step {
                Step::Delete { collection, id } => self.delete(ci, &collection, id).await?,
                Step::Create { collection, replaces } => {
                    self.create(ci, install, &collection, &replaces).await?;
                }
            }
        }
        Ok(())
    }

    /// A deployment may outlive its collection; then it is listed, and reaches nobody.
    async fn exist(&self, collections: &BTreeSet<String>) -> Result<(), Fault> {
        let queries = query::collections_of(collections.iter().map(String::as_str));
        let there: Vec<Collection> = self.service.rows_of_all(&queries).await?;
        match collections.iter().find(|id| there.iter().all(|c| c.id != **id)) {
            None => Ok(()),
            Some(id) => Err(Fault::permanent(format!(
                "there is no collection {id}: make it in Configuration Manager or correct the intent's scopes"
            ))),
        }
    }

    /// The new one first, so that nobody is without, unless the site takes no second one.
    async fn create(
        &mut self,
        ci: u32,
        install: Install,
        collection: &str,
        replaces: &[u32],
    ) -> Result<(), Fault> {
        let now = self.service.http.clock().now();
        let app = &self.target.app_name;
        let new = request::deploy(request::Deployment { app, ci, collection, install, now, key: self.key });
        let mut left = replaces;
        let mut answer = self.send(&new, ci, install, collection).await?;
        let mut room = String::new();
        if !left.is_empty() && exists_already(&answer) {
            room = format!("after {left:?} had been deleted from {collection} to make room");
            for id in std::mem::take(&mut left) {
                self.delete(ci, collection, *id).await?;
            }
            answer = self.send(&new, ci, install, collection).await.map_err(|f| f.about(&room))?;
        }
        let status = answer.status;
        let created: Result<Created, Fault> = self.service.read(&new, answer);
        let created = created.map_err(|f| if room.is_empty() { f } else { f.about(&room) })?;
        self.recent.note(ci, collection, Made { install, id: Some(created.id), at: now });
        self.done.push(format!("{status}: deployment {} ({install:?}) to {collection}", created.id));
        for id in left {
            self.delete(ci, collection, *id).await?;
        }
        Ok(())
    }

    /// Sends a creation. One that may have arrived is [`Fault::Throttled`] until it must be listed, so that nobody, in this
    /// process or another, makes it again before it can be seen.
    async fn send(
        &self,
        new: &request::Request,
        ci: u32,
        install: Install,
        collection: &str,
    ) -> Result<Answer, Fault> {
        self.service.signed_in().await?;
        let at = self.service.http.clock().now();
        let sent = self.service.send_once(new, self.key).await;
        let Some(why) = self.service.unclear::<Created>(new, &sent) else { return sent };
        self.recent.note(ci, collection, Made { install, id: None, at });
        Err(Fault::Throttled {
            until: at + LISTED_WITHIN,
            what: format!(
                "a deployment of {ci} to {collection} was sent and not answered ({why}): whether it was made is looked up when it must be listed"
            ),
        })
    }

    async fn delete(&mut self, ci: u32, collection: &str, id: u32) -> Result<(), Fault> {
        let request = request::undeploy(id);
        let deleted = crate::retry::transient(|| async {
            let answer = self.service.send_once(&request, self.key).await?;
            // Gone already is as good.
            if answer.status == 404 { Ok(None) } else { self.service.accepted(&request, answer).map(Some) }
        });
        if let Some(status) = deleted.await? {
            self.done.push(format!("{status}: deployment {id} to {collection} deleted"));
        }
        if self.recent.lock().get(&(ci, collection.to_owned())).is_some_and(|m| m.id == Some(id)) {
            self.recent.forget(ci, collection);
        }
        Ok(())
    }

    /// Rules are read from the collection itself: memberships follow only after it was evaluated.
    async fn rules(
        &mut self,
        collection: &str,
        join: &BTreeSet<u32>,
        leave: &BTreeSet<u32>,
    ) -> Result<(), Fault> {
        let found: Option<Rules> = self.service.find(&request::collection(collection)).await?;
        let Some(Rules { rules: Some(rules) }) = found else {
            return Err(Fault::permanent(format!(
                "the rules of target.device_collection {collection} cannot be read: it does not exist, or the account may not"
            )));
        };
        let there: BTreeSet<u32> = rules.into_iter().filter_map(|r| r.resource).collect();
        let (mut joined, mut left) = (0, 0);
        for device in join.difference(&there) {
            self.change_rule(request::add_rule(collection, *device)).await?;
            joined += 1;
        }
        for device in leave.difference(join).filter(|d| there.contains(d)) {
            self.change_rule(request::delete_rule(collection, *device)).await?;
            left += 1;
        }
        if joined + left > 0 {
            self.done.push(format!("{joined} devices joined {collection}, {left} left it"));
        }
        Ok(())
    }

    async fn change_rule(&self, request: request::Request) -> Result<(), Fault> {
        let answer = self.service.send_once(&request, self.key).await?;
        self.service.accepted(&request, answer).map(drop)
    }
}
