//! What a story on all three endpoint planes can do and see besides.

use std::collections::BTreeMap;

use trueup_engine::{EventFilter, Store};
use trueup_model::job::Check;
use trueup_model::{Event, Fault, Intent, Observed, PlaneKind, RunId, Time};

use super::sites::{self, Sites, Wrong};
use super::world_graph::TENANT;
use super::world_story::Story;

impl Story {
    pub fn began(&self) -> Time {
        self.began
    }

    fn sites(&self) -> &Sites {
        self.sites.as_ref().expect("a story on all planes")
    }

    /// Makes application `n` go wrong on a plane.
    pub fn go_wrong(&self, plane: PlaneKind, n: usize, wrong: Wrong) {
        sites::go_wrong(&self.graph, self.sites(), plane, TENANT, n, wrong);
    }

    /// Calls so far that change something on a plane.
    pub fn writes(&self, plane: PlaneKind) -> usize {
        match plane {
            PlaneKind::Jamf => self.sites().jamf_of(TENANT).writes().len(),
            PlaneKind::ConfigMgr => self.sites().configmgr_of(TENANT).writes().len(),
            PlaneKind::Intune | PlaneKind::Ansible => self.sim().writes().len(),
        }
    }

    /// What a look at an intent brings.
    pub async fn observe_one(&self, intent: &Intent) -> Result<Observed, Fault> {
        let plane = self.planes.get(TENANT, intent.plane()).expect("a connection");
        let run = RunId::derive(&["a look"]);
        let check =
            Check { intent: intent.key.clone(), run, target: intent.target.clone(), newer_than: None };
        plane.observe(&[check]).await.remove(0)
    }

    /// Of all intents, in order.
    pub async fn every_event(&self) -> Vec<Event> {
        let found = self.store.events(&EventFilter::default(), &BTreeMap::new(), 1_000_000).await;
        found.expect("events").into_iter().map(|(_, event)| event).collect()
    }
}
