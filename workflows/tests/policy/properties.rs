//! What holds for every policy and every case.

use proptest::prelude::*;
use serde_json::json;
use trueup_model::{
    Criticality, DateTime, Drift, DriftKind, Duration, Intent, Mode, Ring, Time, Trip, Verdict,
};
use trueup_workflows::Policy;
use trueup_workflows::policy::{Case, Decided, recorded};

use super::{case, delta, drift, intent, t0};

/// What a case is made of.
#[derive(Debug, Clone)]
struct Given {
    intent: Intent,
    drift: Drift,
    age: Duration,
    now: Time,
    remedy: bool,
    exhausted: bool,
    held: Option<Trip>,
}

impl Given {
    fn case(&self) -> Case<'_> {
        Case {
            intent: &self.intent,
            drift: &self.drift,
            opened_at: self.now - self.age,
            now: self.now,
            remedy: self.remedy,
            exhausted: self.exhausted,
            held: self.held.as_ref(),
        }
    }
}

fn one_of<T: Clone + std::fmt::Debug + 'static>(all: &[T]) -> impl Strategy<Value = T> + Clone + use<T> {
    prop::sample::select(all.to_vec())
}

fn any_given() -> impl Strategy<Value = Given> {
    let attributes = (
        one_of(&Ring::ALL),
        one_of(&[Mode::Observe, Mode::Propose, Mode::Enforce]),
        one_of(&Criticality::ALL),
        any::<bool>(),
        one_of(&["g1", "fin-1"]),
        one_of(&[vec![], vec!["w0".to_owned()], vec!["w1".to_owned(), "w0".to_owned()]]),
    );
    let paths = ["assignment.include", "assignment.extra", "version", "compliance.details"];
    let deltas = prop::collection::vec(
        (one_of(&paths), one_of(&["group:fin-2", "group:g1 required", "absent", "some text"])),
        1..4,
    );
    let flags = (prop::bool::weighted(0.9), prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let when = (0_i64..100_000, 0_i64..3 * 366 * 86_400);
    (attributes, one_of(&DriftKind::ALL), deltas, flags, when).prop_map(
        |(i, kind, deltas, flags, (age, now))| {
            let mut intent = intent(json!({"desired": {"assignment": {"include": [{"group": i.4}]}}}));
            (intent.ring, intent.mode, intent.criticality, intent.privileged, intent.windows) =
                (i.0, i.1, i.2, i.3, i.5);
            let now = t0() + Duration::seconds(now);
            let deltas = deltas.into_iter().map(|(path, text)| delta(path, text, "absent")).collect();
            let held = flags.2.then(|| Trip {
                tenant: "acme".into(),
                plane: intent.plane(),
                at: now,
                cap: "c".into(),
            });
            let drift = Drift::new(kind, deltas, now);
            Given {
                intent,
                drift,
                age: Duration::seconds(age),
                now,
                remedy: flags.0,
                exhausted: flags.1,
                held,
            }
        },
    )
}

/// Sections of a file, each a text.
fn any_rules() -> impl Strategy<Value = Vec<String>> {
    let conditions = one_of(&[
        "",
        "rings = ['lab', 'canary']",
        "rings = ['global']",
        "kinds = ['missing_assignment', 'version_mismatch']",
        "privileged = false",
        "overdue = true",
        "criticalities = ['critical', 'low']",
        "modes = ['enforce']",
        "tenants = ['ac*']",
        "labels = ['team=edge']",
        "severities = ['high', 'critical']",
        "security_incident = false",
        "crosses_boundary = true",
        "planes = ['jamf']",
    ]);
    let rule =
        (one_of(&["automatic", "automatic", "review", "cab"]), prop::collection::btree_set(conditions, 1..3));
    prop::collection::vec(rule, 0..6).prop_map(|rules| {
        let written = |(n, (say, conditions)): (usize, (&str, std::collections::BTreeSet<&str>))| {
            let mut keys = std::collections::BTreeSet::new();
            let conditions: Vec<&str> = conditions
                .into_iter()
                .filter(|c| keys.insert(c.split(' ').next().unwrap_or_default()))
                .collect();
            format!("[[rule]]\nname = 'r{n}'\nsay = '{say}'\nbecause = 'b'\n{}\n", conditions.join("\n"))
        };
        rules.into_iter().enumerate().map(written).collect()
    })
}

fn any_security() -> impl Strategy<Value = String> {
    let boundary = "[[boundary]]\nname = 'b'\ngroups = ['group:fin-*']\ntenants = ['other']\n";
    let incident = "[[incident]]\nname = 'i'\nticket = 't'\nsince = 2026-06-01T00:00:00Z\nuntil = 2027-06-01T00:00:00Z\n";
    one_of(&[String::new(), boundary.to_owned(), incident.to_owned(), format!("{boundary}{incident}")])
}

fn any_calendar() -> impl Strategy<Value = String> {
    let schedule = |at: &str, name: String, more: &str, (cron, duration, zone): (&str, &str, &str)| {
        format!(
            "[[{at}]]\nname = '{name}'\ncron = '{cron}'\nduration = '{duration}'\nzone = '{zone}'\n{more}\n"
        )
    };
    let crons =
        one_of(&["0 22 * * *", "30 2 * * *", "*/20 * * * *", "0 0 * * 1-5", "15 1 1 * *", "0 3 * * 0"]);
    let durations = one_of(&["1m", "15m", "1h", "6h", "23h"]);
    let zones = one_of(&["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]);
    let times = (crons, durations, zones);
    let windows = prop::collection::vec((times.clone(), any::<bool>()), 0..3);
    (windows, prop::collection::vec(times, 0..2), any::<bool>()).prop_map(move |(windows, freezes, year_end)| {
        let mut text = String::new();
        for (n, (times, named)) in windows.into_iter().enumerate() {
            text += &schedule("window", format!("w{n}"), &format!("named_only = {named}"), times);
        }
        for (n, times) in freezes.into_iter().enumerate() {
            text += &schedule("freeze", format!("f{n}"), "because = 'b'", times);
        }
        if year_end {
            text += "[[freeze]]\nname = 'y'\nfrom = 2026-12-18T00:00:00Z\nto = 2027-01-07T00:00:00Z\nbecause = 'b'\n";
        }
        text
    })
}

const LEASE: &str = "[[exception]]\nname = 'e'\nsay = 'automatic'\nowner = 'o'\nticket = 't'\nexpires = 2028-01-01T00:00:00Z\n";

fn decide(text: &str, given: &Given) -> Option<Decided> {
    // A freeze without an end is refused; such a text is no policy.
    Some(Policy::parse(text).ok()?.decide(&given.case()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_stricter_rule_wins_whatever_the_order(
        rules in any_rules(), security in any_security(), given in any_given(), one_more in 0_usize..6,
    ) {
        let of = |rules: &[String]| decide(&format!("{}{security}", rules.concat()), &given).unwrap().decision;
        let decision = of(&rules);
        prop_assert_eq!(Some(decision.verdict), decision.reasons.iter().map(|r| r.says).max());
        let mut other = rules.clone();
        other.reverse();
        prop_assert_eq!(of(&other).verdict, decision.verdict);

        // One rule less is never stricter, unless nothing but the default is left to speak.
        if one_more < rules.len() {
            other = rules.clone();
            other.remove(one_more);
            let less = of(&other);
            let foreseen = less.reasons.iter().all(|r| r.rule != "default");
            prop_assert!(!foreseen || less.verdict <= decision.verdict, "{:?} {:?}", less, decision);
        }
        match given.intent.mode {
            Mode::Observe => prop_assert_eq!(decision.verdict, Verdict::ObserveOnly),
            Mode::Propose => prop_assert!(decision.verdict >= Verdict::Review),
            Mode::Enforce => prop_assert!(decision.verdict <= Verdict::Cab),
        }
    }

    #[test]
    fn no_exception_beats_what_is_protected(
        rules in any_rules(), security in any_security(), given in any_given(),
    ) {
        let without = decide(&format!("{}{security}", rules.concat()), &given).unwrap().decision;
        let with = decide(&format!("{}{security}{LEASE}", rules.concat()), &given).unwrap().decision;
        // After the last attempt, what would be automatic is the CAB's: the exception's attempts were in vain.
        let in_vain = given.exhausted && with.reasons.iter().any(|r| r.rule == "ladder");
        prop_assert!(in_vain || with.verdict <= without.verdict, "an exception 'automatic' makes nothing stricter");
        let protected = |rule: &str| {
            ["mode", "blast_radius", "remedy", "windows"].contains(&rule)
                || ["incident ", "boundary "].iter().any(|p| rule.starts_with(p))
        };
        let floor = without.reasons.iter().filter(|r| protected(&r.rule)).map(|r| r.says).max();
        prop_assert!(Some(with.verdict) >= floor);
        if given.exhausted {
            prop_assert!(with.verdict > Verdict::Automatic);
        }
        if given.intent.privileged {
            prop_assert_eq!(with.verdict, without.verdict);
        }
    }

    #[test]
    fn what_is_recorded_decides_the_same(
        rules in any_rules(), security in any_security(), calendar in any_calendar(), given in any_given(),
    ) {
        let text = format!("{}{security}{calendar}{LEASE}", rules.concat());
        let Ok(policy) = Policy::parse(&text) else { return Ok(()) };
        let decided = policy.decide(&given.case());
        let wire = given.case().record().to_string();
        prop_assert!(!wire.contains("some text"), "what policy does not look at is not recorded: {wire}");
        let read = recorded::Case::read(&serde_json::from_str(&wire).unwrap()).unwrap();
        prop_assert_eq!(policy.decide(&read.live()), decided);
        prop_assert_eq!(read.live().record().to_string(), wire);
    }

    #[test]
    fn what_waits_begins_inside_the_windows_and_outside_every_freeze(calendar in any_calendar(), given in any_given()) {
        let rule = "[[rule]]\nname = 'all'\nsay = 'automatic'\nbecause = 'b'\n";
        let Some(first) = decide(&format!("{rule}{calendar}"), &given) else { return Ok(()) };
        if first.decision.verdict != Verdict::Automatic {
            prop_assert_eq!(first.decision.not_before, None);
            return Ok(());
        }
        let Some(at) = first.decision.not_before else { return Ok(()) };
        prop_assert!(at > given.now);
        // At that time it does not wait any more; and just before, it still does, unless that is the tolerance.
        let again = |now: Time| decide(&format!("{rule}{calendar}"), &Given { now, age: given.age + (now - given.now), ..given.clone() }).unwrap();
        prop_assert_eq!(again(at).decision.not_before, None);
        prop_assert_eq!(again(at - Duration::seconds(1)).decision.not_before, Some(at));
    }

    #[test]
    fn no_text_and_no_record_panics(text in "[\\[\\]a-z='\" \\n0-9:#{},*-]{0,200}", n in 0_usize..2_000) {
        let _ = Policy::parse(&text);
        // The shipped policy, cut anywhere, and with a piece in its middle replaced.
        let default = trueup_workflows::policy::DEFAULT;
        let cut = default.floor_char_boundary(n * default.len() / 2_000);
        let _ = Policy::parse(&default[..cut]);
        let _ = Policy::parse(&format!("{}{text}{}", &default[..cut], &default[cut..]));
        let _ = recorded::Case::read(&json!({"v": 1, "intent": text}));
    }
}

#[test]
fn a_record_of_another_form_is_refused_and_edges_of_time_are_survived() {
    let (intent, drift) = (intent(json!({})), drift(DriftKind::VersionMismatch));
    let mut record = case(&intent, &drift).record();
    record["v"] = json!(2);
    assert_eq!(
        recorded::Case::read(&record).unwrap_err(),
        "a recorded case of version 2; this Trueup reads version 1"
    );
    assert!(recorded::Case::read(&json!(null)).unwrap_err().starts_with("not a recorded case: "));
    record["v"] = json!(1);
    for time in [DateTime::<trueup_model::Utc>::MAX_UTC, DateTime::<trueup_model::Utc>::MIN_UTC] {
        record["now"] = json!(time);
        if let Ok(case) = recorded::Case::read(&record) {
            Policy::default().outcome(&case.live());
        }
    }
}
