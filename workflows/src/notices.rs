//! The words for people: what each notice says, and whether anybody wants it.
//!
//! # Guarantees
//! A notice says what, where, since when and why, and which command to type next. One that no route wants is never
//! written: an outbox that nobody reads would only fill.

use trueup_model::{
    Approval, ApprovalKind, CorrelationId, Delta, Finding, Intent, Notice, NoticeId, Plan, Route, Severity,
    Time, Topic, Trip, Write,
};

use crate::{Rules, compare::bounded};

/// Lines of a list that a notice shows.
const MAX_LINES: usize = 10;

/// Notices of one job about one intent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notices<'a> {
    routes: &'a [Route],
    intent: &'a Intent,
    now: Time,
    correlation_id: &'a CorrelationId,
}

impl<'a> Notices<'a> {
    pub(crate) fn of(
        rules: &'a Rules,
        intent: &'a Intent,
        correlation_id: &'a CorrelationId,
        now: Time,
    ) -> Self {
        Self { routes: &rules.routes, intent, now, correlation_id }
    }

    /// Drift that concerns security was found.
    pub(crate) fn security(&self, finding: &Finding) -> Option<Write> {
        let subject =
            format!("Security: {} on {} ({})", finding.kind, self.place(), finding.severity.as_str());
        let mut text = self.what(finding);
        text.push_str(&format!("Decided: {}\n", finding.decision.verdict.as_str()));
        text.push_str(&why(finding.decision.reasons.iter().map(|r| format!("{}: {}", r.rule, r.because))));
        text.push_str(&next(finding));
        let id = Notice::id_of(Topic::SecurityDrift, &finding.id, finding.opened_at);
        self.write(id, Topic::SecurityDrift, finding, finding.severity, subject, text)
    }

    /// Somebody has to decide.
    pub(crate) fn approval(&self, finding: &Finding, approval: &Approval) -> Option<Write> {
        let (who, list) = match approval.kind {
            ApprovalKind::Review => ("Review", "review"),
            ApprovalKind::Cab => ("Change advisory board", "cab"),
        };
        let subject = format!("{who} wanted: {} on {}", finding.kind, self.place());
        let mut text = self.what(finding);
        text.push_str(&why(approval.because.iter().cloned()));
        text.push_str(&planned("What would be done:", &approval.plan));
        text.push_str(&format!("All that wait:  trueup get approvals --kind {list}\n"));
        text.push_str(&next(finding));
        // A question that is asked again, about something else, is another one.
        let id = NoticeId::derive(&[Topic::ApprovalWanted.as_str(), approval.id.as_str()]);
        self.write(id, Topic::ApprovalWanted, finding, finding.severity, subject, text)
    }

    /// The ladder is at its end. `last`: the last action of it.
    pub(crate) fn escalated(
        &self,
        finding: &Finding,
        attempts: u8,
        tried: &Plan,
        last: Option<Time>,
    ) -> Option<Write> {
        let subject = format!("Not remediated: {} on {}", finding.kind, self.place());
        let mut text = format!("Still there after {attempts} attempts; nothing more is tried.\n");
        text.push_str(&self.what(finding));
        text.push_str(&planned("Tried, and now for the change advisory board to decide:", tried));
        text.push_str(&next(finding));
        // An intent that was changed climbs another ladder for a finding that is open still: that is told, too.
        let id = Notice::id_of(Topic::Escalated, &finding.id, last.unwrap_or(finding.opened_at));
        self.write(id, Topic::Escalated, finding, finding.severity, subject, text)
    }

    /// More remediation at once than policy allows. `finding` is of the intent that would have been one too many.
    pub(crate) fn blast_radius(&self, finding: &Finding, trip: &Trip) -> Option<Write> {
        let Trip { tenant, plane, at, cap } = trip;
        let subject = format!("Remediation stopped: blast radius of {tenant} on {plane}");
        let text = format!(
            "At {} more drift was to be remediated at once than policy allows: {cap}.\n\
             From now on everything that would be remediated automatically for tenant {tenant} on {plane} waits for a \
             review. What has begun goes on; other tenants and planes are not concerned.\n\
             The one that was too many: {} on {}\n\
             What drifted:  trueup get findings --open --tenant {tenant}\n\
             If that is meant to be remediated:  trueup blast rearm {tenant} {plane}\n",
            shown(*at),
            finding.kind,
            self.place(),
        );
        // It may trip again for the same finding, after it was rearmed.
        let at = at.timestamp_millis().to_string();
        let id = NoticeId::derive(&[Topic::BlastRadius.as_str(), tenant, plane.as_str(), &at]);
        self.write(id, Topic::BlastRadius, finding, Severity::Critical, subject, text)
    }

    fn write(
        &self,
        id: NoticeId,
        topic: Topic,
        finding: &Finding,
        severity: Severity,
        subject: String,
        text: String,
    ) -> Option<Write> {
        let notice = Notice {
            id,
            topic,
            at: self.now,
            intent: self.intent.key.clone(),
            plane: self.intent.plane(),
            kind: finding.kind,
            severity,
            finding: finding.id.clone(),
            causes: finding.causes.clone(),
            subject,
            text,
            correlation_id: self.correlation_id.clone(),
        };
        self.routes.iter().any(|r| r.wants(&notice)).then(|| Write::Notice(Box::new(notice)))
    }

    fn place(&self) -> String {
        let app = self.intent.target.app().map(|app| format!(" ({})", bounded(app.name))).unwrap_or_default();
        format!("{} {}{app}", self.intent.plane(), self.intent.key)
    }

    fn what(&self, finding: &Finding) -> String {
        let mut text = format!(
            "{} on {}, since {}, {} devices affected:\n",
            finding.kind,
            self.place(),
            shown(finding.opened_at),
            finding.affected_devices
        );
        let line =
            |d: &Delta| format!("{}: meant {}, is {}", d.path, bounded(&d.desired), bounded(&d.observed));
        text.push_str(&lines(finding.delta.iter().map(line)));
        text
    }
}

fn why(reasons: impl Iterator<Item = String>) -> String {
    format!("Because:\n{}", lines(reasons))
}

fn planned(title: &str, plan: &Plan) -> String {
    if plan.actions.is_empty() {
        return "There is no action that would mend it; somebody has to do it by hand.\n".into();
    }
    format!("{title}\n{}", lines(plan.actions.iter().map(|p| bounded(&p.summary))))
}

fn next(finding: &Finding) -> String {
    format!("The whole story:  trueup explain {}\n", finding.id)
}

/// Indented, the first few; the rest is counted.
fn lines(all: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    let mut more = 0_usize;
    for (n, line) in all.enumerate() {
        if n < MAX_LINES {
            text.push_str(&format!("  {line}\n"));
        } else {
            more += 1;
        }
    }
    if more > 0 {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}

fn shown(at: Time) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
