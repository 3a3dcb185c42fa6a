//! Parts of a fleet in a box.

use std::collections::BTreeSet;

use trueup_boot::embedded::{EmbeddedError, Options, Redis};
use trueup_model::intent::{Assignment, Desired, Install, Scope};
use trueup_model::target::IntuneTarget;
use trueup_model::{Criticality, Intent, IntentKey, Mode, Ring, Status, Target};
use trueup_workflows::{Policy, policy};

/// A Redis of its own, AOF everysec, gone with the value.
pub async fn redis() -> Result<Redis, EmbeddedError> {
    Redis::temporary(Options::default()).await
}

/// The shipped policy without its caps: for fleets that expect everything to be remediated at once.
pub fn uncapped() -> Policy {
    let mut in_cap = false;
    let rest = policy::DEFAULT.lines().filter(|line| {
        if line.starts_with('[') {
            in_cap = *line == "[[cap]]";
        }
        !in_cap
    });
    Policy::parse(&rest.collect::<Vec<_>>().join("\n")).expect("the shipped policy parses without its caps")
}

/// The shipped policy with this as its only cap.
pub fn capped(cap: &str) -> Policy {
    let shipped =
        policy::DEFAULT.lines().take_while(|line| *line != "[[cap]]").collect::<Vec<_>>().join("\n");
    Policy::parse(&format!("{shipped}\n[[cap]]\nname = \"of-the-test\"\n{cap}\n")).expect("a policy")
}

/// A plain intent on the Intune plane.
pub fn intent(tenant: &str, id: &str) -> Intent {
    Intent {
        key: IntentKey::new(tenant, id),
        workspace: None,
        target: Target::Intune(IntuneTarget {
            app_id: "00000000-0000-4000-8000-000000000001".into(),
            app_name: "Contoso VPN".into(),
            replaces: Vec::new(),
        }),
        desired: Desired {
            assignment: Some(Assignment {
                install: Install::Required,
                include: BTreeSet::from([Scope::Group("11111111-0000-4000-8000-000000000001".into())]),
                exclude: BTreeSet::new(),
                exclusive: false,
            }),
            version: Some("1.0.0".into()),
            compliant: true,
        },
        criticality: Criticality::Standard,
        ring: Ring::Lab,
        privileged: false,
        mode: Mode::Enforce,
        status: Status::Pending,
        labels: std::collections::BTreeMap::new(),
        windows: Vec::new(),
    }
}
