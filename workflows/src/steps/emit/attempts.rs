//! Where an intent stands on the ladder, as far as `emit` decides it.

use trueup_model::{Attempts, Drift, DriftKind, Duration, Ladder, Rung, Time, job};

/// What the observation says about the attempt that was open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// None was open, or its outcome cannot be told yet.
    Nothing,
    /// These are still there.
    Failed {
        attempt: u8,
        kinds: Vec<DriftKind>,
    },
    Verified {
        attempt: u8,
        kinds: Vec<DriftKind>,
    },
}

/// Judges the open attempt, and resets the counter where nothing of what was to be mended is drifted any more, or the
/// generation grew. An attempt of which nothing was done is neither: it is taken back. The comparators see to it that drift is judged only by evidence newer than the action.
pub(super) fn judge(attempts: &mut Attempts, job: &job::Emit) -> Verdict {
    if attempts.made == 0 || attempts.generation != job.generation {
        *attempts = Attempts::default();
        return Verdict::Nothing;
    }
    if attempts.take_back().is_some() && attempts.made == 0 {
        return Verdict::Nothing;
    }
    let drifted = |k: &&DriftKind| job.drifts.iter().any(|d| d.kind == **k);
    let still: Vec<DriftKind> = attempts.kinds.iter().filter(drifted).copied().collect();
    let unjudged = attempts.kinds.iter().any(|k| job.unjudged_kinds.contains(k));
    let attempt = attempts.made;
    if !still.is_empty() {
        let was_open = std::mem::take(&mut attempts.open);
        return if was_open { Verdict::Failed { attempt, kinds: still } } else { Verdict::Nothing };
    }
    if unjudged {
        return Verdict::Nothing;
    }
    let before = std::mem::take(attempts);
    // What a rule hides from now on was not mended.
    let hidden = before.kinds.iter().any(|k| job.ignored.iter().any(|i| i.kind == *k));
    if before.open && !hidden { Verdict::Verified { attempt, kinds: before.kinds } } else { Verdict::Nothing }
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    Attempt(u8),
    Escalate,
    /// Nothing now; look again then, if that is sooner than the next check.
    Look(Option<Time>),
}

/// `ready`: whether there is drift that policy lets us mend now.
pub(super) fn follow(
    attempts: &Attempts,
    ready: bool,
    ladder: &Ladder,
    now: Time,
    again: Duration,
) -> Follow {
    if let (true, Some(last)) = (attempts.open, attempts.last_at) {
        // Not judged yet: no next attempt, however long it takes.
        let over = ladder.over(attempts.made, last);
        return Follow::Look(Some(if now < over { over } else { now + again }));
    }
    if !ready || attempts.escalated {
        return Follow::Look(None);
    }
    match ladder.rung(attempts.made, attempts.last_at, now) {
        Rung::Attempt(n) => Follow::Attempt(n),
        Rung::Wait(at) => Follow::Look(Some(at)),
        Rung::Escalate => Follow::Escalate,
    }
}

/// The attempt that begins now. What an earlier one was to mend and nobody could judge since stays on the list. When it
/// acts is for `remediate` to say: it may wait in its queue for long, or never come to it.
pub(super) fn begin(
    before: &Attempts,
    n: u8,
    drifts: &[&Drift],
    unjudged: &[DriftKind],
    generation: u64,
) -> Attempts {
    let open_still = before.kinds.iter().filter(|k| unjudged.contains(k)).copied();
    let mut kinds: Vec<DriftKind> = drifts.iter().map(|d| d.kind).chain(open_still).collect();
    kinds.sort_unstable();
    kinds.dedup();
    Attempts {
        made: n,
        last_at: before.last_at,
        open: true,
        acted: false,
        escalated: false,
        generation,
        kinds,
        trace: before.trace.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_model::DateTime;

    #[test]
    fn what_follows() {
        let t = |minutes| DateTime::UNIX_EPOCH + Duration::minutes(minutes);
        let attempts = |made, open, escalated| Attempts {
            made,
            last_at: (made > 0).then(|| t(0)),
            open,
            escalated,
            ..Attempts::default()
        };
        let look = |minutes| Follow::Look(Some(t(minutes)));
        // attempts, whether anything is ready, minutes since the last attempt
        let table = [
            (attempts(0, false, false), true, 0, Follow::Attempt(1)),
            (attempts(0, false, false), false, 0, Follow::Look(None)),
            (attempts(1, true, false), true, 5, look(60)),
            (attempts(1, true, false), false, 5, look(60)),
            (attempts(1, true, false), true, 60, look(75)),
            (attempts(1, false, false), true, 5, look(60)),
            (attempts(1, false, false), false, 5, Follow::Look(None)),
            (attempts(1, false, false), true, 60, Follow::Attempt(2)),
            (attempts(3, false, false), true, 239, look(240)),
            (attempts(3, false, false), true, 240, Follow::Escalate),
            (attempts(3, true, false), true, 240, look(255)),
            (attempts(3, false, true), true, 10_000, Follow::Look(None)),
        ];
        for (attempts, ready, minutes, expected) in table {
            let follows = follow(&attempts, ready, &Ladder::default(), t(minutes), Duration::minutes(15));
            assert_eq!(follows, expected, "{attempts:?}, ready {ready}, {minutes} min");
        }
    }
}
