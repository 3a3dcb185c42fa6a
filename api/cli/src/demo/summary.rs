//! Whether the fleet ended as expected, with the figures that say so.

use std::path::Path;

use serde::Serialize;
use trueup_model::{ApprovalKind, ApprovalState, EventKind, Finding, IntentKey, Time};

use super::budgets::Connection;
use super::fleet;
use super::many::{self, BlastRadius, OneCause};
use super::progress::Progress;
use super::story::{Counted, Story};
use crate::dev::{Dev, Speed};
use crate::failure::Failure;

/// A wait may be longer than the ladder says by so many real seconds, each of them many minutes of shown time: jobs take
/// real time, and more of it on a host that is busy. It is never shorter.
const LATE_S: u32 = 10;

/// The ladder, in minutes.
const WAITS: [f64; 3] = [60.0, 120.0, 240.0];

/// Waits of one escalated intent, in minutes of shown time: from the action of each attempt to the next attempt, then to the
/// escalation.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Climbed {
    intent: IntentKey,
    attempts: usize,
    failed_attempts: usize,
    waits_minutes: Vec<f64>,
    as_expected: bool,
}

/// What `make demo ONCE=1` prints.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) as_expected: bool,
    /// What is not (yet) as expected.
    pub(crate) missing: Vec<String>,
    intents: usize,
    tenants: usize,
    /// Intents that drifted, by plane and kind.
    drift_detected: Counted,
    remediation_attempts: u64,
    remediations_verified: u64,
    remediations_failed: u64,
    open_reviews: usize,
    open_cab: usize,
    escalated: Vec<Climbed>,
    one_cause: OneCause,
    blast_radius: BlastRadius,
    folder: Folder,
    pub(crate) planes: Vec<Connection>,
    dead_letters: u64,
}

/// The real folder on this host.
#[derive(Debug, Clone, Serialize)]
struct Folder {
    drifted: bool,
    remediated: bool,
    verified: bool,
    restored_on_disk: bool,
}

impl Folder {
    fn look(progress: &Progress, dir: &Path) -> Self {
        let host = fleet::host();
        let has = |kind| progress.with(kind).contains(&host);
        let folder = dir.join("folder");
        let access = std::fs::read_to_string(folder.join("access.list")).unwrap_or_default();
        Self {
            drifted: has(EventKind::DriftDetected),
            remediated: has(EventKind::RemediationApplied),
            verified: has(EventKind::RemediationVerified),
            restored_on_disk: folder.join("banner.txt").exists()
                && !folder.join("conf.d/backdoor.conf").exists()
                && access.contains("allow 192.0.2.0/24"),
        }
    }
    fn fine(&self) -> bool {
        self.drifted && self.remediated && self.verified && self.restored_on_disk
    }
}

/// The last climb of an intent up the ladder.
fn climbed(intent: &IntentKey, progress: &Progress, speed: Speed) -> Climbed {
    let all = progress.by_intent.get(intent).map_or(&[][..], Vec::as_slice);
    let of = |kind: EventKind| all.iter().filter(move |(k, _)| *k == kind).map(|(_, at)| *at);
    let attempts = of(EventKind::RemediationStarted).count();
    // The ladder counts from the last action of an attempt.
    let begun = of(EventKind::RemediationStarted).skip(1).chain(of(EventKind::Escalated).take(1));
    let waited = |next: Time| {
        let acted = of(EventKind::RemediationApplied).filter(|at| *at <= next).max()?;
        Some((next - acted).num_seconds() as f64 / 60.0)
    };
    let waits: Vec<f64> = begun.filter_map(waited).collect();
    let late = f64::from(speed.shown_seconds(LATE_S)) / 60.0;
    let in_time = |(wait, due): (&f64, &f64)| *wait >= *due && *wait <= due + late;
    let failed_attempts = of(EventKind::RemediationFailed).count();
    let as_expected =
        attempts == 3 && failed_attempts == 3 && waits.len() == 3 && waits.iter().zip(&WAITS).all(in_time);
    Climbed { intent: intent.clone(), attempts, failed_attempts, waits_minutes: waits, as_expected }
}

