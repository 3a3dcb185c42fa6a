//! The blast-radius switch: how much is let through, what trips it, and who is told.

use std::time::Duration;

use trueup_engine::store::Store;
use trueup_model::{Caps, EventKind, PlaneKind, Reserved, Time, Trip};

use super::Fresh;
use super::given::*;

const ON: PlaneKind = PlaneKind::Intune;

fn caps(actions: u32) -> Caps {
    Caps { actions: Some(actions), window_s: 3600, ..Caps::default() }
}
async fn ask(store: &dyn Store, caps: &Caps, member: &str, now: Time) -> Reserved {
    store.reserve("acme", ON, caps, member, now).await.unwrap()
}
fn trip(at: Time, cap: &str) -> Trip {
    Trip { tenant: "acme".into(), plane: ON, at, cap: cap.into() }
}
fn held_by(trip: &Trip, first: bool) -> Reserved {
    Reserved::Held { trip: trip.clone(), first }
}

pub(crate) async fn beyond_the_cap_everything_is_held_until_somebody_rearms(fresh: &dyn Fresh) {
    let store = fresh.store(2).await;
    let c = caps(2);
    assert!(store.trips().await.unwrap().is_empty());
    for (n, member) in ["a", "b"].into_iter().enumerate() {
        assert_eq!(ask(&*store, &c, member, t(n as i64)).await, Reserved::Granted);
    }
    let tripped = trip(t(2), "2 attempts in 60 min");
    assert_eq!(ask(&*store, &c, "c", t(2)).await, held_by(&tripped, true));
    assert_eq!(ask(&*store, &c, "d", t(3)).await, held_by(&tripped, false));
    assert_eq!(store.trips().await.unwrap(), std::slice::from_ref(&tripped));
    // However long, and whatever the policy says meanwhile.
    let later = t(30 * 24 * 3600);
    for c in [&c, &caps(1000), &Caps::default()] {
        assert_eq!(ask(&*store, c, "e", later).await, held_by(&tripped, false));
    }

    assert!(store.rearm("acme", ON, &by("operator")).await.unwrap());
    assert!(store.trips().await.unwrap().is_empty());
    for member in ["c", "d"] {
        assert_eq!(ask(&*store, &c, member, t(4)).await, Reserved::Granted, "as if nobody had asked");
    }
    assert!(matches!(ask(&*store, &c, "e", t(4)).await, Reserved::Held { first: true, .. }));
}

pub(crate) async fn e8_the_same_member_again_gets_the_same_answer(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let c = caps(2);
    for _ in 0..5 {
        assert_eq!(ask(&*store, &c, "a", t(0)).await, Reserved::Granted, "a place is taken once");
    }
    assert_eq!(ask(&*store, &c, "b", t(1)).await, Reserved::Granted);
    let tripped = trip(t(2), "2 attempts in 60 min");
    for at in [2, 2, 50, 7200] {
        assert_eq!(ask(&*store, &c, "c", t(at)).await, held_by(&tripped, true), "who tripped it tells");
        assert_eq!(ask(&*store, &c, "d", t(at)).await, held_by(&tripped, false), "nobody else does");
        assert_eq!(ask(&*store, &c, "a", t(at)).await, Reserved::Granted, "granted stays granted");
    }
}

pub(crate) async fn places_become_free_when_the_window_has_passed(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let c = caps(2);
    // Two an hour are fine for as long as you like.
    for n in 0..20 {
        let at = t(n * 1801);
        assert_eq!(ask(&*store, &c, &n.to_string(), at).await, Reserved::Granted, "{n}");
    }
    assert!(matches!(ask(&*store, &c, "one more", t(19 * 1801 + 60)).await, Reserved::Held { .. }));
}

pub(crate) async fn a_minute_has_a_cap_of_its_own(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let c = Caps { per_minute: Some(2), ..caps(100) };
    for n in 0..10 {
        assert_eq!(ask(&*store, &c, &n.to_string(), t(n * 31)).await, Reserved::Granted, "{n}");
    }
    let tripped = trip(t(280), "2 attempts in a minute");
    assert_eq!(ask(&*store, &c, "third", t(280)).await, held_by(&tripped, true));
}

pub(crate) async fn a_share_is_of_the_intents_that_are_reconciled(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    let mut all: Vec<_> = (0..40).map(|n| intent(&format!("i{n}"))).collect();
    all[39].status = trueup_model::Status::Paused;
    store.apply(&all, &by("tester")).await.unwrap();
    store.delete(&[key("i38")], &by("tester")).await.unwrap();
    let c = Caps { percent: Some(10.0), at_least: 1, window_s: 3600, ..Caps::default() };
    for n in 0..3 {
        assert_eq!(ask(&*store, &c, &n.to_string(), t(0)).await, Reserved::Granted);
    }
    let tripped = trip(t(0), "10 % of 38 intents (3) in 60 min");
    assert_eq!(ask(&*store, &c, "3", t(0)).await, held_by(&tripped, true));
    // None of them is on another plane, or of another tenant: what is allowed at least counts there.
    for (tenant, plane) in [("acme", PlaneKind::Jamf), ("other", ON)] {
        assert_eq!(store.reserve(tenant, plane, &c, "a", t(0)).await.unwrap(), Reserved::Granted);
        let held = store.reserve(tenant, plane, &c, "b", t(0)).await.unwrap();
        let Reserved::Held { trip, first: true } = held else { panic!("{held:?}") };
        assert_eq!(trip.cap, "10 % of 0 intents, at least 1, in 60 min");
    }
}

