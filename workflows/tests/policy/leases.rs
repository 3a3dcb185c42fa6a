//! Exceptions, ignore rules and caps.

use serde_json::json;
use trueup_model::{Caps, Drift, DriftKind, Intent, Time, Verdict};
use trueup_workflows::Policy;
use trueup_workflows::policy::{Case, Decided};

use super::{at, case, delta, drift, intent, rules_of, t0, with};

fn exception(say: &str, more: &str) -> String {
    format!(
        "[[exception]]\nname = 'e'\nsay = '{say}'\nowner = 'workplace team'\nticket = 'CHG-1'\n\
         since = 2026-01-02T00:00:00Z\nexpires = 2026-02-01T00:00:00Z\n{more}\n"
    )
}

fn decided(policy: &Policy, intent: &Intent, kind: DriftKind, now: Time) -> Decided {
    policy.decide(&Case { now, ..case(intent, &drift(kind)) })
}

const WITHIN: &str = "2026-01-10T00:00:00Z";

#[test]
fn an_exception_holds_from_its_beginning_to_its_end_and_names_who_answers() {
    let policy = with(&exception("automatic", "intents = ['acme/chr*']\nkinds = ['version_mismatch']"));
    let global = intent(json!({"ring": "global"}));
    let verdict = |now| decided(&policy, &global, DriftKind::VersionMismatch, at(now)).decision.verdict;
    let table = [
        ("2026-01-01T23:59:59Z", Verdict::Review),
        ("2026-01-02T00:00:00Z", Verdict::Automatic),
        ("2026-01-31T23:59:59Z", Verdict::Automatic),
        ("2026-02-01T00:00:00Z", Verdict::Review),
        ("2030-01-01T00:00:00Z", Verdict::Review),
    ];
    for (now, expected) in table {
        assert_eq!(verdict(now), expected, "{now}");
    }
    let d = decided(&policy, &global, DriftKind::VersionMismatch, at(WITHIN));
    assert_eq!(rules_of(&d), ["production-ring", "exception e"]);
    let why: Vec<&str> = d.decision.reasons.iter().map(|r| r.because.as_str()).collect();
    assert_eq!(why[0], "the ring is production; said review, set aside by exception e");
    assert_eq!(why[1], "owner workplace team, ticket CHG-1, expires 2026-02-01T00:00:00Z");
    assert!(
        d.decision.would_change.contains("exception e ends 2026-02-01T00:00:00Z"),
        "{}",
        d.decision.would_change
    );

    let other = intent(json!({"ring": "global", "id": "firefox"}));
    assert_eq!(
        decided(&policy, &other, DriftKind::VersionMismatch, at(WITHIN)).decision.verdict,
        Verdict::Review
    );
    assert_eq!(
        decided(&policy, &global, DriftKind::MissingAssignment, at(WITHIN)).decision.verdict,
        Verdict::Review
    );
}

#[test]
fn an_exception_may_ask_for_a_review_and_the_strictest_of_several_holds() {
    let lab = intent(json!({}));
    let now = at(WITHIN);
    let policy = with(&exception("review", ""));
    assert_eq!(decided(&policy, &lab, DriftKind::MissingAssignment, now).decision.verdict, Verdict::Review);
    let both = format!("{}{}", exception("automatic", ""), exception("review", "").replace("'e'", "'f'"));
    let d = decided(&with(&both), &lab, DriftKind::MissingAssignment, now);
    assert_eq!((d.decision.verdict, rules_of(&d).len()), (Verdict::Review, 3));
    // What a rule gives to the CAB, a review may do while the lease lasts.
    let cab = "[[rule]]\nname = 'board'\nsay = 'cab'\nbecause = 'b'\n";
    let policy = with(&format!("{cab}{}", exception("review", "")));
    assert_eq!(decided(&policy, &lab, DriftKind::MissingAssignment, now).decision.verdict, Verdict::Review);
    assert_eq!(decided(&policy, &lab, DriftKind::MissingAssignment, t0()).decision.verdict, Verdict::Cab);
}

#[test]
fn nothing_of_a_privileged_application_is_set_aside() {
    let policy = with(&exception("automatic", ""));
    let privileged = intent(json!({"privileged": true, "ring": "global"}));
    let d = decided(&policy, &privileged, DriftKind::VersionMismatch, at(WITHIN));
    assert_eq!(d.decision.verdict, Verdict::Review);
    assert!(
        d.decision
            .reasons
            .iter()
            .any(|r| r.because.ends_with("sets nothing aside for a privileged application"))
    );
}

