//! What replay says would have been decided differently, against the same story lived under that policy.
//!
//! # Expected flow
//! A fleet on Intune, Jamf Pro and Configuration Manager lives a story under the shipped policy: all rings, criticalities
//! and modes, privileged applications, drifts of all four kinds, in two waves. Its events are replayed under another
//! policy. Then the same story is told again under that policy, and what it decided is compared with what was foretold.
//!
//! # Guarantees
//! - First decisions (per intent and kind): replay names exactly those that come out differently, and as what.
//! - Later ones: wherever the case is the same in both stories, replay foretold its decision. Where it is not (an attempt
//!   was made in one story and not in the other), nothing is promised.
//! - What the first policy ignored left no decision: replay says nothing of it.
//! - The record is kept as a fixture of the CLI's test (`api/cli/tests/policy_replay.rs`), which must count the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "replay/policies.rs"]
mod policies;
#[path = "replay/story.rs"]
mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};
use trueup_model::{DriftKind, Event, IntentKey, Severity, Time, Verdict};
use trueup_workflows::Policy;
use trueup_workflows::policy::outcome::Outcome;
use trueup_workflows::policy::replay::{CASE, replay};

use policies::{Other, shipped, table};
use story::{decisions, lived};

/// An intent and what drifted.
type What = (IntentKey, DriftKind);
/// Verdict (none: ignored), when, how severe.
type Ended = (Option<Verdict>, Option<Time>, Option<Severity>);

fn what(event: &Event) -> What {
    let key = IntentKey::new(event.tenant.clone(), event.intent.clone());
    (key, serde_json::from_value(event.event_data["drift_type"].clone()).unwrap())
}

/// As the event of the decision has it.
fn ended(event: &Event) -> Ended {
    let of = |pointer: &str| event.event_data.pointer(pointer).cloned().unwrap_or_default();
    let verdict = serde_json::from_value(of("/decision/verdict")).unwrap();
    let not_before = serde_json::from_value(of("/decision/not_before")).unwrap();
    (Some(verdict), not_before, serde_json::from_value(of("/severity")).unwrap())
}

fn foretold(outcome: &Outcome) -> Ended {
    (outcome.verdict, outcome.not_before, outcome.severity)
}

fn words(ended: &Ended) -> String {
    let (verdict, not_before, severity) = ended;
    let verdict = verdict.map_or("ignored", Verdict::as_str);
    let severity = severity.map(|s| format!(" {s:?}")).unwrap_or_default();
    format!(
        "{verdict}{severity}{}",
        not_before.map(|t| format!(" from {}", t.format("%H:%M"))).unwrap_or_default()
    )
}

/// The first of each.
fn first(events: &[Event]) -> BTreeMap<What, Event> {
    let mut all = BTreeMap::new();
    for event in events {
        all.entry(what(event)).or_insert_with(|| event.clone());
    }
    all
}

/// What replay says of the first decisions.
fn said(events: &BTreeMap<What, Event>, policy: &Policy) -> BTreeMap<What, (Ended, Ended)> {
    let replayed = replay(events.values(), policy);
    assert_eq!((replayed.unreadable, replayed.cases()), (0, events.len()));
    let changed = replayed.changed.iter();
    changed.map(|c| ((c.intent.clone(), c.kind), (foretold(&c.was), foretold(&c.would_be)))).collect()
}

