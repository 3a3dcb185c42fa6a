//! What a playbook run printed, read: the lines of our own callback (`trueup_callback.py`), or the document of
//! `ansible.posix.json`. Pure.
//!
//! # Guarantees
//! Whether a host differs is taken from `changed`, never from `diff` (which is there on unchanged tasks too). Content
//! of files is not read. What Ansible hid (`no_log`) has a task's name and nothing else.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use trueup_model::observed::{ComplianceSeen, MAX_LISTED, Observed};
use trueup_model::{Fault, Time};

use crate::redact::one_line;

/// Characters of one line about a difference.
const LINE: usize = 300;
/// Hosts beyond which a report is refused.
const MAX_HOSTS: usize = 10_000;

/// What is known about a host after the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// `task: path`, one for each difference.
    pub changed: Vec<String>,
    /// Tasks that cannot be checked.
    pub unverified: Vec<String>,
    /// Why it failed or was not reached.
    pub trouble: Vec<String>,
    pub stats: Stats,
}

/// Ansible's totals for a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Stats {
    pub ok: u64,
    pub changed: u64,
    pub unreachable: u64,
    pub failures: u64,
    pub skipped: u64,
}

impl Host {
    pub fn differs(&self) -> bool {
        self.stats.changed > 0 || !self.changed.is_empty()
    }
    pub fn is_lost(&self) -> bool {
        self.stats.unreachable > 0 || self.stats.failures > 0
    }
}

/// A run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub hosts: BTreeMap<String, Host>,
}

#[derive(Deserialize)]
struct Line {
    event: String,
    #[serde(default)]
    host: String,
    #[serde(default)]
    task: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    hosts: BTreeMap<String, Stats>,
}

/// `None` if it is neither shape, or not whole (the totals are missing).
pub fn parse(stdout: &str) -> Option<Report> {
    let report = ours(stdout).or_else(|| posix(stdout))?;
    (report.hosts.len() <= MAX_HOSTS).then_some(report)
}

fn ours(stdout: &str) -> Option<Report> {
    let mut report = Report::default();
    let mut whole = false;
    // Other callbacks of the project may print between our lines.
    let marked = stdout.lines().filter(|l| l.starts_with('{') && l.contains("\"trueup\""));
    for line in marked.filter_map(|l| serde_json::from_str::<Line>(l).ok()) {
        match line.event.as_str() {
            "stats" => {
                whole = true;
                for (host, stats) in line.hosts {
                    report.hosts.entry(host).or_default().stats = stats;
                }
            }
            "result" => {
                let host = report.hosts.entry(line.host).or_default();
                host.add(&line.status, &line.task, &line.paths, &line.msg);
            }
            _ => {}
        }
    }
    whole.then_some(report)
}

fn posix(stdout: &str) -> Option<Report> {
    let start = stdout.find('{')?;
    let document: Value = serde_json::Deserializer::from_str(&stdout[start..]).into_iter().next()?.ok()?;
    let stats: BTreeMap<String, Stats> = serde_json::from_value(document.get("stats")?.clone()).ok()?;
    let mut report = Report::default();
    for task in document.get("plays")?.as_array()?.iter().flat_map(|play| list(&play["tasks"])) {
        let name = task["task"]["name"].as_str().unwrap_or_default();
        for (host, result) in task["hosts"].as_object().into_iter().flatten() {
            let status = match result {
                r if is(r, "unreachable") => "unreachable",
                r if is(r, "failed") => "failed",
                r if is(r, "changed") => "changed",
                r if unverified(r) => "unverified",
                _ => continue,
            };
            let message = if hidden(result) { "" } else { result["msg"].as_str().unwrap_or_default() };
            report.hosts.entry(host.clone()).or_default().add(status, name, &paths(result), message);
        }
    }
    for (host, stats) in stats {
        report.hosts.entry(host).or_default().stats = stats;
    }
    Some(report)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is(result: &Value, field: &str) -> bool {
    result[field].as_bool().unwrap_or(false)
}

fn hidden(result: &Value) -> bool {
    is(result, "_ansible_no_log") || result.get("censored").is_some()
}

/// Tasks that do nothing in check mode; tells them from skipped ones where `no_log` hides the reason.
const UNCHECKABLE: [&str; 5] = ["command", "shell", "raw", "script", "expect"];

/// Skipped because it cannot run in check mode, rather than by a condition or an empty loop.
fn unverified(result: &Value) -> bool {
    let items = list(&result["results"]);
    if !items.is_empty() {
        return items.iter().any(unverified);
    }
    if hidden(result) {
        let action = result["action"].as_str().unwrap_or_default();
        return is(result, "skipped") && UNCHECKABLE.contains(&action.rsplit('.').next().unwrap_or_default());
    }
    let reasoned =
        ["skip_reason", "skipped_reason", "false_condition"].iter().any(|key| result.get(*key).is_some());
    is(result, "skipped") && !reasoned
}

/// Which things differ; never their content.
fn paths(result: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if hidden(result) {
        return found;
    }
    let mut add = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        let text = text.split(" (content)").next().and_then(|t| t.split(" (file attributes)").next());
        if let Some(text) = text.filter(|t| !t.is_empty())
            && !found.iter().any(|f| f == text)
        {
            found.push(text.to_owned());
        }
    };
    for item in list(&result["results"]).iter().filter(|r| is(r, "changed")) {
        for path in paths(item) {
            add(&Value::from(path));
        }
    }
    let diffs = &result["diff"];
    for diff in if diffs.is_array() { list(diffs) } else { std::slice::from_ref(diffs) } {
        add(&diff["after_header"]);
        add(&diff["before"]["path"]);
    }
    add(&result["dest"]);
    add(&result["path"]);
    found
}

