//! Ansible: hosts that a playbook manages. The playbook is the desired state; a check run says what differs from it,
//! a real run mends it.
//!
//! Runs `ansible-playbook` of ansible-core as a process, below one project folder, with a callback of our own that
//! prints bounded JSON lines.
//!
//! # Guarantees
//! - Nothing outside the project folder is run. No shell; no option can be smuggled in through a target.
//! - A check run changes nothing on the hosts (as far as the modules keep that promise) and never reports what it could
//!   not verify as in sync.
//! - At most `parallel` runs at a time; equal targets of one call share a run; a real run has the project to itself.
//! - A call ends within [`LONGEST`]: who finds the project busy for too long is asked to come back.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use trueup_model::job::Check;
use trueup_model::target::AnsibleTarget;
use trueup_model::{Action, EffectKey, Fault, Observed, Receipt, SharedClock, Target};

use crate::cli::{self, CliError, Finished, Program};
use crate::redact::{Redaction, one_line};
use crate::secret::SecretRef;
use crate::{ConfigError, Plane, Secrets};

pub mod report;
mod turns;

use report::Report;
pub use turns::LONGEST;
use turns::Turns;

const CALLBACK: &str = include_str!("ansible/trueup_callback.py");
const CALLBACK_NAME: &str = "trueup_callback";
/// Bytes kept of each output of a run.
const MAX_OUTPUT: usize = 8 * 1024 * 1024;
/// What a run inherits from our environment, if set.
const INHERITED: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSH_AUTH_SOCK", "ANSIBLE_CONFIG"];

/// A folder with playbooks and inventories.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnsibleConfig {
    /// For people, unique.
    pub name: String,
    /// Whose intents it serves.
    pub tenant: String,
    /// The folder; playbooks and inventories of targets are paths below it. An `ansible.cfg` in it is used.
    pub project: PathBuf,
    /// The program. Default `ansible-playbook`, from PATH.
    #[serde(default = "program")]
    pub ansible_playbook: PathBuf,
    /// A run is ended after this many seconds. At most 900. Default 300.
    #[serde(default = "timeout_seconds")]
    pub timeout_seconds: u32,
    /// Runs at a time. Default 2.
    #[serde(default = "parallel")]
    pub parallel: u32,
    /// Given to every run as `--extra-vars`. Visible in the process list: no secrets.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, serde_json::Value>,
    /// More environment variables that a run inherits, by name (`ANSIBLE_VAULT_PASSWORD_FILE`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Environment variables whose values must not appear in anything that is kept or shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact_env: Vec<String>,
    /// Files whose content must not appear in anything that is kept or shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redact_files: Vec<PathBuf>,
}

fn program() -> PathBuf {
    "ansible-playbook".into()
}
fn timeout_seconds() -> u32 {
    300
}
fn parallel() -> u32 {
    2
}

#[derive(Debug)]
pub struct Ansible {
    config: AnsibleConfig,
    clock: SharedClock,
    redaction: Redaction,
    /// Holds the callback; removed with the connection.
    plugins: tempfile::TempDir,
    turns: Turns,
}

impl Ansible {
    pub fn new(
        config: &AnsibleConfig,
        clock: SharedClock,
        secrets: &dyn Secrets,
    ) -> Result<Self, ConfigError> {
        let mut config = config.clone();
        let turns = Turns::new(config.parallel, config.timeout_seconds)?;
        let absolute = |field: &str, path: &Path| {
            std::path::absolute(path).map_err(|e| ConfigError::Invalid(format!("{field}: {e}")))
        };
        config.project = absolute("project", &config.project)?;
        // A bare name is looked up in PATH; a path must not depend on the folder the program runs in.
        if config.ansible_playbook.components().count() > 1 {
            config.ansible_playbook = absolute("ansible_playbook", &config.ansible_playbook)?;
        }
        let sources = config.redact_env.iter().cloned().map(SecretRef::Env);
        let sources = sources.chain(config.redact_files.iter().cloned().map(SecretRef::File));
        let needles: Vec<_> = sources.map(|from| secrets.read(&from)).collect::<Result<_, _>>()?;
        let cannot =
            |e: std::io::Error| ConfigError::Invalid(format!("cannot write the callback plugin: {e}"));
        let plugins = tempfile::Builder::new().prefix("trueup-ansible-").tempdir().map_err(cannot)?;
        std::fs::write(plugins.path().join(format!("{CALLBACK_NAME}.py")), CALLBACK).map_err(cannot)?;
        Ok(Self { clock, redaction: Redaction::new(needles), plugins, turns, config })
    }

