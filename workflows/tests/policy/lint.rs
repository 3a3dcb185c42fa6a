//! Warnings: what a sound file probably does not mean.

use trueup_workflows::policy::check::check;
use trueup_workflows::policy::{DEFAULT, MAX_BYTES};

use super::at;

/// Behind the shipped policy, at the end of 2026.
fn warnings(sections: &str) -> Vec<String> {
    let text = format!("{DEFAULT}\n{sections}");
    let before = DEFAULT.lines().count() + 1;
    let checked = check(&text, at("2026-11-21T00:00:00Z")).unwrap_or_else(|e| panic!("{e}"));
    checked.warnings.iter().map(|w| format!("{}: {}", w.place.line - before, w.what)).collect()
}

fn rule(name: &str, say: &str, more: &str) -> String {
    format!("[[rule]]\nname = '{name}'\nsay = '{say}'\nbecause = 'b'\n{more}\n")
}

fn window(name: &str, cron: &str, more: &str) -> String {
    format!("[[window]]\nname = '{name}'\ncron = '{cron}'\nduration = '1h'\nzone = 'UTC'\n{more}\n")
}

#[test]
fn what_can_never_match_or_matter_is_warned_of() {
    let lease = |more: &str| {
        format!("[[exception]]\nname = 'e'\nsay = 'review'\nowner = 'o'\nticket = 't'\n{more}\n")
    };
    let ignore = |more: &str| format!("[[ignore]]\nname = 'i'\nbecause = 'b'\n{more}\n");
    let boundary = "[[boundary]]\nname = 'b'\ngroups = ['group:x']\ntenants = ['a']\n";
    let freeze =
        "[[freeze]]\nname = 'f'\nfrom = 2026-01-01T00:00:00Z\nto = 2026-02-01T00:00:00Z\nbecause = 'b'\n";
    let incident = "[[incident]]\nname = 'i'\nticket = 't'\nsince = 2026-01-01T00:00:00Z\nuntil = 2026-02-01T00:00:00Z\n";
    let table: Vec<(String, &[&str])> = vec![
        (String::new(), &[]),
        // Rules that can never match.
        (
            rule("r", "cab", "planes = ['ansible']\nkinds = ['version_mismatch']"),
            &["1: rule 'r': it can never match: kinds and planes exclude each other"],
        ),
        (rule("r", "cab", "planes = ['ansible', 'jamf']\nkinds = ['version_mismatch']"), &[]),
        (
            rule("r", "cab", "severities = ['low']"),
            &["1: rule 'r': it can never match: severities: there is no such drift"],
        ),
        (
            rule("r", "cab", "kinds = ['version_mismatch']\nseverities = ['critical']"),
            &["1: rule 'r': it can never match: kinds and severities exclude each other"],
        ),
        (
            rule("r", "cab", "severities = ['critical']\noverdue = false"),
            &["1: rule 'r': it can never match: severities and overdue exclude each other"],
        ),
        (
            rule("r", "cab", "criticalities = ['critical']\noverdue = true"),
            &["1: rule 'r': it can never match: criticalities and overdue exclude each other"],
        ),
        (rule("r", "cab", "criticalities = ['high']\noverdue = true"), &[]),
        (
            rule("r", "cab", "security_incident = true"),
            &["1: rule 'r': it can never match: security_incident: the policy has no [[incident]]"],
        ),
        (
            rule("r", "cab", "crosses_boundary = true"),
            &["1: rule 'r': it can never match: crosses_boundary: the policy has no [[boundary]]"],
        ),
        (format!("{boundary}{}", rule("r", "cab", "crosses_boundary = true")), &[]),
        (
            format!("{boundary}{}", rule("r", "cab", "crosses_boundary = true\nplanes = ['ansible']")),
            &["5: rule 'r': it can never match: planes and crosses_boundary exclude each other"],
        ),
        (
            rule("r", "cab", "tenants = ['a']\nintents = ['b/*', 'c/x']"),
            &["1: rule 'r': it can never match: tenants and intents exclude each other"],
        ),
        (rule("r", "cab", "tenants = ['a*']\nintents = ['b/*', 'ac/x']"), &[]),
        (
            rule("r", "cab", "intents = ['firefox']"),
            &["1: rule 'r': it can never match: intents: 'firefox' is not TENANT/ID"],
        ),
        // Rules whose verdict never matters.
        (
            rule("r", "automatic", "rings = ['global']"),
            &[
                "1: rule 'r': its verdict never matters: wherever it matches, something stricter speaks (production-ring)",
            ],
        ),
        (
            rule("r", "automatic", "rings = ['global', 'lab']\nprivileged = true"),
            &[
                "1: rule 'r': its verdict never matters: wherever it matches, something stricter speaks (privileged)",
            ],
        ),
        (rule("r", "automatic", "rings = ['global', 'lab']"), &[]),
        (
            rule("r", "cab", "modes = ['observe']"),
            &[
                "1: rule 'r': its verdict never matters: wherever it matches, something stricter speaks (mode)",
            ],
        ),
        (
            rule("r", "automatic", "modes = ['propose']\nrings = ['lab']"),
            &[
                "1: rule 'r': its verdict never matters: wherever it matches, something stricter speaks (mode)",
            ],
        ),
        (
            rule("r", "automatic", "tenants = ['x']\nrings = ['global']"),
            &[
                "1: rule 'r': its verdict never matters: wherever it matches, something stricter speaks (production-ring)",
            ],
        ),
        (rule("r", "cab", "tenants = ['x']\nrings = ['global']"), &[]),
        (
            format!(
                "{}{}",
                rule("r", "automatic", "labels = ['x']\nrings = ['lab']"),
                rule("s", "cab", "labels = ['x']")
            ),
            &["1: rule 'r': its verdict never matters: wherever it matches, something stricter speaks (s)"],
        ),
        (
            rule("r", "review", "rings = ['pilot', 'department', 'global']"),
            &["1: rule 'r': says the same as rule 'production-ring'"],
        ),
        // Leases and times that are over.
        (
            lease("expires = 2026-11-20T00:00:00Z"),
            &["1: exception 'e': it expired 2026-11-20T00:00:00Z; it does not hold any more"],
        ),
        (lease("expires = 2026-11-22T00:00:00Z"), &[]),
        (
            lease("expires = 2027-11-23T00:00:00Z"),
            &["1: exception 'e': it expires 2027-11-23T00:00:00Z, more than a year from now"],
        ),
        (lease("expires = 2027-11-23T00:00:00Z\nsince = 2026-12-01T00:00:00Z"), &[]),
        (freeze.into(), &["1: freeze 'f': it is over since 2026-02-01T00:00:00Z"]),
        (incident.into(), &["1: incident 'i': it is over since 2026-02-01T00:00:00Z"]),
        // Windows.
        (
            window("a", "0 1 * * *", "") + &window("b", "0 1 * * *", ""),
            &["7: window 'b': says the same as window 'a'"],
        ),
        (
            window("a", "0 1 * * *", "") + &window("b", "0 5 * * *", "named_only = true"),
            &[
                "7: window 'b': it excludes the other windows, which hold for everything: an intent that names it is never remediated automatically",
            ],
        ),
        (window("a", "0 1 * * *", "") + &window("b", "30 1 * * *", "named_only = true"), &[]),
        (window("a", "0 1 * * *", "planes = ['jamf']") + &window("b", "0 5 * * *", "named_only = true"), &[]),
        (
            window("a", "0 1 * * *", "")
                + "[[freeze]]\nname = 'f'\ncron = '0 0 * * *'\nduration = '3h'\nzone = 'UTC'\nbecause = 'b'\n",
            &["1: window 'a': within two years it is never open outside the freezes"],
        ),
        (
            window("a", "0 1 * * *", "planes = ['ansible']\nkinds = ['scope_mismatch']"),
            &["1: window 'a': it can never match: kinds and planes exclude each other"],
        ),
        // Paths and scopes.
        (
            ignore("paths = ['version.*']"),
            &["1: ignore 'i': no path of such drift matches (there are: assignment.exclude,"],
        ),
        (
            ignore("paths = ['version']\nkinds = ['scope_mismatch']"),
            &["1: ignore 'i': no path of such drift matches"],
        ),
        (ignore("paths = ['target.replaces.42']"), &[]),
        (ignore("paths = ['assignment.extra*']\nkinds = ['scope_mismatch']"), &[]),
        (boundary.replace("group:x", "finance"), &["1: boundary 'b': groups: 'finance' matches no scope"]),
        (boundary.replace("group:x", "*:x"), &[]),
    ];
    for (sections, expected) in table {
        let told = warnings(&sections);
        let fits = told.len() == expected.len() && told.iter().zip(expected).all(|(t, e)| t.starts_with(e));
        assert!(fits, "expected {expected:#?}\ngot {told:#?}\nof {sections}");
    }
}

#[test]
fn the_largest_policies_are_looked_at_in_bounded_time() {
    let mut text = String::new();
    for n in 0..999 {
        text += &rule(&format!("r{n}"), "review", &format!("tenants = ['t{n}']\nrings = ['lab']"));
    }
    assert!(text.len() < MAX_BYTES);
    assert_eq!(check(&text, super::t0()).unwrap().warnings.len(), 0);
}
