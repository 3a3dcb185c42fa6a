//! Against a real server. They fail, not skip, without one: every machine that runs our tests has it (`make tools`).

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use rustix::process::{Pid, test_kill_process};

use super::*;

/// One command in the inline form, and the answer's lines up to `lines`.
fn say(redis: &Redis, commands: &[&str]) -> Vec<String> {
    fn talk(mut stream: impl io::Read + Write, commands: &[&str]) -> Vec<String> {
        for command in commands {
            stream.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        }
        let mut lines = BufReader::new(stream).lines();
        let mut answers = Vec::new();
        for _ in commands {
            let mut answer = lines.next().unwrap().unwrap();
            if answer.starts_with('$') && answer != "$-1" {
                answer = lines.next().unwrap().unwrap();
            }
            answers.push(answer);
        }
        answers
    }
    match &redis.address {
        Address::Unix(path) => talk(UnixStream::connect(path).unwrap(), commands),
        Address::Tcp(at) => talk(TcpStream::connect(at).unwrap(), commands),
    }
}

fn alive(pid: u32) -> bool {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    test_kill_process(pid).is_ok()
        && fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).is_ok_and(|c| !c.is_empty())
}

#[tokio::test]
async fn data_survives_stop_crash_and_restart() {
    for listen in [Listen::Unix, Listen::Tcp] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { listen, ..Options::default() };
        let mut redis = Redis::start(dir.path(), options.clone()).await.unwrap();
        let (url, first) = (redis.url(), redis.pid().unwrap());
        assert_eq!(say(&redis, &["SET a 1", "GET a"]), ["+OK", "1"]);
        redis.restart().await.unwrap();
        assert_ne!(redis.pid(), Some(first));
        assert!(!alive(first));
        assert_eq!(redis.url(), url);
        assert_eq!(say(&redis, &["GET a", "SET b 2"]), ["1", "+OK"]);
        redis.crash();
        assert!(!redis.is_running() && redis.pid().is_none());
        redis.restart().await.unwrap();
        assert_eq!(redis.url(), url);
        assert_eq!(say(&redis, &["GET b", "SET c 3"]), ["2", "+OK"]);
        redis.stop().await;
        assert!(!redis.is_running());
        drop(redis);
        let redis = Redis::start(dir.path(), options).await.unwrap();
        assert_eq!(say(&redis, &["GET c"]), ["3"]);
    }
}

#[tokio::test]
async fn it_is_told_what_the_engine_needs() {
    let options = Options {
        append: Append::Always,
        maxmemory: Some(64 << 20),
        extra: vec![("hz".into(), "17".into())],
        ..Options::default()
    };
    let redis = Redis::temporary(options).await.unwrap();
    let answers: Vec<String> = [
        "appendonly",
        "appendfsync",
        "maxmemory-policy",
        "maxmemory",
        "hash-max-listpack-value",
        "hz",
        "save",
    ]
    .iter()
    .map(|key| {
        let Address::Unix(path) = &redis.address else { panic!() };
        let mut stream = UnixStream::connect(path).unwrap();
        stream.write_all(format!("CONFIG GET {key}\r\n").as_bytes()).unwrap();
        BufReader::new(stream).lines().take(5).last().unwrap().unwrap()
    })
    .collect();
    assert_eq!(answers, ["yes", "always", "noeviction", "67108864", "64", "17", ""]);
}

#[tokio::test]
async fn a_password_is_asked_for_and_known() {
    for listen in [Listen::Unix, Listen::Tcp] {
        let options = Options { listen, password: Some("p \"\\ü&=".into()), ..Options::default() };
        let redis = Redis::temporary(options).await.unwrap();
        assert!(say(&redis, &["GET a"])[0].starts_with("-NOAUTH"));
        let mode = fs::metadata(redis.dir().join(CONF)).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o077, 0);
    }
}

#[tokio::test]
async fn a_second_owner_is_refused_with_the_pid_of_the_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Redis::start(dir.path(), Options::default()).await.unwrap();
    let error = Redis::start(dir.path(), Options::default()).await.err().unwrap();
    assert!(
        matches!(&error, EmbeddedError::InUse { owner, .. } if *owner == std::process::id().to_string()),
        "{error}"
    );
    assert!(first.is_running(), "the refusal must not touch the first one's server");
    drop(first);
    Redis::start(dir.path(), Options::default()).await.unwrap();
}