async fn findings(dev: &Dev) -> Result<Vec<Finding>, Failure> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = dev.store.list_findings(cursor.as_deref(), 500).await.map_err(super::unavailable)?;
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

/// `intune: 3 scope_mismatch, 2 version_mismatch; jamf: …`
fn shown(counted: &Counted) -> String {
    let planes = counted.iter().map(|(plane, kinds)| {
        let kinds: Vec<String> = kinds.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        format!("{plane}: {}", kinds.join(", "))
    });
    planes.collect::<Vec<_>>().join("; ")
}

impl Summary {
    pub(crate) async fn of(
        progress: &Progress,
        story: &Story,
        dir: &Path,
        dev: &Dev,
        speed: Speed,
    ) -> Result<Self, Failure> {
        let failed = super::unavailable;
        let approvals = dev.store.list_approvals(None, 1_000).await.map_err(failed)?.items;
        let findings = findings(dev).await?;
        let one_cause = OneCause::look(story, &findings, progress);
        let blast_radius = BlastRadius::look(story, &approvals, progress);
        let planes = Connection::all(dev, progress.seconds(dev.clock.now())).await?;
        let open =
            |kind| approvals.iter().filter(|a| a.state == ApprovalState::Open && a.kind == kind).count();
        let dead_letters = dev.store.depths().await.map_err(failed)?.iter().map(|q| q.dead).sum();
        let escalated: Vec<Climbed> = progress
            .with(EventKind::Escalated)
            .into_iter()
            .map(|intent| climbed(intent, progress, speed))
            .collect();
        let folder = Folder::look(progress, dir);

        let mut missing = many::missing(&one_cause, &blast_radius);
        let (found, expected) = (progress.drift(), story.expected());
        if found != expected {
            missing.push(format!("found {}, expected {}", shown(&found), shown(&expected)));
        }
        let not_fine = planes.iter().filter(|c| !c.fine()).count();
        let connections = crate::dev::TENANTS.len() * crate::dev::PLANES.len();
        if not_fine > 0 || planes.len() != connections {
            missing.push(format!(
                "{} of {connections} connections kept within their budgets and never refused",
                planes.len() - not_fine
            ));
        }
        let verified = progress.with(EventKind::RemediationVerified);
        let left = |wanted: Vec<IntentKey>, done: &dyn Fn(&IntentKey) -> bool| {
            wanted.iter().filter(|i| !done(i)).count()
        };
        let mut require = |n: usize, what: &str| {
            if n > 0 {
                missing.push(format!("{n} {what}"));
            }
        };
        require(left(story.mended(), &|i| verified.contains(i)), "not mended and verified");
        require(
            left(story.waiting(), &|i| approvals.iter().any(|a| a.intent == *i)),
            "without a question to people",
        );
        require(
            left(story.escalated(), &|i| escalated.iter().any(|c| c.intent == *i && c.as_expected)),
            "not escalated after attempts at 0, 1 and 3 hours and a last look at 7",
        );
        require(usize::from(!folder.fine()), "folder not drifted, mended, verified and restored");
        require(usize::try_from(dead_letters).unwrap_or(usize::MAX), "dead letters");
        if open(ApprovalKind::Review) == 0 {
            missing.push("no open review".into());
        }
        if open(ApprovalKind::Cab) == 0 {
            missing.push("no open question to the change board".into());
        }
        Ok(Self {
            as_expected: missing.is_empty(),
            missing,
            intents: fleet::intents().len(),
            tenants: crate::dev::TENANTS.len(),
            drift_detected: found,
            remediation_attempts: progress.count(EventKind::RemediationStarted),
            remediations_verified: progress.count(EventKind::RemediationVerified),
            remediations_failed: progress.count(EventKind::RemediationFailed),
            open_reviews: open(ApprovalKind::Review),
            open_cab: open(ApprovalKind::Cab),
            escalated,
            one_cause,
            blast_radius,
            folder,
            planes,
            dead_letters,
        })
    }
}