pub(crate) async fn each_tenant_and_plane_has_a_switch_of_its_own(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    let c = caps(0);
    for (tenant, plane) in [("b.x", ON), ("b", PlaneKind::Ansible), ("b", ON), ("a", PlaneKind::Jamf)] {
        assert_eq!(
            store.reserve(tenant, plane, &caps(1), "m", t(0)).await.unwrap(),
            Reserved::Granted,
            "{tenant} {plane}"
        );
        assert!(matches!(
            store.reserve(tenant, plane, &c, "n", t(0)).await.unwrap(),
            Reserved::Held { first: true, .. }
        ));
    }
    let listed = store.trips().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|t| (t.tenant.as_str(), t.plane)).collect();
    assert_eq!(listed, [("a", PlaneKind::Jamf), ("b", ON), ("b", PlaneKind::Ansible), ("b.x", ON)], "sorted");
    assert!(store.rearm("b", ON, &by("operator")).await.unwrap());
    assert_eq!(store.trips().await.unwrap().len(), 3, "the others stay");
    assert!(matches!(ask(&*store, &c, "x", t(0)).await, Reserved::Held { .. }));
}

pub(crate) async fn without_caps_nothing_is_held(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    for n in 0..300 {
        assert_eq!(ask(&*store, &Caps::default(), &n.to_string(), t(0)).await, Reserved::Granted);
    }
    assert!(store.trips().await.unwrap().is_empty());
}

pub(crate) async fn skewed_clocks_let_nothing_more_through(fresh: &dyn Fresh) {
    let store = fresh.store(1).await;
    let c = Caps { per_minute: Some(4), ..caps(6) };
    // One caller is five minutes ahead of the other; they take turns.
    for n in 0..4 {
        let now = if n % 2 == 0 { t(300) } else { t(0) };
        assert_eq!(ask(&*store, &c, &n.to_string(), now).await, Reserved::Granted, "{n}");
    }
    for (member, now) in [("ahead", t(300)), ("behind", t(0))] {
        assert!(matches!(ask(&*store, &c, member, now).await, Reserved::Held { .. }), "{member}");
    }
    store.rearm("acme", ON, &by("operator")).await.unwrap();
    // A late one does not forget what younger ones have taken.
    let hour = caps(2);
    for (member, now) in [("a", t(7200)), ("b", t(7200))] {
        assert_eq!(ask(&*store, &hour, member, now).await, Reserved::Granted);
    }
    assert!(matches!(ask(&*store, &hour, "c", t(0)).await, Reserved::Held { first: true, .. }));
    assert_eq!(ask(&*store, &hour, "a", t(0)).await, Reserved::Granted);
}

pub(crate) async fn many_who_ask_at_once_get_no_more_than_there_is(fresh: &dyn Fresh) {
    let store = fresh.store(4).await;
    let c = caps(25);
    let asked = (0..100).map(|n| {
        let (store, c) = (store.clone(), c.clone());
        tokio::spawn(async move { ask(&*store, &c, &n.to_string(), t(0)).await })
    });
    let answers = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(asked)).await;
    let answers: Vec<Reserved> = answers.unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|a| **a == Reserved::Granted).count(), 25);
    let first = |a: &&Reserved| matches!(a, Reserved::Held { first: true, .. });
    assert_eq!(answers.iter().filter(first).count(), 1, "one tells people");
}

pub(crate) async fn rearming_leaves_an_event(fresh: &dyn Fresh) {
    let store = fresh.store(3).await;
    assert!(!store.rearm("acme", ON, &by("operator")).await.unwrap(), "it is not tripped");
    assert_eq!(ask(&*store, &caps(1), "a", t(0)).await, Reserved::Granted);
    assert!(!store.rearm("acme", ON, &by("operator")).await.unwrap(), "it is not tripped");
    assert!(
        matches!(ask(&*store, &caps(1), "b", t(7)).await, Reserved::Held { first: true, .. }),
        "no place was freed"
    );
    let operator = by("operator");
    assert!(store.rearm("acme", ON, &operator).await.unwrap());
    assert!(!store.rearm("acme", ON, &operator).await.unwrap(), "once");

    let events = store.events(&Default::default(), &Default::default(), 10).await.unwrap();
    assert_eq!(events.len(), 1);
    let (p, event) = &events[0];
    assert_eq!((*p, event.event_type), (P, EventKind::BlastRadiusRearmed));
    assert_eq!((event.tenant.as_str(), event.intent.as_str()), ("acme", ""));
    assert_eq!((&event.actor, &event.correlation_id), (&operator.actor, &operator.correlation_id));
    assert_eq!(event.created_at, operator.now);
    assert_eq!(event.event_data["plane"], "intune");
    assert_eq!(event.event_data["cap"], "1 attempt in 60 min");
    assert_eq!(event.event_data["tripped_at"], serde_json::json!(t(7)));
}
