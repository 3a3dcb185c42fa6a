//! The policies under which the story is told again. It begins on Saturday 2026-11-21 at 10:00 UTC; drifts come at 10:00
//! and at 13:00.

use trueup_tests::world::uncapped;
use trueup_workflows::Policy;
use trueup_workflows::policy::DEFAULT;

pub(crate) struct Other {
    pub(crate) name: &'static str,
    /// The whole file.
    pub(crate) text: String,
}

/// Without its caps: whether the switch trips is a consequence of what was decided, and no part of replay.
pub(crate) fn shipped() -> Policy {
    let shipped = uncapped();
    assert_eq!(Policy::parse(&text()).unwrap().digest(), shipped.digest());
    shipped
}

/// The shipped policy without its caps and comments.
fn text() -> String {
    let lines = DEFAULT.lines().take_while(|line| *line != "[[cap]]");
    lines.filter(|line| !line.starts_with('#') && !line.is_empty()).collect::<Vec<_>>().join("\n") + "\n"
}

fn and(name: &'static str, section: &str) -> Other {
    Other { name, text: format!("{}{section}", text()) }
}

fn instead(name: &'static str, old: &str, new: &str) -> Other {
    assert!(text().contains(old), "{name}");
    Other { name, text: text().replace(old, new) }
}

pub(crate) fn table() -> Vec<Other> {
    vec![
        instead("lab-only", "[\"lab\", \"canary\"]", "[\"lab\"]"),
        Other { name: "everything-reviewed", text: "[tolerance]\n".into() },
        and(
            "freeze",
            "[[freeze]]\nname = 'f'\nfrom = 2026-11-21T08:00:00Z\nto = 2026-11-21T12:00:00Z\nbecause = 'b'\n",
        ),
        and(
            "window",
            "[[window]]\nname = 'w'\ncron = '0 12 * * *'\nduration = '2h'\nzone = 'UTC'\nrings = ['canary', 'lab']\nplanes = ['intune', 'jamf']\n",
        ),
        and(
            "exception-automatic",
            "[[exception]]\nname = 'e'\nsay = 'automatic'\nowner = 'o'\nticket = 't'\nsince = 2026-11-21T09:00:00Z\n\
             expires = 2026-11-21T12:00:00Z\nkinds = ['scope_mismatch', 'version_mismatch']\n",
        ),
        and(
            "exception-ignore",
            "[[exception]]\nname = 'e'\nsay = 'ignore'\nowner = 'o'\nticket = 't'\nsince = 2026-11-21T12:00:00Z\n\
             expires = 2026-11-22T12:00:00Z\nkinds = ['version_mismatch', 'compliance_drift']\n",
        ),
        and("boundary", "[[boundary]]\nname = 'b'\ngroups = ['group:*']\nlabels = ['team=finance']\n"),
        and(
            "incident",
            "[[incident]]\nname = 'i'\nticket = 't'\nsince = 2026-11-21T08:00:00Z\nuntil = 2026-11-21T12:30:00Z\nplanes = ['jamf']\n",
        ),
        and("ignore", "[[ignore]]\nname = 'i'\npaths = ['compliance*']\nbecause = 'b'\n"),
        Other {
            name: "tolerance",
            text: text().replace("high = \"1h\"", "high = \"0s\"").replace("low = \"24h\"", "low = \"2h\""),
        },
        Other {
            name: "several",
            text: text()
                .replace("[\"lab\", \"canary\"]", "[\"lab\", \"canary\", \"department\"]")
                .replace("[\"pilot\", \"department\", \"global\"]", "[\"pilot\", \"global\"]")
                + "[[rule]]\nname = 'board'\nsay = 'cab'\nkinds = ['compliance_drift']\noverdue = true\nbecause = 'b'\n\
                 [[rule]]\nname = 'finance'\nsay = 'cab'\nlabels = ['team=finance']\nseverities = ['high']\nbecause = 'b'\n",
        },
    ]
}
