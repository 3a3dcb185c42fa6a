//! What the compiler does not check about the shape of this tree.
//!
//! Every rule is a function from text to complaints, and has a test that gives it something bad: a rule that cannot
//! complain is none.

mod arrows;
mod clock;
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;

/// The workspace's directory.
fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it for tests");
    Path::new(&here).parent().expect("tests/ is inside the workspace").to_path_buf()
}

/// What is tracked or would be: paths relative to the root, with `/`. From git, or without it by walking.
fn files() -> Vec<String> {
    let root = root();
    let git =
        Command::new("git").args(["ls-files", "-z", "-co", "--exclude-standard"]).current_dir(&root).output();
    let mut files: Vec<String> = match git {
        Ok(out) if out.status.success() && !out.stdout.is_empty() => {
            out.stdout.split(|b| *b == 0).map(|p| String::from_utf8_lossy(p).into_owned()).collect()
        }
        _ => walk(&root, ""),
    };
    files.retain(|f| !f.is_empty() && root.join(f).is_file());
    files.sort();
    assert!(files.len() > 50, "only {} files found: the rules would look at nothing", files.len());
    files
}

fn walk(root: &Path, under: &str) -> Vec<String> {
    const NOT_OURS: [&str; 5] = ["target", ".git", ".trueup", ".venv", ".tools"];
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join(under)).expect("readable").map(|e| e.expect("readable")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if under.is_empty() { name.clone() } else { format!("{under}/{name}") };
        if entry.path().is_dir() {
            if !(under.is_empty() && NOT_OURS.contains(&name.as_str())) {
                found.extend(walk(root, &path));
            }
        } else {
            found.push(path);
        }
    }
    found
}

/// `rule` over the text of all files that `which` selects. What is no text is left out.
fn check(which: impl Fn(&str) -> bool, rule: impl Fn(&str, &str) -> Vec<String>) {
    let root = root();
    let mut complaints = Vec::new();
    let mut seen = 0;
    for file in files().iter().filter(|f| which(f)) {
        if let Ok(text) = std::fs::read_to_string(root.join(file)) {
            seen += 1;
            complaints.extend(rule(file, &text));
        }
    }
    assert!(seen > 0, "no file to look at");
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn is_rust(file: &str) -> bool {
    file.ends_with(".rs")
}

#[test]
fn dependencies_follow_the_arrows() {
    let complaints = arrows::complaints(&arrows::of_workspace(&root()));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn time_comes_from_the_clock() {
    check(is_rust, clock::complaints);
}

#[test]
fn files_are_small() {
    check(is_rust, tree::too_long);
}

#[test]
fn the_top_level_is_the_house() {
    let complaints = tree::strangers(&files());
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    check(|_| true, tree::machine_traces);
}

#[test]
fn walking_finds_what_git_finds() {
    let walked = walk(&root(), "");
    let missing: Vec<_> = files().into_iter().filter(|f| !walked.contains(f)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
