//! Policy files that are refused: every flaw at once, each with line, column, section and field.

use trueup_workflows::Policy;
use trueup_workflows::policy::MAX_BYTES;

fn flaws(text: &str) -> String {
    match Policy::parse(text) {
        Ok(_) => panic!("accepted: {text}"),
        Err(flaws) => flaws.to_string(),
    }
}

fn rule(more: &str) -> String {
    format!("[[rule]]\nname = \"a\"\nsay = \"review\"\nbecause = \"b\"\n{more}")
}

fn window(cron: &str, duration: &str, zone: &str) -> String {
    format!("[[window]]\nname = \"w\"\ncron = \"{cron}\"\nduration = \"{duration}\"\nzone = \"{zone}\"")
}

fn exception(more: &str) -> String {
    format!("[[exception]]\nname = \"e\"\nsay = \"review\"\nowner = \"o\"\nticket = \"t\"\n{more}")
}

#[test]
fn each_mistake_is_named_with_its_place() {
    let freeze = |more: &str| format!("[[freeze]]\nname = \"f\"\nbecause = \"b\"\n{more}");
    let incident = |more: &str| format!("[[incident]]\nname = \"i\"\nticket = \"t\"\n{more}");
    let table: Vec<(String, &str)> = vec![
        ("[[rule]]\nname = 'a'".into(), "1:1: rule 'a': say: is missing"),
        ("[[rule".into(), "1:7: "),
        ("rule = 7".into(), "1:8: rule: write it as [[rule]]"),
        ("[rule]\nname = 'a'".into(), "1:1: rule: write it as [[rule]]"),
        ("[[tolerance]]".into(), "1:1: tolerance: write it as [tolerance]"),
        ("[[rules]]".into(), "1:3: unknown section 'rules' (known: tolerance, rule,"),
        (
            rule("ring = ['lab']"),
            "5:1: rule 'a': unknown field 'ring' (known: because, criticalities, crosses_boundary,",
        ),
        (
            rule("rings = ['lab', 'prod']"),
            "5:17: rule 'a': rings: unknown ring 'prod' (known: lab, canary, pilot, department, global)",
        ),
        (
            rule("kinds = ['bad']"),
            "5:10: rule 'a': kinds: unknown kind of drift 'bad' (known: missing_assignment,",
        ),
        (rule("planes = ['sccm']"), "unknown plane 'sccm' (known: intune, jamf, configmgr, ansible)"),
        (
            rule("severities = ['urgent']"),
            "severities: unknown severity 'urgent' (known: low, medium, high, critical)",
        ),
        (rule("modes = ['dry']"), "modes: unknown mode 'dry' (known: observe, propose, enforce)"),
        (rule("rings = []"), "5:9: rule 'a': rings: an empty list never holds"),
        (rule("rings = 'lab'"), "5:9: rule 'a': rings: expected a list like [\"…\"], found a text"),
        (rule("rings = [1]"), "rings: expected a text, found a number"),
        (rule("privileged = 'yes'"), "5:14: rule 'a': privileged: expected true or false, found a text"),
        (rule("tenants = ['a{']"), "5:12: rule 'a': tenants: 'a{': "),
        (rule("say = 'automatic'"), "5:1: duplicate key"),
        (format!("{}\n{}", rule(""), rule("")), "6:1: rule 'a': name: it is there twice"),
        (rule("").replace("\"a\"", "\"mode\""), "2:8: rule 'mode': name: must be none of mode,"),
        (rule("").replace("\"a\"", "\"a b\""), "2:8: rule 'a b': name: must be 1 to 64 of"),
        (rule("").replace("\"a\"", "\"\""), "2:8: rule no. 1: name: empty"),
        (
            rule("").replace("review", "observe_only"),
            "3:7: rule 'a': say: 'observe_only' is none of automatic, review, cab",
        ),
        (rule("").replace("review", "ignore"), "say: 'ignore' is none of automatic, review, cab"),
        ("#".repeat(MAX_BYTES + 1), "1:1: longer than"),
        (
            "[tolerance]\nhigh = '1 hour'".into(),
            "2:8: tolerance: high: '1 hour' is not a duration like 45s, 30m",
        ),
        ("[tolerance]\nhigh = '91d'".into(), "'91d' is not between 0s and 90d"),
        ("[tolerance]\nhigh = 3600".into(), "high: expected a text, found a number"),
        (
            "[tolerance]\nmedium = '1h'".into(),
            "2:1: tolerance: unknown field 'medium' (known: critical, high, low, standard)",
        ),
        // Windows that never open, and what is no time.
        (window("0 0 30 2 *", "1h", "UTC"), "3:8: window 'w': cron: '0 0 30 2 *' never comes"),
        (window("0 0 31 4,6,9,11 *", "1h", "UTC"), "never comes"),
        (window("0 0 * *", "1h", "UTC"), "cron: '0 0 * *': expected five fields"),
        (window("0 0 0 * * *", "1h", "UTC"), "expected five fields"),
        (window("@daily", "1h", "UTC"), "expected five fields"),
        (window("60 0 * * *", "1h", "UTC"), "3:8: window 'w': cron: '60 0 * * *': "),
        (window("a b c d e", "1h", "UTC"), "cron: 'a b c d e': "),
        (window("0 0 * * *", "0s", "UTC"), "4:12: window 'w': duration: '0s' is not between 1m and 366d"),
        (window("0 0 * * *", "367d", "UTC"), "'367d' is not between 1m and 366d"),
        (
            window("0 0 * * *", "1h", "Europe/Berlyn"),
            "5:8: window 'w': zone: unknown time zone 'Europe/Berlyn'",
        ),
        (window("0 0 * * *", "1h", "UTC").replace("zone = \"UTC\"", ""), "1:1: window 'w': zone: is missing"),
        (freeze(""), "1:1: freeze 'f': from: give either from and to, or cron, duration and zone"),
        (freeze("from = 2026-01-01T00:00:00Z"), "give either from and to"),
        (
            freeze("from = 2026-01-01T00:00:00Z\nto = 2026-02-01T00:00:00Z\nzone = 'UTC'"),
            "give either from and to",
        ),
        (
            freeze("from = 2026-01-01T00:00:00Z\nto = 2026-01-01T00:00:00Z"),
            "freeze 'f': to: must be after from",
        ),
        (
            freeze("from = 2026-01-01T00:00:00Z\nto = 2027-01-03T00:00:00Z"),
            "to: more than 366 days after from",
        ),
        (
            freeze("from = 2026-01-01\nto = 2027-01-03T00:00:00Z"),
            "4:8: freeze 'f': from: expected a time with its offset",
        ),
        (
            freeze("from = 2026-01-01T00:00:00\nto = 2027-01-03T00:00:00Z"),
            "from: expected a time with its offset",
        ),
        (
            freeze("cron = '0 0 * * *'\nduration = '24h'\nzone = 'UTC'"),
            "duration: 0 0 * * * for 1d (UTC): it never ends",
        ),
        (exception(""), "1:1: exception 'e': expires: is missing: an exception ends"),
        (exception("expires = 'soon'"), "6:11: exception 'e': expires: expected a time with its offset"),
        (
            exception("since = 2026-01-01T00:00:00Z\nexpires = 2025-01-01T00:00:00Z"),
            "expires: must be after since",
        ),
        (
            exception("since = 2026-01-01T00:00:00Z\nexpires = 2027-01-03T00:00:00Z"),
            "expires: more than 366 days after since",
        ),
        (exception("expires = 2026-01-01T00:00:00Z").replace("owner = \"o\"", ""), "owner: is missing"),
        (
            exception("expires = 2026-01-01T00:00:00Z").replace("\"review\"", "\"cab\""),
            "say: 'cab' is none of ignore, review, automatic",
        ),
        (exception("expires = 2026-01-01T00:00:00Z\noverdue = true"), "unknown field 'overdue'"),
        ("[[ignore]]\nname = 'i'\nbecause = 'b'".into(), "ignore 'i': paths: is missing"),
        ("[[cap]]".into(), "1:1: cap no. 1: actions: it caps nothing"),
        ("[[cap]]\nactions = -1".into(), "2:11: cap no. 1: actions: expected a whole number"),
        ("[[cap]]\npercent = 0".into(), "percent: expected a number above 0 and at most 100"),
        ("[[cap]]\npercent = 100.1".into(), "percent: expected a number above 0 and at most 100"),
        ("[[cap]]\npercent = nan".into(), "percent: expected a number above 0 and at most 100"),
        ("[[cap]]\nactions = 1\nrings = ['lab']".into(), "3:1: cap no. 1: unknown field 'rings'"),
        (
            "[[boundary]]\nname = 'b'\ngroups = ['group:a']".into(),
            "boundary 'b': tenants: say who may reach them",
        ),
        ("[[boundary]]\nname = 'b'\ntenants = ['a']".into(), "boundary 'b': groups: is missing"),
        (incident(""), "incident 'i': since: is missing"),
        (
            incident("since = 2026-01-01T00:00:00Z\nuntil = 2026-01-01T00:00:00Z"),
            "until: must be after since",
        ),
        ("[[case]]\nname = 'c'".into(), "1:1: case 'c': drift: is missing"),
        ("[[case]]\nname = 'c'\nreaches = ['g1']".into(), "3:12: case 'c': reaches: 'g1' is no scope"),
    ];
    let mut wrong = String::new();
    for (text, expected) in table {
        let told = flaws(&text);
        if !told.lines().any(|line| line.contains(expected)) {
            wrong.push_str(&format!("expected: {expected}\ngot:      {told}\n"));
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn all_flaws_are_told_at_once_in_the_order_of_the_file() {
    let text = "[[rule]]\nname = 'x'\nsay = 'maybe'\nrings = ['prod', 'lab', 'dev']\nbecause = 'b'\n\n[[window]]\nname = 'w'\ncron = 'x'\nduration = '0s'\nzone = 'Nowhere'\n\n[[freese]]\n";
    let told = flaws(text);
    let places: Vec<&str> = told.lines().map(|l| l.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["3:7", "4:10", "4:25", "9:8", "10:12", "11:8", "13:3"], "{told}");
}

#[test]
fn whatever_the_bytes_nothing_panics() {
    for text in [
        "\u{0}",
        "=",
        "[[",
        "a.b.c = 1",
        "rule = [1, {name = 'a'}]",
        "[[rule]]\n[rule.name]\n",
        "tolerance = 1",
        "[[case]]\nnow = 1",
    ] {
        flaws(text);
    }
    assert!(Policy::parse("").is_ok(), "without any rule, everything goes to review");
}
