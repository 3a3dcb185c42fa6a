//! The demo: a sample fleet, broken as an operator would break it, watched until it is as it should be.

mod budgets;
mod fleet;
mod many;
mod progress;
mod story;
mod summary;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use trueup_boot::shutdown::Shutdown;
use trueup_engine::By;
use trueup_engine::store::NewJob;
use trueup_model::{Clock as _, CorrelationId, SystemClock, job};
use trueup_runner::WorkConfig;

use crate::dev::{Dev, DevOptions, Speed};
use crate::failure::{Exit, Failure};

pub(crate) use budgets::table;
pub(crate) use fleet::samples;
pub(crate) use summary::Summary;

/// Between two looks at what happened.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const PROJECT: [(&str, &str); 4] = [
    ("site.yml", include_str!("../../../deploy/demo/site.yml")),
    ("inventory.yml", include_str!("../../../deploy/demo/inventory.yml")),
    ("templates/service.conf.j2", include_str!("../../../deploy/demo/templates/service.conf.j2")),
    ("files/banner.txt", include_str!("../../../deploy/demo/files/banner.txt")),
];

/// Lines of the shipped policy, and what they become. The folder's intent is of low criticality, and a demo has no day to
/// wait. And an hour of five real seconds may be over before a busy host has begun what broke at once.
const FOR_A_FAST_CLOCK: [(&str, &str); 2] =
    [("low = \"24h\"", "low = \"0s\""), ("\nwindow = \"1h\"", "\nwindow = \"12h\"")];

/// What the shipped policy does not allow, and the owner of this host does.
const HOST_RULE: &str = r#"
[[rule]]
name = "own-host"
say = "automatic"
kinds = ["compliance_drift"]
planes = ["ansible"]
rings = ["lab"]
because = "the owner of this host lets its playbook run unasked"
"#;

/// What the demo is run with.
#[derive(Debug)]
pub(crate) struct DemoOptions {
    pub(crate) dir: std::path::PathBuf,
    pub(crate) listen: std::net::SocketAddr,
    pub(crate) speed: Speed,
    /// Real time after which an unfinished demo has failed.
    pub(crate) within: Duration,
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |e| Failure::new(Exit::Failed, format!("{what}: {e}"))
}

/// Real seconds between two messages to people.
const DIGEST_S: u32 = 5;

fn policy_text() -> String {
    let shipped = trueup_runner::DEFAULT_POLICY.to_owned();
    let edited = FOR_A_FAST_CLOCK.iter().fold(shipped, |text, (from, to)| text.replacen(from, to, 1));
    edited + HOST_RULE
}

/// Playbook, policy and the folder they keep true; and who is told what.
fn lay_out(dir: &Path, speed: Speed) -> Result<WorkConfig, Failure> {
    let write = |path: std::path::PathBuf, text: &str| {
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&path, text))
    };
    for (name, text) in PROJECT {
        write(dir.join("project").join(name), text).map_err(failed("cannot write the demo's playbook"))?;
    }
    let policy = dir.join("policy.toml");
    write(policy.clone(), &policy_text()).map_err(failed("cannot write the demo's policy"))?;
    let config = json!({
        "connections": [{
            "plane": "ansible",
            "name": "this-host",
            "tenant": fleet::HOST_TENANT,
            "project": dir.join("project"),
            "vars": {"demo_dir": dir.join("folder")},
        }],
        "policy": policy,
        "notifications": [{
            "name": "log", "topics": ["escalated", "blast_radius", "approval_wanted"], "log": {},
        }],
        "settings": {"digest_s": speed.shown_seconds(DIGEST_S).max(300)},
    });
    serde_json::from_value(config)
        .map_err(|e| Failure::new(Exit::Failed, format!("the demo's configuration: {e}")))
}

async fn has_ansible() -> Result<(), Failure> {
    let asked = tokio::process::Command::new("ansible-playbook").arg("--version").output().await;
    match asked {
        Ok(answer) if answer.status.success() => Ok(()),
        Ok(answer) => Err(format!("`ansible-playbook --version` ended with {}", answer.status)),
        Err(e) => Err(format!("ansible-playbook cannot be run: {e}")),
    }
    .map_err(|e| {
        Failure::new(Exit::Failed, e).advise("`make demo` installs it into .venv and puts that first in PATH")
    })
}

