use proptest::prelude::*;
use serde_json::json;
use trueup_model::IntentState;

use super::*;

fn manifest_of(more: &Value) -> Value {
    let mut tree = json!({
        "id": "firefox", "tenant": "acme", "plane": "intune", "criticality": "high", "ring": "lab",
        "target": {"app_id": "0177548a-548a-0177-8a54-77018a547701", "app_name": "Firefox"},
        "desired": {"version": "126.0"}, "labels": {"team": "browsers"},
    });
    merge(&mut tree, more);
    tree
}

fn record(outcome: Outcome) -> IntentRecord {
    IntentRecord {
        intent: outcome.intent,
        generation: 1,
        state: IntentState::default(),
        rev: 0,
        version: 1,
        owners: outcome.owners,
    }
}

fn by(name: &str) -> Manager<'_> {
    Manager { name, force: false }
}

/// What `git` applied first: all of the manifest.
fn of_git() -> IntentRecord {
    record(apply(None, &manifest_of(&json!({})), by("git")).unwrap())
}

fn owners_of(record: &IntentRecord, field: &str) -> Vec<String> {
    record.owners.of(field).map(str::to_owned).collect()
}

fn part(more: Value) -> Value {
    let mut tree = json!({"id": "firefox", "tenant": "acme"});
    merge(&mut tree, &more);
    tree
}

#[test]
fn who_applies_first_owns_what_they_named() {
    let live = of_git();
    for field in ["/plane", "/target/app_id", "/desired/version", "/labels/team"] {
        assert_eq!(owners_of(&live, field), ["git"], "{field}");
    }
    for nobodys in ["/id", "/tenant", "/mode", "/status", "/labels", "/desired"] {
        assert!(owners_of(&live, nobodys).is_empty(), "{nobodys}");
    }
}

#[test]
fn the_same_value_is_shared_and_another_one_is_a_conflict() {
    let live = of_git();
    let shared =
        record(apply(Some(&live), &part(json!({"desired": {"version": "126.0"}})), by("ci")).unwrap());
    assert_eq!(owners_of(&shared, "/desired/version"), ["ci", "git"]);
    assert_eq!(shared.intent, live.intent);

    let newer = part(json!({"desired": {"version": "127.0"}}));
    let whole = manifest_of(&json!({"desired": {"version": "127.0"}}));
    for (who, tree, owner) in [("ci", &newer, "git"), ("git", &whole, "ci"), ("other", &newer, "ci, git")] {
        let Err(Refusal::Conflicts(flaws)) = apply(Some(&shared), tree, by(who)) else { panic!("{who}") };
        assert_eq!(flaws, [Flaw::new("/desired/version", format!("owned by {owner} with \"126.0\""))]);
    }
    let forced = apply(Some(&shared), &newer, Manager { name: "ci", force: true }).unwrap();
    assert_eq!(forced.intent.desired.version.as_deref(), Some("127.0"));
    assert_eq!(owners_of(&record(forced), "/desired/version"), ["ci"]);
}

#[test]
fn what_is_no_longer_named_goes_unless_somebody_else_names_it() {
    let live = of_git();
    let labelled = record(
        apply(Some(&live), &part(json!({"labels": {"env": "prod", "team": "browsers"}})), by("ci")).unwrap(),
    );
    assert_eq!(labelled.intent.labels.len(), 2);
    let less = record(apply(Some(&labelled), &part(json!({"labels": {"env": "prod"}})), by("ci")).unwrap());
    assert_eq!((less.intent.labels.len(), owners_of(&less, "/labels/team")), (2, vec!["git".to_owned()]));
    let none = record(apply(Some(&less), &part(json!({})), by("ci")).unwrap());
    assert_eq!(none.intent.labels, BTreeMap::from([("team".to_owned(), "browsers".to_owned())]));
    assert_eq!(none.owners, live.owners);
    // What a manifest must have cannot be given up.
    let Err(Refusal::Invalid(flaw)) = apply(Some(&live), &part(json!({})), by("git")) else { panic!() };
    assert!(flaw.detail.contains("missing field"), "{flaw:?}");
}

#[test]
fn who_does_not_say_who_they_are_owns_nothing() {
    let live = of_git();
    let mut intent = live.intent.clone();
    intent.labels.insert("team".into(), "others".into());
    let outcome = replace(Some(&live), intent, None).unwrap();
    let change = FieldChange {
        field: "/labels/team".into(),
        before: json!("browsers"),
        after: json!("others"),
        owners: vec!["git".into()],
    };
    assert_eq!(outcome.diff, [change]);
    let live = record(outcome);
    assert!(owners_of(&live, "/labels/team").is_empty());
    assert_eq!(owners_of(&live, "/desired/version"), ["git"]);
}