    /// The command, as data.
    fn program(&self, args: Vec<OsString>) -> Program {
        let set = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        Program {
            path: self.config.ansible_playbook.clone(),
            args,
            cwd: self.config.project.clone(),
            env: vec![
                ("ANSIBLE_CALLBACK_PLUGINS".into(), self.plugins.path().into()),
                set("ANSIBLE_STDOUT_CALLBACK", CALLBACK_NAME),
                set("ANSIBLE_NOCOLOR", "1"),
                set("ANSIBLE_RETRY_FILES_ENABLED", "0"),
                set("ANSIBLE_NO_TARGET_SYSLOG", "1"),
                // Ansible refuses to run without a UTF-8 locale.
                set("LC_ALL", "C.UTF-8"),
            ],
            env_allowed: INHERITED
                .iter()
                .map(ToString::to_string)
                .chain(self.config.env.iter().cloned())
                .collect(),
            timeout: Duration::from_secs(u64::from(self.config.timeout_seconds.max(1))),
            max_output: MAX_OUTPUT,
            redaction: self.redaction.clone(),
        }
    }

    fn args(&self, target: &AnsibleTarget, check: bool) -> Result<Vec<OsString>, Fault> {
        let mut args: Vec<OsString> = Vec::new();
        if check {
            args.extend(["--check".into(), "--diff".into()]);
        }
        args.extend(["-i".into(), self.below("inventory", &target.inventory)?.into()]);
        if let Some(limit) = &target.limit {
            if limit.is_empty() || limit.starts_with(['-', '@']) {
                return Err(Fault::permanent(format!(
                    "target.limit: '{}' is no host pattern",
                    limit.escape_default()
                )));
            }
            args.extend(["--limit".into(), limit.into()]);
        }
        if !self.config.vars.is_empty() {
            let vars = serde_json::to_string(&self.config.vars).unwrap_or_default();
            args.extend(["--extra-vars".into(), vars.into()]);
        }
        args.push(self.below("playbook", &target.playbook)?.into());
        Ok(args)
    }

    /// A path below the project folder, links followed.
    fn below(&self, field: &str, path: &str) -> Result<PathBuf, Fault> {
        let wrong = |why: &str| {
            let project = self.config.project.display();
            Fault::permanent(format!(
                "target.{field}: '{}' {why} (project folder: {project})",
                path.escape_default()
            ))
        };
        let plain =
            Path::new(path).components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if path.is_empty() || !plain {
            return Err(wrong("is not a path below the project folder"));
        }
        let project = self.config.project.canonicalize().map_err(|e| {
            Fault::permanent(format!(
                "project folder {}: {e}; correct `project`",
                self.config.project.display()
            ))
        })?;
        let full = project.join(path).canonicalize().map_err(|_| wrong("does not exist"))?;
        if full.starts_with(&project) { Ok(full) } else { Err(wrong("leads out of the project folder")) }
    }

    async fn run(&self, target: &AnsibleTarget, check: bool) -> Result<(i32, Report), Fault> {
        let args = self.args(target, check)?;
        let _turn = self.turns.wait(check, &self.clock).await?;
        let span = tracing::info_span!(
            "ansible-playbook",
            check,
            playbook = target.playbook,
            exit_code = tracing::field::Empty
        );
        let program = self.program(args);
        let finished =
            tracing::Instrument::instrument(cli::run(&program), span.clone()).await.map_err(broken)?;
        span.record("exit_code", finished.code);
        read(&finished)
    }

    async fn look(&self, target: &AnsibleTarget) -> Result<Observed, Fault> {
        let at = self.clock.now();
        let (_, report) = self.run(target, true).await?;
        report.observed(at)
    }
}