/// Starts with an empty state, whatever an earlier demo left.
fn clear(dir: &Path) -> Result<std::path::PathBuf, Failure> {
    if dir.join("redis").exists() || dir.join("project").exists() {
        std::fs::remove_dir_all(dir).map_err(failed("cannot remove the last demo's data"))?;
    }
    std::fs::create_dir_all(dir).map_err(failed("cannot create the demo's directory"))?;
    dir.canonicalize().map_err(failed("cannot resolve the demo's directory"))
}

/// Runs it to its end; the fleet goes on until the caller ends it.
pub(crate) async fn run(
    options: DemoOptions,
    shutdown: &Shutdown,
    say: &dyn Fn(&str),
) -> Result<(Dev, Summary), Failure> {
    has_ansible().await?;
    let dir = clear(&options.dir)?;
    let config = lay_out(&dir, options.speed)?;
    let mut dev = Dev::start(DevOptions {
        dir: dir.clone(),
        listen: options.listen,
        speed: Some(options.speed),
        config,
        apps: fleet::SEEDED,
    })
    .await?;
    say(&format!("API {}   try: trueup --url {} queue ls", dev.url, dev.url));

    let watched = {
        let told = tell(&dev, &dir, &options, say);
        tokio::select! {
            told = told => told,
            () = shutdown.requested() => Err(Failure::new(Exit::Failed, "interrupted")),
        }
    };
    match watched {
        Ok(summary) => Ok((dev, summary)),
        Err(e) => {
            // The reason counts; that the workers ended may be it.
            let _ = tokio::time::timeout(Duration::from_millis(10), dev.run_until(shutdown)).await;
            dev.end().await?;
            Err(e)
        }
    }
}

async fn tell(dev: &Dev, dir: &Path, options: &DemoOptions, say: &dyn Fn(&str)) -> Result<Summary, Failure> {
    let began = SystemClock.now();
    let story = story::Story::new();
    story.prepare(&dev.simulators)?;
    let intents = fleet::intents();
    let by = By {
        actor: "demo:operator".into(),
        correlation_id: CorrelationId::derive(&["demo", &began.timestamp_millis().to_string()]),
        now: dev.clock.now(),
    };
    for chunk in intents.chunks(200) {
        dev.store.apply(chunk, &by).await.map_err(unavailable)?;
    }
    let tenants = crate::dev::TENANTS.len();
    say(&format!("applied {} intents of {tenants} tenants on 4 planes", intents.len()));

    let mut progress = progress::Progress::new(&intents, dev.clock.now());
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut broke = false;
    loop {
        looks.tick().await;
        progress.look(dev).await?;
        if !broke && progress.all_true(intents.len()) {
            story.happen(&dev.simulators, dir)?;
            ask(dev, &story, &by.correlation_id).await?;
            say("the fleet is true to what was meant; now somebody breaks it");
            progress.broken_at(dev.clock.now());
            broke = true;
        }
        if let Some(line) = progress.line(dev.clock.now()) {
            say(&line);
        }
        let summary = Summary::of(&progress, &story, dir, dev, options.speed).await?;
        let took = (SystemClock.now() - began).to_std().unwrap_or_default();
        if broke && summary.as_expected || took > options.within {
            return Ok(summary);
        }
    }
}

/// Who made the two mistakes that hit many has a look asked for, as `trueup check` does: all of it is found at once.
async fn ask(dev: &Dev, story: &story::Story, correlation_id: &CorrelationId) -> Result<(), Failure> {
    let mut by_partition: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for app in story.staffs.iter().chain(&story.lab) {
        by_partition.entry(app.key().partition(dev.store.partitions())).or_default().push(app.key());
    }
    for (partition, keys) in by_partition {
        let (id, sweep) = job::request(partition, keys, correlation_id.clone());
        if let Some(queue) = sweep.queue(None) {
            let new = NewJob::of(id, queue, &sweep, None);
            dev.store.enqueue(partition, &[new]).await.map_err(unavailable)?;
        }
    }
    Ok(())
}

fn unavailable(e: trueup_engine::EngineError) -> Failure {
    Failure::new(Exit::Failed, e.to_string())
}

#[cfg(test)]
mod tests {
    use trueup_model::Criticality;
    use trueup_runner::policy::Policy;

    #[test]
    fn the_demos_policy_is_one_and_fits_its_clock() {
        let policy = Policy::parse(&super::policy_text()).unwrap_or_else(|e| panic!("{e}"));
        assert!(policy.tolerance(Criticality::Low).is_zero());
        assert!(!policy.tolerance(Criticality::High).is_zero());
        let caps = super::fleet::intents().first().and_then(|intent| policy.caps(intent));
        assert_eq!(caps.map(|caps| caps.window_s), Some(12 * 3_600));
    }
}
