//! The two mistakes that hit many applications at once: what became of them.

use std::collections::BTreeSet;

use serde::Serialize;
use trueup_model::{Approval, ApprovalState, DriftKind, EventKind, Finding, PlaneKind, cause};

use super::fleet;
use super::progress::Progress;
use super::story::Story;

/// The group that was deleted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct OneCause {
    tenant: &'static str,
    plane: PlaneKind,
    cause: String,
    /// Of the group that `trueup causes` shows.
    members: usize,
    /// Told to people.
    told: u64,
    /// In so many messages.
    messages: usize,
    as_expected: bool,
}

impl OneCause {
    pub(crate) fn look(story: &Story, findings: &[Finding], progress: &Progress) -> Self {
        let cause = format!("group:{}", fleet::staff());
        let (tenant, plane) = (fleet::STAFF_TENANT, PlaneKind::Jamf);
        let groups = cause::groups(findings);
        let members = groups
            .iter()
            .find(|g| {
                g.tenant == tenant
                    && g.plane == plane
                    && g.kind == DriftKind::ScopeMismatch
                    && g.cause == cause
            })
            .map_or(0, |g| g.members as usize);
        let of_message = |(to, data): &(String, serde_json::Value)| -> u64 {
            let groups = data["groups"].as_array().map(Vec::as_slice).unwrap_or_default();
            let about = groups.iter().filter(|g| to == tenant && g["cause"] == cause.as_str());
            about.filter_map(|g| g["members"].as_u64()).sum()
        };
        let told: Vec<u64> = progress.messages.iter().map(of_message).filter(|n| *n > 0).collect();
        let expected = story.staffs.len();
        Self {
            tenant,
            plane,
            cause,
            members,
            told: told.iter().sum(),
            messages: told.len(),
            // On a host that is slow, what broke together may be found in two parts.
            as_expected: members == expected
                && told.iter().sum::<u64>() == expected as u64
                && (1..=2).contains(&told.len()),
        }
    }
}

/// The lab site whose deployments were deleted.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BlastRadius {
    tenant: &'static str,
    plane: PlaneKind,
    broken: usize,
    /// Attempts that the demo's policy allows.
    cap: usize,
    attempts: usize,
    verified: usize,
    /// Neither attempted nor forgotten: people are asked.
    waiting: usize,
    tripped: u64,
    as_expected: bool,
}

impl BlastRadius {
    pub(crate) fn look(story: &Story, approvals: &[Approval], progress: &Progress) -> Self {
        let keys: BTreeSet<_> = story.lab.iter().map(|app| app.key()).collect();
        let happened = |kind: EventKind| {
            let all = keys.iter().filter_map(|key| progress.by_intent.get(key)).flatten();
            all.filter(|(k, _)| *k == kind).count()
        };
        let asked: BTreeSet<_> = (approvals.iter())
            .filter(|a| a.state == ApprovalState::Open && keys.contains(&a.intent))
            .map(|a| &a.intent)
            .collect();
        let (broken, cap) = (keys.len(), story.lab_cap());
        let (attempts, verified) =
            (happened(EventKind::RemediationStarted), happened(EventKind::RemediationVerified));
        let tripped = progress.count(EventKind::BlastRadiusTripped);
        Self {
            tenant: fleet::LAB_TENANT,
            plane: PlaneKind::ConfigMgr,
            broken,
            cap,
            attempts,
            verified,
            waiting: asked.len(),
            tripped,
            as_expected: attempts == cap && verified == cap && asked.len() == broken - cap && tripped == 1,
        }
    }
}

/// What is not as expected, if anything.
pub(crate) fn missing(one: &OneCause, blast: &BlastRadius) -> Vec<String> {
    let mut all = Vec::new();
    if !one.as_expected {
        all.push(format!(
            "{} is not one cause with all its members, told once: {} members, {} told in {} messages",
            one.cause, one.members, one.told, one.messages
        ));
    }
    if !blast.as_expected {
        all.push(format!(
            "the blast radius of {} on {}: {} attempts and {} verified of at most {}, {} waiting of {}, tripped {} times",
            blast.tenant,
            blast.plane,
            blast.attempts,
            blast.verified,
            blast.cap,
            blast.waiting,
            blast.broken - blast.cap,
            blast.tripped
        ));
    }
    all
}
