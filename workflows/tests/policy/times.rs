//! Windows and freezes: when what is automatic may happen, across summer time.

use serde_json::json;
use trueup_model::{DriftKind, Duration, Intent, Time, Verdict};
use trueup_workflows::Policy;
use trueup_workflows::policy::{Case, Decided};

use super::{at, case, drift, intent, rules_of, with};

fn window(name: &str, cron: &str, duration: &str, zone: &str, more: &str) -> String {
    format!(
        "[[window]]\nname = '{name}'\ncron = '{cron}'\nduration = '{duration}'\nzone = '{zone}'\n{more}\n"
    )
}

fn decided(policy: &Policy, intent: &Intent, now: Time) -> Decided {
    let drift = drift(DriftKind::MissingAssignment);
    policy.decide(&Case { now, opened_at: now, ..case(intent, &drift) })
}

/// When it is remediated: the time itself if at once.
fn when(policy: &Policy, now: &str) -> String {
    let d = decided(policy, &intent(json!({})), at(now));
    assert_eq!(d.decision.verdict, Verdict::Automatic, "{now}");
    d.decision.not_before.unwrap_or(at(now)).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[test]
fn cron_follows_the_clocks_of_the_zone() {
    // Berlin: 2026-03-29 02:00 CET becomes 03:00 CEST; 2026-10-25 03:00 CEST becomes 02:00 CET.
    let table = [
        // cron, duration; asked at; may begin at
        ("0 22 * * *", "6h", "2026-01-10T12:00:00Z", "2026-01-10T21:00:00Z"),
        ("0 22 * * *", "6h", "2026-07-10T12:00:00Z", "2026-07-10T20:00:00Z"),
        ("0 22 * * *", "6h", "2026-07-10T22:00:00Z", "2026-07-10T22:00:00Z"),
        ("0 22 * * *", "6h", "2026-07-11T01:59:59Z", "2026-07-11T01:59:59Z"),
        ("0 22 * * *", "6h", "2026-07-11T02:00:00Z", "2026-07-11T20:00:00Z"),
        // Spring: 02:30 does not exist; it opens when the clock is next right, and is as long as ever.
        ("30 2 * * *", "1h", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ("30 2 * * *", "1h", "2026-03-29T01:59:59Z", "2026-03-29T01:59:59Z"),
        ("30 2 * * *", "1h", "2026-03-29T02:00:00Z", "2026-03-30T00:30:00Z"),
        // A night across spring: six hours are six hours, so it ends at 05:00 by the wall clock.
        ("0 22 * * *", "6h", "2026-03-29T02:59:59Z", "2026-03-29T02:59:59Z"),
        ("0 22 * * *", "6h", "2026-03-29T03:00:00Z", "2026-03-29T20:00:00Z"),
        // Autumn: 02:30 comes twice; it opens at the first, once.
        ("30 2 * * *", "30m", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"),
        ("30 2 * * *", "30m", "2026-10-25T00:59:59Z", "2026-10-25T00:59:59Z"),
        ("30 2 * * *", "30m", "2026-10-25T01:00:00Z", "2026-10-26T01:30:00Z"),
        ("30 2 * * *", "30m", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"),
        // A night across autumn ends at 03:00 by the wall clock.
        ("0 22 * * *", "6h", "2026-10-25T01:59:59Z", "2026-10-25T01:59:59Z"),
        ("0 22 * * *", "6h", "2026-10-25T02:00:00Z", "2026-10-25T21:00:00Z"),
        // Weekdays and dates are the zone's: 23:30 UTC on Friday is Saturday.
        ("0 0 * * 6", "2h", "2026-07-10T20:00:00Z", "2026-07-10T22:00:00Z"),
        ("0 3 29 2 *", "1h", "2026-07-10T20:00:00Z", "2028-02-29T02:00:00Z"),
        ("0 3 29 2 *", "1h", "2028-07-10T20:00:00Z", "never"),
    ];
    for (cron, duration, now, expected) in table {
        let policy = with(&window("w", cron, duration, "Europe/Berlin", ""));
        if expected == "never" {
            let d = decided(&policy, &intent(json!({})), at(now));
            assert_eq!(d.decision.verdict, Verdict::Review, "{cron} {now}");
            assert!(
                d.decision.reasons.iter().any(|r| r.because.contains("within two years there is no moment"))
            );
            continue;
        }
        assert_eq!(when(&policy, now), expected, "{cron} for {duration}, asked {now}");
    }
    let tokyo = with(&window("w", "0 22 * * *", "1h", "Asia/Tokyo", ""));
    assert_eq!(when(&tokyo, "2026-07-10T12:00:00Z"), "2026-07-10T13:00:00Z");
}

#[test]
fn what_is_waited_for_is_named_and_when_it_opens() {
    let policy = with(&window("nights", "0 22 * * *", "6h", "UTC", ""));
    let closed = decided(&policy, &intent(json!({})), at("2026-01-10T12:00:00.500Z"));
    assert_eq!(rules_of(&closed), ["low-risk", "window nights"]);
    let why = &closed.decision.reasons[1];
    assert_eq!(
        (why.says, why.because.as_str()),
        (Verdict::Automatic, "automatic only while it is open; opens 2026-01-10T22:00:00Z")
    );
    assert_eq!(
        closed.decision.would_change,
        "it is remediated without asking at 2026-01-10T22:00:00Z, after: window nights"
    );
    let open = decided(&policy, &intent(json!({})), at("2026-01-10T22:00:00.500Z"));
    assert_eq!((open.decision.not_before, rules_of(&open).len()), (None, 1));
    assert!(open.decision.would_change.ends_with("; window nights closes 2026-01-11T04:00:00Z"));
    let reviewed = decided(&policy, &intent(json!({"ring": "global"})), at("2026-01-10T12:00:00Z"));
    assert_eq!(rules_of(&reviewed), ["production-ring"], "only what is automatic waits");
}

#[test]
fn an_intent_may_restrict_itself_to_named_windows() {
    let sections = [
        window("early", "0 4 * * *", "1h", "UTC", ""),
        window("late", "0 22 * * *", "1h", "UTC", ""),
        window("sundays", "0 0 * * 0", "24h", "UTC", "named_only = true"),
        window("jamf", "0 12 * * *", "1h", "UTC", "planes = ['jamf']"),
    ]
    .concat();
    let policy = with(&sections);
    // A Saturday.
    let at_noon = at("2026-01-10T12:00:00Z");
    let table = [
        (json!([]), Some("2026-01-10T22:00:00Z")),
        (json!(["late"]), Some("2026-01-10T22:00:00Z")),
        (json!(["early"]), Some("2026-01-11T04:00:00Z")),
        (json!(["early", "late"]), Some("2026-01-10T22:00:00Z")),
        // It can restrict itself only further: on a Sunday, and early or late.
        (json!(["sundays"]), Some("2026-01-11T04:00:00Z")),
        // Midday is open for others only: there is no such moment.
        (json!(["jamf"]), None),
        (json!(["nosuch"]), None),
        (json!(["late", "nosuch"]), None),
    ];
    for (windows, expected) in table {
        let d = decided(&policy, &intent(json!({"windows": windows})), at_noon).decision;
        assert_eq!(d.not_before, expected.map(at), "{windows}");
        let verdict = if expected.is_some() { Verdict::Automatic } else { Verdict::Review };
        assert_eq!(d.verdict, verdict, "{windows}");
        if windows.to_string().contains("nosuch") {
            let why = d.reasons.iter().find(|r| r.rule == "windows").unwrap();
            assert_eq!(why.because, "the intent names a window that the policy does not have: nosuch");
        }
    }
}

#[test]
fn freezes_wait_for_their_end_and_windows_for_the_end_of_freezes() {
    let freeze = "[[freeze]]\nname = 'year-end'\nfrom = 2026-12-18T00:00:00+01:00\nto = 2027-01-07T06:00:00+01:00\nbecause = 'nobody is there'\n";
    let policy = with(freeze);
    let table = [
        ("2026-12-17T22:59:59Z", "2026-12-17T22:59:59Z"),
        ("2026-12-17T23:00:00Z", "2027-01-07T05:00:00Z"),
        ("2027-01-07T04:59:59Z", "2027-01-07T05:00:00Z"),
        ("2027-01-07T05:00:00Z", "2027-01-07T05:00:00Z"),
    ];
    for (now, expected) in table {
        assert_eq!(when(&policy, now), expected, "{now}");
    }
    let d = decided(&policy, &intent(json!({})), at("2026-12-24T00:00:00Z"));
    let why = d.decision.reasons.iter().find(|r| r.rule == "freeze year-end").unwrap();
    assert_eq!(why.because, "nobody is there; until 2027-01-07T05:00:00Z");

    let both = with(&format!("{freeze}{}", window("nights", "0 22 * * *", "6h", "UTC", "")));
    assert_eq!(
        when(&both, "2026-12-17T12:00:00Z"),
        "2026-12-17T22:00:00Z",
        "the hour before the freeze is open"
    );
    assert_eq!(when(&both, "2026-12-17T23:30:00Z"), "2027-01-07T22:00:00Z");
    let d = decided(&both, &intent(json!({})), at("2026-12-24T00:00:00Z"));
    assert_eq!(rules_of(&d), ["low-risk", "freeze year-end", "window nights"]);

    // Recurring, and two in a row: mornings, and the hour after them.
    let again = |name: &str, cron: &str| {
        format!(
            "[[freeze]]\nname = '{name}'\ncron = '{cron}'\nduration = '1h'\nzone = 'UTC'\nbecause = 'b'\n"
        )
    };
    let policy = with(&format!("{}{}", again("a", "0 8 * * *"), again("b", "0 9 * * *")));
    assert_eq!(when(&policy, "2026-01-10T08:30:00Z"), "2026-01-10T10:00:00Z");
    assert_eq!(when(&policy, "2026-01-10T10:00:00Z"), "2026-01-10T10:00:00Z");
}

#[test]
fn tolerance_comes_first_and_the_window_after_it() {
    let policy = with(&window("nights", "0 22 * * *", "6h", "UTC", ""));
    let standard = intent(json!({"criticality": "standard"}));
    let table = [
        ("2026-01-10T12:00:00Z", "2026-01-10T22:00:00Z", vec!["low-risk", "tolerance", "window nights"]),
        // Open now, and still when the tolerance is over.
        ("2026-01-10T22:00:00Z", "2026-01-11T02:00:00Z", vec!["low-risk", "tolerance"]),
        // Open now, and closed when it is over.
        ("2026-01-11T01:00:00Z", "2026-01-11T22:00:00Z", vec!["low-risk", "tolerance", "window nights"]),
    ];
    for (now, expected, rules) in table {
        let d = decided(&policy, &standard, at(now));
        assert_eq!((d.decision.not_before, rules_of(&d)), (Some(at(expected)), rules), "{now}");
    }
    let missing = drift(DriftKind::MissingAssignment);
    let overdue = Case {
        opened_at: at("2026-01-09T00:00:00Z"),
        now: at("2026-01-10T12:00:00Z"),
        ..case(&standard, &missing)
    };
    let d = policy.decide(&overdue);
    assert_eq!(
        d.decision.not_before,
        Some(at("2026-01-10T22:00:00Z")),
        "overdue drift waits for its window too"
    );
}

#[test]
fn times_at_the_edge_of_the_calendar_are_survived() {
    let policy = with(&window("w", "0 22 * * *", "6h", "Europe/Berlin", ""));
    for now in [Time::MIN_UTC, Time::MAX_UTC, at("0000-01-01T00:00:00Z"), at("9999-12-31T23:59:59Z")] {
        let low = intent(json!({"criticality": "low"}));
        let missing = drift(DriftKind::MissingAssignment);
        for opened_at in [Time::MIN_UTC, Time::MAX_UTC, now] {
            policy.decide(&Case { now, opened_at, ..case(&low, &missing) });
        }
        policy.ignore(&low, missing, now + Duration::zero());
    }
}

/// Each minute of a working day is a span of its own: it ends in the evening, not never.
#[test]
fn a_freeze_of_many_short_spans_ends_where_the_last_one_ends() {
    let freeze =
        "[[freeze]]\nname = 'day'\ncron = '* 8-17 * * 1-5'\nduration = '1m'\nzone = 'UTC'\nbecause = 'b'\n";
    let policy = with(freeze);
    // A Friday.
    assert_eq!(when(&policy, "2026-01-09T08:00:30Z"), "2026-01-09T18:00:00Z");
    let night = with(&format!("{freeze}{}", window("early", "0 7 * * *", "2h", "UTC", "")));
    assert_eq!(when(&night, "2026-01-09T08:00:30Z"), "2026-01-10T07:00:00Z");
    // It never comes: said so, within bounds.
    let never = with(&format!("{freeze}{}", window("noon", "0 12 * * 1-5", "1h", "UTC", "")));
    let d = decided(&never, &intent(json!({})), at("2026-01-09T08:00:30Z"));
    assert_eq!(d.decision.verdict, Verdict::Review);
}

#[test]
fn what_was_decided_may_be_done_while_windows_freezes_incidents_and_the_mode_allow_it() {
    let freeze =
        "[[freeze]]\nname = 'f'\nfrom = 2026-01-11T22:00:00Z\nto = 2026-01-11T23:00:00Z\nbecause = 'b'\n";
    let incident = "[[incident]]\nname = 'i'\nticket = 't'\nsince = 2026-01-12T22:00:00Z\nuntil = 2026-01-12T23:00:00Z\nkinds = ['missing_assignment']\n";
    let nights = window("nights", "0 22 * * *", "6h", "UTC", "");
    let policy = with(&format!("{freeze}{incident}{nights}"));
    let table = [
        (json!({}), "2026-01-10T21:59:59Z", false),
        (json!({}), "2026-01-10T22:00:00Z", true),
        (json!({}), "2026-01-11T22:30:00Z", false),
        (json!({}), "2026-01-11T23:00:00Z", true),
        (json!({}), "2026-01-12T22:30:00Z", false),
        (json!({}), "2026-01-12T23:00:00Z", true),
        (json!({"mode": "propose"}), "2026-01-10T22:00:00Z", false),
        (json!({"windows": ["nosuch"]}), "2026-01-10T22:00:00Z", false),
    ];
    for (more, now, expected) in table {
        let may = policy.may_act_now(&intent(more.clone()), DriftKind::MissingAssignment, at(now));
        assert_eq!(may, expected, "{more} {now}");
    }
    assert!(policy.may_act_now(&intent(json!({})), DriftKind::VersionMismatch, at("2026-01-12T22:30:00Z")));
}
