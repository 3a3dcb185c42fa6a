//! Running programs: hanging, talkative, missing, printing garbage.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use trueup_planes::Secret;
use trueup_planes::cli::{CliError, Program, run};
use trueup_planes::redact::Redaction;

fn sh(script: &str) -> Program {
    Program {
        path: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        cwd: std::env::temp_dir(),
        env: vec![("GREETING".into(), OsString::from("hello"))],
        env_allowed: vec!["PATH".into()],
        timeout: Duration::from_secs(20),
        max_output: 1000,
        redaction: Redaction::new([Secret::new("hunter2")]),
    }
}

#[tokio::test]
async fn output_exit_code_and_environment() {
    let done =
        run(&sh("echo $GREETING; echo oops >&2; echo ${HOME:-none} ${CARGO_MANIFEST_DIR:-none}; exit 3"))
            .await
            .unwrap();
    assert_eq!(done.code, Some(3));
    assert_eq!(done.stdout.text, "hello\nnone none\n", "only what is given and allowed");
    assert_eq!(done.stderr.text, "oops\n");
}

#[tokio::test]
async fn secrets_are_redacted_and_a_cut_leaves_no_half() {
    let done = run(&sh("echo a hunter2 b; echo hunter2 >&2")).await.unwrap();
    assert_eq!((done.stdout.text.as_str(), done.stderr.text.as_str()), ("a [redacted] b\n", "[redacted]\n"));
    let mut program = sh("printf 'xxxxxhunter2'");
    program.max_output = 9;
    let done = run(&program).await.unwrap();
    assert!(done.stdout.cut && !done.stdout.text.contains("hunt"), "{:?}", done.stdout);
}

#[tokio::test]
async fn a_talkative_program_is_read_to_its_end() {
    let done = run(&sh("i=0; while [ $i -lt 3000 ]; do echo 0123456789012345678901234567890123456789012345678901234567890123456789; i=$((i+1)); done; exit 7")).await.unwrap();
    assert_eq!(done.code, Some(7), "it was not blocked");
    assert!(done.stdout.cut && done.stdout.text.len() <= 1000);
}

/// Whether a process is there and not just waiting to be reaped.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !matches!(stat.rsplit(')').next().and_then(|rest| rest.trim().chars().next()), None | Some('Z' | 'X'))
}

async fn is_gone(pid: &str) {
    let gone = async {
        while runs(pid) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the child still runs");
}

async fn pid_in(file: &Path) -> String {
    let written = async {
        loop {
            match std::fs::read_to_string(file) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), written).await.expect("the child wrote its id")
}

#[tokio::test]
async fn a_hanging_program_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let mut program =
        sh(&format!("echo trouble hunter2 >&2; sleep 600 & echo $! > {}; wait", file.display()));
    program.timeout = Duration::from_secs(1);
    let error = run(&program).await.unwrap_err();
    assert!(matches!(error, CliError::TimedOut { after_s: 1, .. }), "{error}");
    assert!(error.to_string().ends_with("it had said: trouble [redacted]"), "{error}");
    is_gone(&pid_in(&file).await).await;
}

#[tokio::test]
async fn nothing_is_left_when_the_caller_goes_away() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let program = sh(&format!("sleep 600 & echo $! > {}; wait", file.display()));
    let task = tokio::spawn(async move { run(&program).await });
    let pid = pid_in(&file).await;
    assert!(runs(&pid));
    task.abort();
    is_gone(&pid).await;
}

#[tokio::test]
async fn a_child_that_holds_the_pipe_does_not_hold_us() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let done = run(&sh(&format!("echo done; sleep 600 & echo $! > {}", file.display()))).await.unwrap();
    assert_eq!((done.code, done.stdout.text.as_str()), (Some(0), "done\n"));
    is_gone(&pid_in(&file).await).await;
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let mut program = sh("");
    program.path = "/nowhere/program".into();
    let error = run(&program).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no program '/nowhere/program'");
    program.path = std::env::temp_dir();
    assert!(matches!(run(&program).await.unwrap_err(), CliError::Spawn { .. }));
}
