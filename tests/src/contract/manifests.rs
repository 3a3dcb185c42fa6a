//! Manifests, stored and forgotten on a condition, and who owns their fields.

use trueup_engine::manifests::{Expect, Put};
use trueup_engine::store::{Applied, Change, Store};
use trueup_model::owners::Owners;
use trueup_model::{EventKind, Intent};

use super::Fresh;
use super::given::*;

async fn put(store: &dyn Store, intent: &Intent, expect: Expect, owners: Option<Owners>) -> Applied {
    let puts = [Put { intent: intent.clone(), expect, owners }];
    store.manifests().put(&puts, &by("tester")).await.unwrap().remove(0)
}

fn owned(field: &str, manager: &str) -> Owners {
    let mut owners = Owners::default();
    owners.claim(field, manager);
    owners
}

pub(crate) async fn what_is_not_as_expected_stays_as_it_is(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let (i, red) = (intent("i"), relabelled(intent("i"), "red"));
    assert_eq!(put(&*store, &i, Expect::Version(1), None).await.change, Change::Conflict, "there is none");
    let created = put(&*store, &i, Expect::Absent, None).await;
    assert_eq!((created.change, created.generation), (Change::Created, 1));
    assert_eq!(put(&*store, &red, Expect::Absent, None).await.change, Change::Conflict);
    let before = record(&*store, "i").await;
    assert_eq!(before.version, created.version);
    for wrong in [created.version - 1, created.version + 1, 0] {
        let refused = put(&*store, &red, Expect::Version(wrong), None).await;
        assert_eq!((refused.change, refused.version), (Change::Conflict, created.version), "{wrong}");
    }
    assert_eq!(record(&*store, "i").await, before);
    assert_eq!(events_of(&*store, EventKind::IntentApplied).await.len(), 1);

    let changed = put(&*store, &red, Expect::Version(created.version), None).await;
    assert_eq!(changed.change, Change::Changed);
    assert!(changed.version > created.version);
    let same = put(&*store, &red, Expect::Version(changed.version), None).await;
    assert_eq!((same.change, same.version), (Change::Unchanged, changed.version), "nothing changed");
}

pub(crate) async fn one_of_many_that_does_not_fit_stops_no_other(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    applied(&*store, &intent("b")).await;
    let puts = ["a", "b", "c"].map(|n| Put { intent: intent(n), expect: Expect::Absent, owners: None });
    let answers = store.manifests().put(&puts, &by("tester")).await.unwrap();
    let changes: Vec<Change> = answers.iter().map(|a| a.change).collect();
    assert_eq!(changes, [Change::Created, Change::Conflict, Change::Created]);
    let counted: u64 = store.census().await.unwrap().intents.iter().map(|row| row.count).sum();
    assert_eq!(counted, 3, "what was refused is not counted twice");
}

pub(crate) async fn owners_are_kept_and_only_changed_by_who_names_them(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let (i, red) = (intent("i"), relabelled(intent("i"), "red"));
    let blue_team = owned("/labels/team", "blue-team");
    put(&*store, &i, Expect::Absent, Some(blue_team.clone())).await;
    assert_eq!(record(&*store, "i").await.owners, blue_team);
    // The same manifest harms nobody.
    assert_eq!(applied(&*store, &i).await.change, Change::Unchanged);
    assert_eq!(applied(&*store, &red).await.change, Change::Conflict, "somebody's field");
    let seen = record(&*store, "i").await;
    assert_eq!((&seen.intent, &seen.owners), (&i, &blue_team));

    let stays = put(&*store, &red, Expect::Version(seen.version), None).await;
    assert_eq!((stays.change, record(&*store, "i").await.owners), (Change::Changed, blue_team));

    let rev = record(&*store, "i").await.rev;
    let green_team = owned("/labels/team", "green-team");
    let handed = put(&*store, &red, Expect::Anything, Some(green_team.clone())).await;
    assert_eq!(handed.change, Change::Unchanged, "the manifest is the same");
    assert!(handed.version > stays.version);
    let after = record(&*store, "i").await;
    assert_eq!((&after.owners, after.rev), (&green_team, rev), "an owner is nothing that a run must know");
    let told = events_of(&*store, EventKind::IntentApplied).await;
    let words: Vec<_> = told.iter().map(|e| e.event_data["change"].as_str().unwrap().to_owned()).collect();
    assert_eq!(words, ["created", "changed", "owners"]);

    put(&*store, &red, Expect::Anything, Some(Owners::default())).await;
    assert!(record(&*store, "i").await.owners.is_empty());
    assert_eq!(applied(&*store, &i).await.change, Change::Changed, "nobody's field again");
}

pub(crate) async fn only_the_expected_version_is_forgotten(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let forget =
        async |expect| store.manifests().forget(&key("i"), expect, &by("operator")).await.unwrap().change;
    assert_eq!(forget(Expect::Version(1)).await, Change::NotFound);
    let version = applied(&*store, &intent("i")).await.version;
    assert_eq!(forget(Expect::Version(version + 1)).await, Change::Conflict);
    assert_eq!(events_of(&*store, EventKind::IntentRetired).await.len(), 0);
    assert_eq!(forget(Expect::Version(version)).await, Change::Deleted);
    assert_eq!(store.intents(&[key("i")]).await.unwrap(), [None]);
    assert_eq!(events_of(&*store, EventKind::IntentRetired).await.len(), 1);
}