impl Host {
    fn add(&mut self, status: &str, task: &str, paths: &[String], message: &str) {
        let (list, rest) = match status {
            "changed" => (&mut self.changed, paths.join(", ")),
            "unverified" => (&mut self.unverified, "not verified, cannot run in check mode".to_owned()),
            "failed" => (&mut self.trouble, format!("failed: {message}")),
            "unreachable" => (&mut self.trouble, format!("unreachable: {message}")),
            _ => return,
        };
        if list.len() < MAX_LISTED {
            let line = if rest.is_empty() { task.to_owned() } else { format!("{task}: {rest}") };
            list.push(one_line(&line, LINE));
        }
    }
}

impl Report {
    /// What a check run says about the hosts. `at`: when it began.
    pub fn observed(&self, at: Time) -> Result<Observed, Fault> {
        if self.hosts.is_empty() {
            return Err(Fault::permanent(
                "the playbook matched no host: check target.inventory, target.limit and `hosts:`",
            ));
        }
        let mut seen = ComplianceSeen { reported: Some(at), ..ComplianceSeen::default() };
        for (name, host) in &self.hosts {
            seen.devices = seen.devices.saturating_add(1);
            if host.differs() {
                seen.noncompliant = seen.noncompliant.saturating_add(1);
                seen.failing.push(one_line(name, LINE));
            } else if host.is_lost() || !host.unverified.is_empty() {
                seen.unknown = seen.unknown.saturating_add(1);
            }
        }
        if self.hosts.values().all(|h| h.is_lost() && !h.differs()) {
            return Err(self.lost());
        }
        seen.failing.truncate(MAX_LISTED);
        seen.details = self.lines(|h| &h.changed);
        seen.details.extend(self.lines(|h| &h.trouble));
        seen.details.extend(self.lines(|h| &h.unverified));
        seen.details.truncate(MAX_LISTED);
        Ok(Observed { at, assignments: None, versions: None, compliance: Some(seen) })
    }

    /// The hosts that differ, of how many.
    pub fn changed_hosts(&self) -> (usize, usize) {
        (self.hosts.values().filter(|h| h.differs()).count(), self.hosts.len())
    }

    /// Why hosts were lost: passing by itself if all were unreachable.
    pub fn lost(&self) -> Fault {
        let lines = self.lines(|h| &h.trouble);
        let what = one_line(&lines.join("; "), 2 * LINE);
        if self.hosts.values().any(|h| h.stats.failures > 0) {
            return Fault::permanent(format!("tasks failed, mend the playbook or the hosts: {what}"));
        }
        Fault::transient(format!("hosts cannot be reached: {what}"))
    }

    fn lines(&self, of: impl Fn(&Host) -> &Vec<String>) -> Vec<String> {
        let line = |(name, line): (&String, &String)| one_line(&format!("{name}: {line}"), LINE);
        let all = self.hosts.iter().flat_map(|(name, host)| of(host).iter().map(move |l| (name, l)));
        all.take(MAX_LISTED).map(line).collect()
    }
}
