use serde_json::json;
use trueup_engine::budgets::ConnectionView;
use trueup_engine::{Preflight, QueueDepth};
use trueup_model::{Duration, Event, Time};

use super::fleet::{Report, Worker, queues, versions, workers};
use super::*;

fn now() -> Time {
    Time::UNIX_EPOCH + Duration::days(10)
}

fn worker(late: bool, version: &str, clock: Option<Time>) -> Worker {
    let report = Some(Report { version: version.into(), host: "h".into(), clock });
    Worker { incarnation: "w".into(), last_beat_ms: if late { 9_000 } else { 500 }, late, report }
}

/// A connection, with what is not well about it.
fn connection(more: serde_json::Value) -> ConnectionView {
    let mut view = json!({
        "connection": "c", "tenant": "t", "plane": "intune", "under_way": 0, "waiting": [0, 0, 9],
        "budgets": [{"name": "devices", "calls": 2000, "window_s": 20}],
        "buckets": [{"name": "devices", "rate": 2000.0, "spent": 9.0, "left": 0.9}],
        "breaker": {"state": "closed"}, "checks": 1.0, "checks_per_turn": 1.0,
    });
    for (field, value) in more.as_object().unwrap() {
        view[field] = value.clone();
    }
    serde_json::from_value(view).unwrap()
}

fn event(intent: &str, minute: i64, because: serde_json::Value) -> Event {
    serde_json::from_value(json!({
        "event_id": "evt_1", "seq": 1, "schema": 1, "correlation_id": "c", "event_type": "CONDITION_CHANGED",
        "tenant": "acme", "intent": intent, "actor": "system", "created_at": now() + Duration::minutes(minute),
        "event_data": {"plane": "intune", "because": because},
    }))
    .unwrap()
}

fn store(store: Preflight) -> store::Health {
    store::Health { version: env!("CARGO_PKG_VERSION").into(), partitions: 4, store, missing: Vec::new() }
}

