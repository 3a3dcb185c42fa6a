//! Parts of a fleet in a box.

use std::collections::BTreeSet;

use trueup_boot::embedded::{EmbeddedError, Options, Redis};
use trueup_model::intent::{Assignment, Desired, Install, Scope};
use trueup_model::target::IntuneTarget;
use trueup_model::{Criticality, Intent, IntentKey, Mode, Ring, Status, Target};

/// A Redis of its own, AOF everysec, gone with the value.
pub async fn redis() -> Result<Redis, EmbeddedError> {
    Redis::temporary(Options::default()).await
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
    }
}