#[test]
fn a_patch_changes_what_it_names_alone() {
    let live = of_git();
    let table = [
        (json!({"ring": "canary"}), None, Ok("/ring")),
        (json!({"ring": "lab"}), Some(by("ci")), Ok("")),
        (json!({"ring": "canary"}), Some(by("git")), Ok("/ring")),
        (json!({"ring": "canary"}), Some(by("ci")), Err("/ring")),
        (json!({"labels": null}), Some(by("ci")), Err("/labels/team")),
        (json!({"labels": null}), Some(by("git")), Ok("/labels/team")),
        (json!({"labels": {"a/b": "c"}}), Some(by("ci")), Ok("/labels/a~1b")),
        (json!({"desired": null}), None, Err("")),
    ];
    for (tree, who, expected) in table {
        let changed = |fields: Vec<String>| fields.join(" ");
        let found = match patch(&live, &tree, who) {
            Ok(outcome) => Ok(changed(outcome.diff.into_iter().map(|c| c.field).collect())),
            Err(Refusal::Conflicts(flaws)) => Err(changed(flaws.into_iter().map(|f| f.pointer).collect())),
            Err(Refusal::Invalid(flaw)) => Err(flaw.pointer),
        };
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{tree} by {who:?}");
    }
}

#[test]
fn owners_are_limited() {
    let mut live = of_git();
    for n in 1..MAX_MANAGERS {
        let name = format!("m{n}");
        live = record(apply(Some(&live), &part(json!({"ring": "lab"})), by(&name)).unwrap());
    }
    let one_more = apply(Some(&live), &part(json!({"ring": "lab"})), by("one-more"));
    assert!(matches!(one_more, Err(Refusal::Invalid(flaw)) if flaw.pointer == "?field_manager"));
}

/// What somebody might apply: some labels, maybe the ring.
fn wish() -> impl Strategy<Value = (String, bool, Value)> {
    let labels = prop::collection::btree_map("[a-c]", "[xy]", 0..3);
    let ring = prop::option::of(prop::sample::select(vec!["lab", "canary"]));
    ("[pqr]", any::<bool>(), labels, ring).prop_map(|(who, force, labels, ring)| {
        let mut tree = part(json!({"labels": labels}));
        if let Some(ring) = ring {
            tree["ring"] = json!(ring);
        }
        (who, force, tree)
    })
}

proptest! {
    /// Whoever applies: afterwards the manifest says what they said, they own it, everything owned is there, and applying
    /// the same again changes nothing.
    #[test]
    fn what_was_applied_is_so_and_stays_so(wishes in prop::collection::vec(wish(), 1..12)) {
        let mut live = of_git();
        for (who, force, tree) in wishes {
            let writer = Manager { name: &who, force };
            let before = live.clone();
            match apply(Some(&live), &tree, writer) {
                Ok(outcome) => live = record(outcome),
                Err(Refusal::Conflicts(flaws)) => {
                    prop_assert!(!force && !flaws.is_empty());
                    for flaw in flaws {
                        prop_assert!(before.owners.of(&flaw.pointer).any(|m| m != who));
                    }
                    continue;
                }
                // Only who alone owns the ring could give it up, and a manifest must have one.
                Err(Refusal::Invalid(flaw)) => {
                    prop_assert!(flaw.detail.contains("missing field `ring`"), "{:?}", flaw);
                    prop_assert_eq!(owners_of(&before, "/ring"), [who]);
                    continue;
                }
            }
            let there = leaves(&tree_of(&live));
            for (field, value) in leaves(&tree) {
                prop_assert_eq!(there.get(&field), Some(&value));
                prop_assert!(live.owners.of(&field).any(|m| m == who));
            }
            for field in live.owners.fields() {
                prop_assert!(there.contains_key(field), "{} is owned and absent", field);
            }
            // Nothing of others is touched without force.
            let was = leaves(&tree_of(&before));
            for field in before.owners.fields().filter(|f| !force && before.owners.of(f).any(|m| m != who)) {
                prop_assert_eq!(was.get(field), there.get(field));
            }
            let again = apply(Some(&live), &tree, writer).unwrap();
            prop_assert!(again.diff.is_empty());
            prop_assert_eq!(&again.owners, &live.owners);
        }
    }

    #[test]
    fn a_merge_patch_of_the_difference_gives_the_other(
        a in prop::collection::btree_map("[a-c]", "[xy]", 0..3),
        b in prop::collection::btree_map("[a-c]", "[xy]", 0..3),
    ) {
        let mut tree = json!(a);
        let mut difference = json!(b);
        for gone in a.keys().filter(|k| !b.contains_key(*k)) {
            difference[gone] = Value::Null;
        }
        merge(&mut tree, &difference);
        prop_assert_eq!(tree, json!(b));
    }
}
