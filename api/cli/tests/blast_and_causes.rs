//! The blast-radius switches and drift by cause, as people see them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use common::{World, fleet};
use trueup_engine::Store as _;
use trueup_model::{Caps, Commit, DriftKind, PlaneKind, Verdict, Write};

#[test]
fn a_tripped_switch_is_shown_and_rearmed() {
    let world = World::empty();
    let none = world.run(&["blast", "ls"]).ends(0);
    assert_eq!((none.out.as_str(), none.err.lines().count()), ("", 1), "{none:?}");
    let caps = Caps { percent: Some(10.0), at_least: 5, window_s: 3600, ..Caps::default() };
    world.block_on(async {
        for n in 0..6 {
            world
                .store
                .reserve("acme", PlaneKind::Intune, &caps, &n.to_string(), fleet::start())
                .await
                .unwrap();
        }
    });
    insta::assert_snapshot!("blast", world.run(&["blast", "ls"]).ends(0).out);
    assert_eq!(world.run(&["blast", "ls", "--output", "name"]).ends(0).out, "acme intune\n");
    assert_eq!(world.run(&["blast", "ls", "--output", "json"]).ends(0).json()["items"][0]["plane"], "intune");

    let other = world.run(&["blast", "rearm", "acme", "jamf"]).ends(4);
    assert!(other.err.contains("no tripped blast-radius switch 'acme/jamf'"), "{other:?}");
    let unknown = world.run(&["blast", "rearm", "acme", "intunes"]).ends(2);
    assert!(unknown.err.contains("unknown plane 'intunes'"), "{unknown:?}");
    let done = world.run(&["blast", "rearm", "acme", "intune"]).ends(0);
    assert_eq!(
        done.out,
        "rearmed: remediation of tenant acme on plane intune is automatic again where policy allows\n"
    );
    assert!(world.run(&["blast", "ls"]).ends(0).out.is_empty());
}

#[test]
fn drift_is_shown_by_cause() {
    let world = World::empty();
    let none = world.run(&["causes"]).ends(0);
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "nothing has drifted\n"));
    let all: Vec<_> = (0..4).map(|n| fleet::intent("acme", &format!("i{n}"))).collect();
    world.block_on(async {
        let store = world.store.as_ref();
        fleet::apply(store, &all).await;
        for (n, intent) in all.iter().enumerate() {
            let mut finding = fleet::finding(&intent.key, DriftKind::ScopeMismatch, Verdict::Review, 60);
            finding.causes = if n < 3 { vec!["group:lab\u{1b}[2J".into()] } else { Vec::new() };
            finding.persistent = n == 0;
            let commit = Commit { writes: vec![Write::Finding(Box::new(finding))], ..Commit::default() };
            fleet::commit(store, &intent.key, &n.to_string(), commit).await;
        }
    });
    let ran = world.run(&["causes"]).ends(0);
    assert!(!ran.out.contains('\u{1b}'), "no escape sequence may reach a terminal: {ran:?}");
    insta::assert_snapshot!("causes", ran.out);
    assert!(world.run(&["causes", "--plane", "jamf"]).ends(0).out.is_empty());
    let json = world.run(&["causes", "--tenant", "acme", "--output", "json"]).ends(0).json();
    assert_eq!((&json["items"][0]["members"], &json["cut"]), (&3.into(), &false.into()));
}
