//! Logging in: what is stored, who may read it, and where the key is sent.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use common::{Ran, fleet, run_at_home};
use trueup_server::ApiState;
use trueup_server::identity::{Bootstrap, Identity, Policies};

const KEY: &str = "a-key-of-at-least-32-characters-for-a-test";

fn run(home: &Path, args: &[&str], stdin: &str) -> Ran {
    run_at_home(home, args, stdin, Stdio::piped())
}

#[test]
fn a_key_is_kept_for_its_owner_and_sent_to_its_api_only() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let serve = || {
        let (store, clock) = fleet::empty(1);
        let bootstrap = Some(Bootstrap::new(KEY).unwrap());
        let identity = Identity::required(Policies::shipped()).with_bootstrap(bootstrap);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = ApiState::new(store, Arc::new(clock)).with_identity(identity);
        runtime.spawn(trueup_server::serve(listener, state, std::future::pending()));
        url
    };
    let (url, other) = (serve(), serve());
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let file = home.join(".config/trueup/profiles.json");

    // Nobody is let in without a key, and a wrong one is not stored.
    let ran = run(home, &["queue", "ls", "--url", &url], "").ends(1);
    assert!(ran.err.contains("log in with `trueup login`"), "{ran:?}");
    run(home, &["login", "--url", &url], "\n").ends(2);
    let ran = run(home, &["login", "--url", &url], "wrong-key-with-at-least-32-characters").ends(1);
    assert!(!ran.err.contains("wrong-key") && !file.exists(), "{ran:?}");
    run(home, &["whoami", "--profile", "ops"], "").ends(2);

    let ran = run(home, &["login", "--profile", "ops", "--url", &url], &format!("{KEY}\n")).ends(0);
    assert!(ran.out.contains("as profile ops") && !format!("{ran:?}").contains(KEY), "{ran:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);

    // It is used without being named, in every form of output.
    run(home, &["queue", "ls"], "").ends(0);
    let yaml = run(home, &["whoami", "-o", "yaml"], "").ends(0).out;
    assert!(yaml.contains("actor: "), "{yaml}");
    let listed = run(home, &["profile", "ls"], "").ends(0).out;
    assert!(listed.contains("in use") && listed.contains(&url) && !listed.contains(KEY), "{listed}");
    // Another API does not get to see it.
    run(home, &["queue", "ls", "--url", &other], "").ends(1);
    run(home, &["queue", "ls", "--url", &format!("{url}/")], "").ends(0);

    // A file that others can read is refused.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let ran = run(home, &["queue", "ls"], "").ends(1);
    assert!(ran.err.contains("chmod 600") && !ran.err.contains(KEY), "{ran:?}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    run(home, &["profile", "use", "none"], "").ends(4);
    run(home, &["logout", "--profile", "ops"], "").ends(0);
    run(home, &["logout", "--profile", "ops"], "").ends(4);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(KEY));
    run(home, &["queue", "ls", "--url", &url], "").ends(1);
    let ran = run(home, &["queue", "ls", "--url", &url, "--ca-file", "/none"], "").ends(2);
    assert!(ran.err.contains("--ca-file"), "{ran:?}");
}