#[test]
fn no_exception_hides_what_is_privileged_or_in_an_incident_or_crosses_a_boundary() {
    let hides = exception("ignore", "");
    let incident = "[[incident]]\nname = 'i'\nticket = 'SEC-7'\nsince = 2026-01-09T00:00:00Z\nuntil = 2026-01-11T00:00:00Z\n";
    let boundary = "[[boundary]]\nname = 'b'\ngroups = ['group:g1']\ntenants = ['other']\n";
    let missing = drift(DriftKind::MissingAssignment);
    let table = [
        ("", json!({}), WITHIN, true),
        ("", json!({"privileged": true}), WITHIN, false),
        (incident, json!({}), WITHIN, false),
        (incident, json!({}), "2026-01-11T00:00:00Z", true),
        (boundary, json!({}), WITHIN, false),
        (boundary, json!({"tenant": "other"}), WITHIN, true),
    ];
    for (sections, more, now, hidden) in table {
        let left =
            with(&format!("{hides}{sections}")).ignore(&intent(more.clone()), missing.clone(), at(now));
        assert_eq!(left.drift.is_none(), hidden, "{sections} {more} {now}");
    }
}

#[test]
fn an_exception_that_ignores_takes_all_of_it_while_it_lasts() {
    let policy = with(&exception("ignore", "kinds = ['scope_mismatch']"));
    let intent = intent(json!({}));
    let scope = drift(DriftKind::ScopeMismatch);
    let ignored = policy.ignore(&intent, scope.clone(), at(WITHIN));
    assert_eq!(ignored.drift, None);
    let rule = "exception e (owner workplace team, ticket CHG-1, expires 2026-02-01T00:00:00Z)";
    assert_eq!(ignored.rules, [(rule.to_owned(), "assignment.include".to_owned())]);
    for (drift, now) in [(scope, "2026-02-01T00:00:00Z"), (drift(DriftKind::VersionMismatch), WITHIN)] {
        let left = policy.ignore(&intent, drift.clone(), at(now));
        assert_eq!((left.drift, left.rules.len()), (Some(drift), 0), "it resumes by itself");
    }
}

#[test]
fn ignore_rules_take_out_paths_and_what_remains_is_another_drift() {
    let rule = "[[ignore]]\nname = 'x'\npaths = ['assignment.extra*']\ntenants = ['acme']\nbecause = 'b'\n";
    let policy = with(rule);
    let kept = delta("assignment.include", "group:g1 required", "absent");
    let extra = [
        delta("assignment.extra", "absent", "group:g7"),
        delta("assignment.extra", "absent", "group:g8"),
        delta("assignment.extra_exclusion", "absent", "group:g9"),
    ];
    let mut whole =
        Drift::new(DriftKind::ScopeMismatch, [&extra[..], std::slice::from_ref(&kept)].concat(), t0());
    (whole.affected_devices, whole.devices) = (7, vec!["d1".into()]);
    let ignored = policy.ignore(&intent(json!({})), whole.clone(), t0());
    let rules: Vec<(&str, &str)> = ignored.rules.iter().map(|(r, p)| (r.as_str(), p.as_str())).collect();
    assert_eq!(rules, [("ignore x", "assignment.extra"), ("ignore x", "assignment.extra_exclusion")]);
    let left = ignored.drift.unwrap();
    let alone = Drift::new(DriftKind::ScopeMismatch, vec![kept], t0());
    assert_eq!((&left.delta, &left.digest), (&alone.delta, &alone.digest));
    assert_eq!((left.affected_devices, left.devices.len()), (7, 1));

    let nothing_left = Drift::new(DriftKind::ScopeMismatch, extra.to_vec(), t0());
    assert_eq!(policy.ignore(&intent(json!({})), nothing_left, t0()).drift, None);
    let elsewhere = policy.ignore(&intent(json!({"tenant": "other"})), whole.clone(), t0());
    assert_eq!((elsewhere.drift, elsewhere.rules), (Some(whole), vec![]));
}

#[test]
fn the_strictest_of_all_matching_caps_holds_field_by_field() {
    let caps = "[[cap]]\nactions = 50\nwindow = '10m'\ntenants = ['acme']\n\
                [[cap]]\npercent = 50\nat_least = 5\nplanes = ['intune']\nwindow = '2h'\n\
                [[cap]]\nper_minute = 0\nplanes = ['jamf']\nwindow = '7d'\n";
    let of = |tenant: &str| with(caps).caps(&intent(json!({"tenant": tenant})));
    let caps = |actions, percent, at_least, window_s, per_minute| {
        Some(Caps {
            actions: Some(actions),
            percent: Some(percent),
            at_least,
            window_s,
            per_minute: Some(per_minute),
        })
    };
    assert_eq!(of("acme"), caps(50, 10.0, 5, 7_200, 30));
    assert_eq!(of("other"), caps(100, 10.0, 5, 7_200, 30));
    let bare = |text: &str| Policy::parse(text).unwrap().caps(&intent(json!({})));
    assert_eq!(bare(""), None);
    assert_eq!(bare("[[cap]]\nactions = 1\ntenants = ['other']"), None);
    let per_minute = Some(Caps { per_minute: Some(3), window_s: 60, ..Caps::default() });
    assert_eq!(bare("[[cap]]\nper_minute = 3"), per_minute);
}
