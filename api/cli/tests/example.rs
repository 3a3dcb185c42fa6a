//! The example of a configuration is one.

use std::collections::BTreeSet;

use trueup_model::PlaneKind;
use trueup_runner::{Channels, FixedSecrets, WorkConfig};

#[test]
fn the_example_configuration_of_the_workers_shows_every_plane_and_can_be_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/workers.example.yaml");
    let config: WorkConfig = trueup_boot::config::load_from(Some(path.as_ref()), "TRUEUP_", |_| None)
        .unwrap_or_else(|e| panic!("{e}"));
    let planes: BTreeSet<PlaneKind> = config.connections.iter().map(|c| c.plane()).collect();
    assert_eq!(planes, BTreeSet::from(PlaneKind::ALL));
    let names: BTreeSet<&str> = config.connections.iter().map(|c| c.name()).collect();
    assert_eq!(names.len(), config.connections.len());
    // Nothing else is wrong with its channels than that their secrets are not here.
    let told = Channels::open(config.notifications.as_deref().unwrap_or_default(), &FixedSecrets::default());
    assert!(told.is_err_and(|e| e.to_string().contains("/run/secrets/")));
}