#[tokio::test]
async fn replay_says_what_living_under_the_other_policy_brings() {
    let before = decisions(&lived(shipped()).await);
    let firsts = first(&before);
    story::assert_diverse(&firsts);
    let mut counts = Vec::new();
    for Other { name, text } in table() {
        let policy = Policy::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let after = decisions(&lived(policy.clone()).await);

        // By living: at the same moment, or it was ignored then.
        let at: BTreeMap<(What, Time), &Event> = after.iter().map(|e| ((what(e), e.created_at), e)).collect();
        let really: BTreeMap<What, (Ended, Ended)> = (firsts.iter())
            .map(|(what, event)| {
                let now = at.get(&(what.clone(), event.created_at)).map_or((None, None, None), |e| ended(e));
                (what.clone(), (ended(event), now))
            })
            .filter(|(_, (was, is))| was != is)
            .collect();
        assert!(first(&after).keys().all(|what| firsts.contains_key(what)), "{name}: nothing else drifts");

        let said = said(&firsts, &policy);
        println!(
            "{name}: {} of {} first decisions change; lived: {}",
            said.len(),
            firsts.len(),
            really.len()
        );
        for (from_to, n) in totals(&said) {
            println!("  {n:>4}  {from_to}");
        }
        assert_eq!(said, really, "{name}");
        assert!(!said.is_empty(), "{name} changes something, or it tests nothing");
        let later = assert_later(name, &before, &after, &policy);
        println!(
            "  and {later} of {} decisions are about the same case in both, and come out as foretold",
            before.len()
        );
        counts.push(json!({"name": name, "policy": text, "changed": really.len(), "cases": firsts.len()}));
    }
    assert_recorded(firsts.into_values().collect(), &counts);
}

fn totals(said: &BTreeMap<What, (Ended, Ended)>) -> BTreeMap<String, usize> {
    let mut totals = BTreeMap::new();
    for (was, would_be) in said.values() {
        *totals.entry(format!("{} → {}", words(was), words(would_be))).or_default() += 1;
    }
    totals
}

/// Of all decisions, those about the same case in both stories. The ladder's waits are written over `not_before`.
fn assert_later(name: &str, before: &[Event], after: &[Event], policy: &Policy) -> usize {
    let mut same = 0;
    for event in before {
        let about = |e: &&Event| what(e) == what(event) && e.event_data[CASE] == event.event_data[CASE];
        let Some(lived) = after.iter().find(about) else { continue };
        let changed = replay([event].into_iter(), policy).changed;
        let (verdict, _, severity) = changed.first().map_or_else(|| ended(event), |c| foretold(&c.would_be));
        let is = ended(lived);
        assert_eq!((verdict, severity), (is.0, is.2), "{name}: {event:#?}");
        same += 1;
    }
    assert!(same > 0 || policy == &Policy::default(), "{name}: the stories have no case in common");
    same
}

/// Replay knows what was decided. What was ignored was not, so nothing is said of it, and that is what differs.
#[tokio::test]
async fn of_what_was_ignored_replay_says_nothing() {
    let ignoring = table().into_iter().find(|o| o.name == "ignore").unwrap();
    let before = first(&decisions(&lived(Policy::parse(&ignoring.text).unwrap()).await));
    let after = first(&decisions(&lived(shipped()).await));
    let unknown: BTreeSet<&What> = after.keys().filter(|what| !before.contains_key(what)).collect();
    assert!(!unknown.is_empty());
    assert!(unknown.iter().all(|(_, kind)| *kind == DriftKind::ComplianceDrift), "{unknown:#?}");
    for (what, (_, would_be)) in said(&before, &shipped()) {
        assert_eq!(ended(&after[&what]), would_be, "{what:?}");
    }
    println!("{} decisions known, {} not", before.len(), unknown.len());
}

/// The record as the CLI's test reads it: `archive/p0/…ndjson` and `counts.json`.
///
/// # Panics
/// If it is not what this story gives; `TRUEUP_RECORD=1` writes it anew.
fn assert_recorded(mut decisions: Vec<Event>, counts: &[Value]) {
    decisions.sort_by_key(|e| e.seq);
    // Whether serde_json keeps the order of keys depends on what else is built.
    decisions.iter_mut().for_each(|e| e.event_data.sort_all_objects());
    let mut counts = counts.to_vec();
    counts.iter_mut().for_each(Value::sort_all_objects);
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../api/cli/tests/fixtures/replay");
    let lines: String = decisions.iter().map(|e| serde_json::to_string(e).unwrap() + "\n").collect();
    let counts = serde_json::to_string_pretty(&counts).unwrap() + "\n";
    let files =
        [(dir.join("archive/p0/00000000000000000001.ndjson"), lines), (dir.join("counts.json"), counts)];
    for (path, text) in files {
        if std::env::var_os("TRUEUP_RECORD").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "{} is not what the story gives; TRUEUP_RECORD=1 writes it anew",
            path.display()
        );
    }
}
