//! Keys and results that must not be lost, seen by others, or sent elsewhere.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod common;

use std::fs::{File, Permissions, read_to_string, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use common::{Ran, World, run_at_home};

fn run(home: &Path, args: &[&str], out: Stdio) -> Ran {
    run_at_home(home, args, "", out)
}

#[test]
fn a_key_goes_into_a_file_that_only_its_owner_can_read() {
    let (world, home) = (World::empty(), tempfile::tempdir().unwrap());
    let file = home.path().join("ops.key");
    let to = file.to_str().unwrap();
    let create = ["key", "create", "--label", "ops", "--grant", "*:admin", "--url", &world.url, "--to", to];
    let ran = run(home.path(), &create, Stdio::piped()).ends(0);
    assert!(ran.out.is_empty() && ran.err.contains("ops.key"), "{ran:?}");
    let key = read_to_string(&file).unwrap();
    assert!(key.starts_with("tuk_") && !ran.err.contains(key.trim()), "{ran:?}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // What is there already is not written over, and no key is made for nothing.
    let ran = run(home.path(), &create, Stdio::piped()).ends(2);
    assert!(ran.err.contains("--to"), "{ran:?}");
    assert_eq!(read_to_string(&file).unwrap(), key);
    let listed = run(home.path(), &["key", "ls", "-o", "name", "--url", &world.url], Stdio::piped()).ends(0);
    assert_eq!(listed.out.lines().count(), 1, "{listed:?}");
    // Nor does a file stay for a key that was refused.
    let other = home.path().join("other.key");
    let refused = [
        "key",
        "create",
        "--label",
        "x",
        "--grant",
        "a:king",
        "--url",
        &world.url,
        "--to",
        other.to_str().unwrap(),
    ];
    run(home.path(), &refused, Stdio::piped()).ends(1);
    assert!(!other.exists());

    set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let ran =
        run(home.path(), &["whoami", "--url", &world.url, "--api-key-file", to], Stdio::piped()).ends(0);
    assert!(ran.err.contains("chmod 600"), "{ran:?}");
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let (world, home) = (World::empty(), tempfile::tempdir().unwrap());
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let ran = run(home.path(), &["queue", "ls", "--url", &world.url], full()).ends(1);
    assert!(ran.err.contains("could not be written"), "{ran:?}");
    let create = ["key", "create", "--label", "ops", "--grant", "*:admin", "--url", &world.url];
    let ran = run(home.path(), &create, full()).ends(1);
    assert!(ran.err.contains("its secret is lost: `trueup key revoke "), "{ran:?}");
}

#[test]
fn profiles_that_cannot_be_read_stop_only_who_needs_them() {
    let (world, home) = (World::empty(), tempfile::tempdir().unwrap());
    let folder = home.path().join(".config/trueup");
    std::fs::create_dir_all(&folder).unwrap();
    write(folder.join("profiles.json"), "{").unwrap();
    set_permissions(folder.join("profiles.json"), Permissions::from_mode(0o600)).unwrap();
    run(home.path(), &["queue", "ls"], Stdio::piped()).ends(1);
    let ran = run(home.path(), &["whoami", "--url", &world.url], Stdio::piped()).ends(0);
    assert!(ran.err.contains("warning: profiles are not used"), "{ran:?}");
    run(home.path(), &["completion", "bash"], Stdio::piped()).ends(0);
    // Who changes them is told, and nothing of theirs is lost.
    let ran = run(home.path(), &["login", "--url", &world.url], Stdio::piped()).ends(1);
    assert!(ran.err.contains("profiles.json") && ran.err.contains("mend or remove"), "{ran:?}");
    assert_eq!(read_to_string(folder.join("profiles.json")).unwrap(), "{");
}

#[test]
fn a_password_in_the_url_is_refused_and_not_shown() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(home.path(), &["whoami", "--url", "http://me:hunter2@127.0.0.1:1"], Stdio::piped()).ends(2);
    assert!(ran.err.contains("user or password") && !ran.err.contains("hunter2"), "{ran:?}");
}