#[tokio::test]
async fn dropping_it_ends_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let redis = Redis::start(dir.path(), Options::default()).await.unwrap();
    let pid = redis.pid().unwrap();
    assert!(alive(pid));
    drop(redis);
    assert!(!alive(pid));
}

/// A server as an owner that was killed leaves it: it runs, its files are there, and nobody holds the lock.
async fn orphan(dir: &Path) -> std::process::Child {
    let mut redis = Redis::start(dir, Options::default()).await.unwrap();
    assert_eq!(say(&redis, &["SET a kept"]), ["+OK"]);
    redis.crash();
    let (program, conf) = (redis.program.clone(), redis.dir.join(CONF));
    let child = Command::new(program).arg(conf).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    write_private(&redis.dir.join(PID), &child.id().to_string()).unwrap();
    let mut watched =
        Child::spawn(Path::new("sleep"), Path::new("60"), tempfile::tempfile().unwrap()).unwrap();
    probe::until_ready(&redis.address, None, &mut watched, Duration::from_secs(10)).await.unwrap();
    child
}

#[tokio::test]
async fn a_server_whose_owner_is_gone_is_stopped_and_its_data_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut left = orphan(dir.path()).await;
    let redis = Redis::start(dir.path(), Options::default()).await.unwrap();
    assert!(left.try_wait().unwrap().unwrap().success(), "stopped gracefully");
    assert_eq!(say(&redis, &["GET a"]), ["kept"]);
}

#[tokio::test]
async fn a_server_that_is_not_known_to_be_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut left = orphan(dir.path()).await;
    fs::remove_file(dir.path().join(PID)).unwrap();
    let error = Redis::start(dir.path(), Options::default()).await.err().unwrap();
    assert!(matches!(error, EmbeddedError::Foreign { .. }), "{error}");
    assert_eq!(left.try_wait().unwrap(), None, "it must not be touched");
    left.kill().unwrap();
    left.wait().unwrap();
}

#[tokio::test]
async fn a_process_that_only_has_the_pid_is_not_touched() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    for text in [other.id().to_string(), "garbage".into(), "1".into(), "-1".into(), "99999999999".into()] {
        write_private(&dir.path().join(PID), &text).unwrap();
        Redis::start(dir.path(), Options::default()).await.unwrap();
        assert_eq!(other.try_wait().unwrap(), None);
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn a_failed_start_shows_the_end_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { extra: vec![("no-such-setting".into(), "1".into())], ..Options::default() };
    let error = Redis::start(dir.path(), options).await.err().unwrap().to_string();
    assert!(error.contains("ended at once") && error.contains("no-such-setting"), "{error}");
    // The failure leaves nothing behind that hinders the next start.
    Redis::start(dir.path(), Options::default()).await.unwrap();
}

#[tokio::test]
async fn a_deep_directory_works_too() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("ä long name".repeat(10)).join("x".repeat(60));
    let mut redis = Redis::start(&deep, Options::default()).await.unwrap();
    assert_eq!(say(&redis, &["SET a 1"]), ["+OK"]);
    redis.restart().await.unwrap();
    assert_eq!(say(&redis, &["GET a"]), ["1"]);
}

/// The owner that the next test kills: this test binary again, with a variable set.
#[tokio::test]
async fn owner() {
    let Some(dir) = std::env::var_os("TRUEUP_TEST_OWNER") else { return };
    let redis = Redis::start(Path::new(&dir), Options::default()).await.unwrap();
    let mut out = io::stdout().lock();
    writeln!(out, "\npid {}", redis.pid().unwrap()).unwrap();
    out.flush().unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn after_kill_9_of_the_owner_the_next_start_continues() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::tests::owner", "--nocapture"])
        .env("TRUEUP_TEST_OWNER", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map_while(Result::ok);
    let server: u32 = lines.find_map(|l| l.strip_prefix("pid ").map(|p| p.parse().unwrap())).unwrap();
    owner.kill().unwrap();
    owner.wait().unwrap();
    let redis = Redis::start(dir.path(), Options::default()).await.unwrap();
    assert!(!alive(server), "two servers on one directory");
    assert_eq!(say(&redis, &["PING"]), ["+PONG"]);
}