/// A program that could not run to its end.
fn broken(error: CliError) -> Fault {
    match error {
        CliError::Missing(name) => Fault::permanent(format!(
            "there is no program '{name}': install ansible-core or set `ansible_playbook` of the connection"
        )),
        CliError::TimedOut { .. } => Fault::transient(format!(
            "{error}; raise `timeout_seconds` of the connection if the playbook needs longer"
        )),
        CliError::Spawn { .. } => {
            Fault::permanent(format!("{error}; check `ansible_playbook` and `project` of the connection"))
        }
        CliError::Lost { .. } => Fault::transient(error.to_string()),
    }
}

/// Exit codes: 0 fine; 2 tasks failed; 4 hosts unreachable, or the playbook does not parse; 1 and others: errors.
fn read(finished: &Finished) -> Result<(i32, Report), Fault> {
    let Some(code) = finished.code else {
        return Err(Fault::transient("ansible-playbook was ended by a signal"));
    };
    if let Some(report) = report::parse(&finished.stdout.text) {
        return Ok((code, report));
    }
    let said = first_error(&finished.stderr.text);
    if finished.stdout.cut {
        return Err(Fault::permanent(format!("ansible-playbook printed more than {MAX_OUTPUT} bytes")));
    }
    if code == 0 {
        let printed = one_line(&finished.stdout.text, 120);
        return Err(Fault::permanent(format!(
            "ansible-playbook printed something that is no report: '{printed}'; check `ansible_playbook` of the connection"
        )));
    }
    Err(Fault::permanent(format!("ansible-playbook ended with {code} and without a report: {said}")))
}

/// The lines from the first error on, as one line.
fn first_error(stderr: &str) -> String {
    let start = stderr.find("[ERROR]").or_else(|| stderr.find("ERROR")).unwrap_or(0);
    let said = one_line(&stderr[start..], 300);
    if said.is_empty() { "it said nothing".into() } else { said }
}

#[async_trait]
impl Plane for Ansible {
    async fn observe(&self, checks: &[Check]) -> Vec<Result<Observed, Fault>> {
        let mut wanted: Vec<&AnsibleTarget> = checks.iter().filter_map(|c| ansible(&c.target)).collect();
        wanted.sort();
        wanted.dedup();
        let looks: Vec<_> = wanted.iter().map(|target| Box::pin(self.look(target))).collect();
        let seen: BTreeMap<_, _> =
            wanted.iter().copied().zip(futures::future::join_all(looks).await).collect();
        let answer = |check: &Check| match ansible(&check.target).and_then(|t| seen.get(t)) {
            Some(answer) => answer.clone(),
            None => Err(Fault::bug(format!("a target of {} was sent to ansible", check.target.plane()))),
        };
        checks.iter().map(answer).collect()
    }

    async fn apply(&self, target: &Target, action: &Action, _key: &EffectKey) -> Result<Receipt, Fault> {
        let (Some(target), Action::Comply { .. }) = (ansible(target), action) else {
            return Err(Fault::bug("on plane ansible the only action is to run the target's playbook"));
        };
        let (code, report) = self.run(target, false).await?;
        let (changed, of) = report.changed_hosts();
        if code != 0 {
            return Err(report.lost());
        }
        if of == 0 {
            return report
                .observed(self.clock.now())
                .map(|_| Receipt { note: String::new(), changed: false });
        }
        Ok(Receipt {
            note: format!("{} changed {changed} of {of} hosts", target.playbook),
            changed: changed > 0,
        })
    }

    async fn probe(&self) -> Result<String, Fault> {
        if !self.config.project.is_dir() {
            let project = self.config.project.display();
            return Err(Fault::permanent(format!(
                "project folder {project} does not exist; correct `project`"
            )));
        }
        let finished = cli::run(&self.program(vec!["--version".into()])).await.map_err(broken)?;
        let version = one_line(finished.stdout.text.lines().next().unwrap_or_default(), 100);
        if finished.code == Some(0) && version.starts_with("ansible-playbook") {
            return Ok(version);
        }
        let said = first_error(&finished.stderr.text);
        Err(Fault::permanent(format!(
            "'{}' is not Ansible's: {said}",
            self.config.ansible_playbook.display()
        )))
    }
}

fn ansible(target: &Target) -> Option<&AnsibleTarget> {
    match target {
        Target::Ansible(target) => Some(target),
        _ => None,
    }
}