#[test]
fn each_trouble_is_found_and_advised() {
    let depth = |ready, oldest_ms, dead, paused| QueueDepth {
        queue: "emit".into(),
        ready,
        oldest_ms,
        dead,
        paused,
        ..QueueDepth::default()
    };
    let health = |refused: &[&str], warnings: &[&str], events, archive_behind| {
        let own = |all: &[&str]| all.iter().map(|t| (*t).to_owned()).collect();
        let (refused, warnings) = (own(refused), own(warnings));
        store(Preflight { refused, warnings, events, archive_behind, ..Preflight::default() })
    };
    let seconds = |n| now() + Duration::seconds(n);
    let alive = |version, clock| [worker(false, version, Some(clock))];
    let at = |n: i64| serde_json::to_value(seconds(n)).unwrap();
    let one = |view: serde_json::Value| planes::connections(&[connection(view)], now());
    let summary = json!({"intents": {"by_plane":
        {"intune": {"unreachable": 2}, "ansible": {"in_sync": 1, "unreachable": 1}}}});
    let key = |state: &str, days: i64| {
        let ends = now() + Duration::days(days);
        vec![json!({"id": "k1", "label": "ci", "state": state, "expires_at": ends})]
    };
    use State::{Bad, Ok, Warning};
    let table = [
        ("quiet queue", queues(&[depth(0, None, 0, false)]), vec![Ok]),
        ("busy queue", queues(&[depth(9, Some(59_000), 0, false)]), vec![Ok]),
        ("stuck queue", queues(&[depth(9, Some(61_000), 0, false)]), vec![Bad]),
        ("paused, dead", queues(&[depth(9, Some(61_000), 3, true)]), vec![Warning, Bad]),
        ("no worker", vec![workers(&[])], vec![Bad]),
        ("all late", vec![workers(&[worker(true, "1", None)])], vec![Bad]),
        ("one late", vec![workers(&[worker(true, "1", None), worker(false, "1", None)])], vec![Warning]),
        ("alive", vec![workers(&[worker(false, "1", None)])], vec![Ok]),
        ("old worker", versions(&alive("0.0.9", now()), "0.1.0").into_iter().collect(), vec![Warning]),
        ("same version", versions(&alive("0.1.0", now()), "0.1.0").into_iter().collect(), vec![]),
        ("clock", clocks::api(Some(now()), seconds(2)).into_iter().collect(), vec![Ok]),
        ("clock off", clocks::api(Some(now()), seconds(-9)).into_iter().collect(), vec![Warning]),
        ("Redis' clock", clocks::redis(Some(-900)).into_iter().collect(), vec![Ok]),
        ("Redis' clock off", clocks::redis(Some(2_000)).into_iter().collect(), vec![Warning]),
        ("Redis' clock wrong", clocks::redis(Some(-90_000)).into_iter().collect(), vec![Bad]),
        ("no clock", clocks::redis(None).into_iter().collect(), vec![]),
        ("worker's clock", clocks::workers(&alive("1", seconds(-1)), now(), Some(now())), vec![Ok]),
        ("worker's clock off", clocks::workers(&alive("1", seconds(30)), now(), Some(now())), vec![Warning]),
        ("worker's clock wrong", clocks::workers(&alive("1", seconds(-300)), now(), None), vec![Bad]),
        ("clock of a demo", clocks::workers(&alive("1", seconds(300)), now(), Some(seconds(-9_000))), vec![]),
        ("safe", store::redis(&health(&[], &[], None, None)), vec![Ok]),
        (
            "unsafe",
            store::redis(&health(&["evicts; mend"], &["no AOF; mend"], None, None)),
            vec![Bad, Warning],
        ),
        ("no history", store::archive(&health(&[], &[], None, None)).into_iter().collect(), vec![]),
        ("no archive", store::archive(&health(&[], &[], Some(9), None)).into_iter().collect(), vec![Ok]),
        (
            "needs one",
            store::archive(&health(&[], &[], Some(2_000_000), None)).into_iter().collect(),
            vec![Warning],
        ),
        ("archived", store::archive(&health(&[], &[], Some(9), Some(0))).into_iter().collect(), vec![Ok]),
        (
            "lags",
            store::archive(&health(&[], &[], Some(99_999), Some(90_000))).into_iter().collect(),
            vec![Bad],
        ),
        ("plane answers", one(json!({})), vec![Ok]),
        (
            "plane down",
            one(json!({"breaker": {"state": "open", "until": at(30)}, "failure": "502"})),
            vec![Bad],
        ),
        ("plane tried", one(json!({"breaker": {"state": "half_open"}})), vec![Warning]),
        ("short wait", one(json!({"not_before": at(30)})), vec![Ok]),
        ("long wait", one(json!({"not_before": at(3_600)})), vec![Warning]),
        ("failed once", one(json!({"failure": "502"})), vec![Warning]),
        (
            "budget used up",
            one(
                json!({"waiting": [2, 0, 0], "buckets": [{"name": "d", "rate": 1.0, "spent": 9.0, "left": 0.0}]}),
            ),
            vec![Warning],
        ),
        ("unreachable", planes::reached(&summary), vec![Warning, Bad]),
        ("no refusals", credentials::refused(&[event("a", 0, json!(["timeout"]))]), vec![Ok]),
        ("refused", credentials::refused(&[event("a", 0, json!(["GET /x answered 401: no"]))]), vec![Bad]),
        (
            "refused, then fine",
            credentials::refused(&[
                event("a", 0, json!("GET /x answered 403: no")),
                event("a", 5, json!([])),
            ]),
            vec![Ok],
        ),
        ("key", credentials::ending(&key("active", 90), now()), vec![]),
        ("key ends", credentials::ending(&key("active", 3), now()), vec![Warning]),
        ("revoked key", credentials::ending(&key("revoked", 3), now()), vec![]),
    ];
    for (what, checks, expected) in table {
        let states: Vec<State> = checks.iter().map(|c| c.state).collect();
        assert_eq!(states, expected, "{what}: {checks:?}");
        for check in checks {
            assert_eq!(check.state == Ok, check.advice.is_none(), "{what}: {check:?}");
        }
    }
}

#[test]
fn a_health_without_a_store_is_read_and_is_bad() {
    let health: store::Health = serde_json::from_value(json!({
        "version": "1", "partitions": 4, "store": null, "missing": ["store: no answer", "queues: no answer"],
    }))
    .unwrap();
    let checks = store::redis(&health);
    assert_eq!((checks.len(), checks[0].state, checks[0].found.as_str()), (1, State::Bad, "no answer"));
}
