use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::*;
use crate::views::read;

fn picture(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| render(frame, state)).unwrap();
    terminal.backend().to_string()
}

fn history() -> Vec<Passed> {
    (0..31).map(|n| Passed { done: n * n, enqueued: n, ..Passed::default() }).collect()
}

fn busy() -> State {
    let queue = |name: &str, ready: u32, dead: u32, paused: bool| {
        json!({"queue": name, "ready": ready, "scheduled": 2, "in_flight": 3, "dead": dead, "oldest_ms": 65_000,
            "paused": paused, "step": "emit", "history": history(),
            "per_second": {"enqueued": 12.5, "done": 11.0, "deferred": 0.0, "retried": 0.5, "dead": 0.1}})
    };
    let worker = |name: &str, state: &str| {
        json!({"incarnation": name, "last_beat_ms": 400, "late": state == "late", "state": state, "leases": 3,
            "report": {"version": "0.1.0", "host": "host-1", "pid": 7, "queues": {"emit": 3}, "draining": false}})
    };
    let death = json!({"event_id": "evt_1", "seq": 1, "schema": 1, "event_type": "JOB_DEAD", "tenant": "",
        "correlation_id": "c", "actor": "a", "created_at": "2026-01-06T07:58:00Z",
        "event_data": {"job": "job_8h2k4m0qz1x3c5v7b9n2", "queue": "emit", "reason": "timeout \u{1b}[2Jafter 30 s"}});
    let mut state = State::new("http://127.0.0.1:7171");
    state.seen(
        read(&[queue("sweep", 0, 0, false), queue("query.intune", 120_000, 7, true)]).unwrap(),
        read(&[worker("w1-aaaa", "working"), worker("w2-bbbb", "draining")]).unwrap(),
        read(&[death]).unwrap(),
        "2026-01-06T08:00:00Z".parse().unwrap(),
    );
    state.at = 1;
    state
}

#[test]
fn an_overview() {
    insta::assert_snapshot!(picture(&busy(), 140, 20));
}

#[test]
fn the_details_of_a_queue() {
    let mut state = busy();
    let job = json!({"id": "job_8h2k4m0qz1x3c5v7b9n2", "queue": "query.intune", "partition": 0, "state": "scheduled",
        "attempts": 2, "rescued": 0, "reason": "asked to wait by the plane", "at": "2026-01-06T08:05:00Z", "age_ms": 61_000,
        "traceparent": null, "payload": {}, "payload_bytes": 2, "held_by": null});
    let shown = json!({"queue": "query.intune", "depth": state.queues[1], "items": [job],
        "by_tenant": {"sampled": 100, "of": 120_012, "jobs": {"acme": 70, "zeta": 30}}});
    state.details = Some(serde_json::from_value(shown).unwrap());
    insta::assert_snapshot!(picture(&state, 120, 16));
}

#[test]
fn an_api_that_does_not_answer() {
    let mut state = busy();
    state.trouble = Some("cannot reach the API: connection refused".into());
    assert!(picture(&state, 120, 20).contains("no answer: cannot reach the API"));
}

#[test]
fn any_size_of_terminal_is_fine() {
    for (width, height) in [(1, 1), (10, 3), (40, 5), (300, 100)] {
        picture(&busy(), width, height);
        picture(&State::new("http://localhost"), width, height);
    }
}

#[test]
fn something_is_never_drawn_as_nothing() {
    let passed = |done| Passed { done, ..Passed::default() };
    assert_eq!(sparkline(&[passed(0), passed(1), passed(1_000), passed(7)], 9), " ▁█");
    assert_eq!(sparkline(&[], 9), "");
}
