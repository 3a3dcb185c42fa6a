//! `[[case]]`: a policy's own table of tests.

use trueup_workflows::policy::DEFAULT;
use trueup_workflows::policy::check::{cases, check};

use super::t0;

/// The differences of each case, in order.
fn run(table: &str) -> Vec<Vec<String>> {
    let checked = check(&format!("{DEFAULT}\n{table}"), t0()).unwrap_or_else(|e| panic!("{e}"));
    checked.cases.iter().map(|c| c.run(&checked.policy).differences).collect()
}

fn case(more: &str) -> String {
    format!("[[case]]\nname = 'c'\ndrift = 'missing_assignment'\nnow = 2026-01-10T12:00:00Z\n{more}\n")
}

#[test]
fn a_case_passes_or_says_what_is_different() {
    let night = "[[window]]\nname = 'n'\ncron = '0 22 * * *'\nduration = '1h'\nzone = 'UTC'\ncriticalities = ['high']\n";
    let board = "[[boundary]]\nname = 'b'\ngroups = ['group:in']\ntenants = ['may']\n";
    let ignore = "[[ignore]]\nname = 'i'\npaths = ['x']\nbecause = 'b'\n";
    let table: &[(&str, &str, &[&str])] = &[
        ("expect = 'automatic'", "", &[]),
        ("expect = 'automatic'\nrules = ['low-risk']\nseverity = 'high'", "", &[]),
        ("expect = 'review'", "", &["expected review, got automatic"]),
        ("expect = 'automatic'\nring = 'global'\nprivileged = true", "", &["expected automatic, got review"]),
        (
            "expect = 'review'\nring = 'global'\nprivileged = true\nrules = ['privileged', 'production-ring']",
            "",
            &[],
        ),
        (
            "expect = 'review'\nring = 'global'\nrules = ['privileged']",
            "",
            &["expected rules [privileged], got [production-ring]"],
        ),
        ("expect = 'observe_only'\nmode = 'observe'", "", &[]),
        ("expect = 'review'\nremedy = false", "", &[]),
        ("expect = 'cab'\nexhausted = true", "", &[]),
        ("expect = 'review'\nheld = true\nrules = ['low-risk', 'blast_radius']", "", &[]),
        (
            "expect = 'automatic'\ncriticality = 'low'\nage = '1d1h'\nseverity = 'high'",
            "",
            &["expected severity high, got critical"],
        ),
        (
            "expect = 'automatic'\ncriticality = 'high'",
            night,
            &["expected at once, got not before 2026-01-10T22:00:00+00:00"],
        ),
        ("expect = 'automatic'\ncriticality = 'high'\nnot_before = 2026-01-10T22:00:00Z", night, &[]),
        ("expect = 'cab'\nreaches = ['group:in']", board, &[]),
        ("expect = 'cab'\nscopes = ['group:in']", board, &[]),
        ("expect = 'automatic'\nreaches = ['group:in']\nintent = 'may/x'", board, &[]),
        ("expect = 'ignored'\npaths = ['x']\nrules = ['ignore i']", ignore, &[]),
        ("expect = 'ignored'\npaths = ['x', 'y']", ignore, &["expected ignored, got automatic"]),
        ("expect = 'review'\npaths = ['x']", ignore, &["expected review, got ignored"]),
        ("expect = 'review'\nplane = 'jamf'\nlabels = ['a=b']\nwindows = ['nosuch']", "", &[]),
    ];
    for (more, sections, expected) in table {
        assert_eq!(run(&format!("{sections}{}", case(more))), [expected.to_vec()], "{more}");
    }
}

#[test]
fn cases_may_stand_in_a_file_of_their_own_which_holds_nothing_else() {
    let found = cases(&case("expect = 'automatic'").repeat(2)).unwrap();
    assert_eq!(found.iter().map(|c| c.place.line).collect::<Vec<_>>(), [1, 6]);
    let wrong =
        cases(&format!("{}[[rule]]\n", case("expect = 'manual'\nring = 'prod'\nwhy = 1"))).unwrap_err();
    let expected = [
        "5:10: case 'c': expect: 'manual' is none of automatic, review, cab, observe_only, ignored",
        "6:8: case 'c': ring: unknown ring 'prod' (known: lab, canary, pilot, department, global)",
        "7:1: case 'c': unknown field 'why'",
        "8:3: unknown section 'rule' (known: case)",
    ];
    for (line, expected) in wrong.to_string().lines().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    assert_eq!(wrong.list().len(), expected.len());
}
