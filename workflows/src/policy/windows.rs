//! When what is automatic may happen: maintenance windows, and freezes.

use serde::Serialize;
use trueup_model::{DriftKind, Duration, Intent, Time};

use super::conditions::{Conditions, WITH_KIND};
use super::names;
use super::read::Section;
use super::schedule::{MAX_SPAN, Schedule};

/// What it matches is remediated automatically inside it only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Window {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) schedule: Schedule,
    /// It holds only for intents that name it.
    pub(super) named_only: bool,
    pub(super) conditions: Conditions,
}

impl Window {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = names::read(section, "window");
        let schedule = Schedule::read(section);
        let named_only = section.flag("named_only").unwrap_or(false);
        let conditions = Conditions::read(section, WITH_KIND);
        Some(Self { name, schedule: schedule?, named_only, conditions })
    }
}

/// What it matches waits until it is over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Freeze {
    pub(super) name: String,
    pub(super) when: Span,
    pub(super) conditions: Conditions,
    pub(super) because: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Span {
    /// `to` is no part of it.
    Once {
        from: Time,
        to: Time,
    },
    Again(Box<Schedule>),
}

impl Freeze {
    pub(super) fn read(section: &mut Section<'_, '_>) -> Option<Self> {
        let name = names::read(section, "freeze");
        let (because, _) = section.needed("because");
        let conditions = Conditions::read(section, WITH_KIND);
        let recurs = ["cron", "duration", "zone"].iter().any(|f| section.has(f));
        let (from, to) = (section.time("from"), section.time("to"));
        let when = match (recurs, from, to) {
            (true, None, None) => {
                let schedule = Schedule::read(section)?;
                if schedule.never_ends() {
                    let why = format!("{}: it never ends", schedule.words());
                    section.lacks("duration", &why);
                }
                Span::Again(Box::new(schedule))
            }
            (false, Some(from), Some(to)) => {
                if to <= from {
                    section.lacks("to", "must be after from");
                } else if to.signed_duration_since(from) > MAX_SPAN {
                    section.lacks("to", "more than 366 days after from");
                }
                Span::Once { from, to }
            }
            _ => {
                // So that these are known fields, whatever else is wrong.
                section.expect(&["cron", "duration", "zone"]);
                section.lacks("from", "give either from and to, or cron, duration and zone");
                return None;
            }
        };
        section.expect(&["cron", "duration", "zone"]);
        Some(Self { name, when, conditions, because })
    }

    /// When it ends, if it holds at `t`.
    pub(super) fn until(&self, t: Time) -> Option<Time> {
        match &self.when {
            Span::Once { from, to } => (*from <= t && t < *to).then_some(*to),
            Span::Again(schedule) => schedule.until(t),
        }
    }
}

impl Freeze {
    /// When it begins next, after `t`.
    fn next(&self, t: Time) -> Option<Time> {
        match &self.when {
            Span::Once { from, .. } => (*from > t).then_some(*from),
            Span::Again(schedule) => schedule.next(t),
        }
    }
}

/// The windows and freezes that hold for one drift.
#[derive(Debug)]
pub(super) struct Calendar<'p> {
    /// Inside one of them, if there are any.
    matching: Vec<&'p Window>,
    /// Inside one of them as well, if the intent names any.
    named: Vec<&'p Window>,
    freezes: Vec<&'p Freeze>,
    /// Names that the policy does not have.
    pub(super) unknown: Vec<&'p str>,
}

/// What has to be waited for, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wait {
    /// `window NAME` or `freeze NAME`.
    pub(super) rule: String,
    pub(super) because: String,
}

/// Opening after opening that is tried, and how far ahead.
const TRIES: usize = 400;
/// Spans of freezes that are followed where one touches the next: a week of single minutes.
const TOUCHING: usize = 10_080;
const HORIZON: Duration = Duration::days(2 * 366);

impl<'p> Calendar<'p> {
    pub(super) fn of(
        windows: &'p [Window],
        freezes: &'p [Freeze],
        intent: &'p Intent,
        kind: DriftKind,
    ) -> Self {
        let holds = |c: &Conditions| c.intent(intent) && c.kind(kind);
        let is_named = |w: &&Window| intent.windows.contains(&w.name);
        let known = |name: &&str| windows.iter().any(|w| w.name == *name);
        Self {
            matching: windows.iter().filter(|w| !w.named_only && holds(&w.conditions)).collect(),
            named: windows.iter().filter(is_named).collect(),
            freezes: freezes.iter().filter(|f| holds(&f.conditions)).collect(),
            unknown: intent.windows.iter().map(String::as_str).filter(|n| !known(n)).collect(),
        }
    }

    /// The first moment at or after `from` that is inside the windows and outside every freeze, and what there is to wait
    /// for; nothing if there is none within two years.
    pub(super) fn first(&self, from: Time) -> (Option<Time>, Vec<Wait>) {
        let (mut t, mut waits) = (from, Vec::<Wait>::new());
        let horizon = from.checked_add_signed(HORIZON).unwrap_or(Time::MAX_UTC);
        let mut wait = |rule: String, because: String| {
            if waits.iter().all(|w| w.rule != rule) {
                waits.push(Wait { rule, because });
            }
        };
        let mut touching = TOUCHING;
        for _ in 0..TRIES {
            let frozen =
                self.freezes.iter().filter_map(|f| Some((f, f.until(t)?))).max_by_key(|(_, end)| *end);
            let (to, rule, because) = if let Some((freeze, mut end)) = frozen {
                while touching > 0
                    && end <= horizon
                    && let Some(later) = freeze.until(end).filter(|later| *later > end)
                {
                    end = later;
                    touching -= 1;
                }
                (
                    Some(end),
                    format!("freeze {}", freeze.name),
                    format!("{}; until {}", freeze.because, time(end)),
                )
            } else if let Some(closed) = [&self.matching, &self.named].into_iter().find(|w| closed(w, t)) {
                let next = closed.iter().filter_map(|w| w.schedule.next(t)).min();
                let opens = next.map(|n| format!("; opens {}", time(n))).unwrap_or_default();
                (next, rule(closed), format!("automatic only while it is open{opens}"))
            } else {
                return (Some(t), waits);
            };
            wait(rule, because);
            match to {
                Some(to) if to > t && to <= horizon => t = to,
                _ => break,
            }
        }
        (None, waits)
    }

    /// When the windows that are open at `t` close, or the next freeze begins; nothing if neither is known.
    pub(super) fn closes(&self, t: Time) -> Option<Time> {
        let open = |windows: &[&Window]| windows.iter().filter_map(|w| w.schedule.until(t)).max();
        let windows = [open(&self.matching), open(&self.named)];
        let freezes = self.freezes.iter().filter_map(|f| f.next(t));
        windows.into_iter().flatten().chain(freezes).min()
    }

    /// What is open at `t`, and until when, for people.
    pub(super) fn open(&self, t: Time) -> Option<String> {
        let open = self.matching.iter().chain(&self.named).filter_map(|w| Some((w, w.schedule.until(t)?)));
        let (window, end) = open.min_by_key(|(_, end)| *end)?;
        Some(format!("window {} closes {}", window.name, time(end)))
    }
}

/// Whether there is a moment inside the windows and outside the freezes.
pub(super) fn possible(
    matching: Vec<&Window>,
    named: Vec<&Window>,
    freezes: Vec<&Freeze>,
    from: Time,
) -> bool {
    Calendar { matching, named, freezes, unknown: Vec::new() }.first(from).0.is_some()
}

fn closed(windows: &[&Window], t: Time) -> bool {
    !windows.is_empty() && windows.iter().all(|w| w.schedule.until(t).is_none())
}

fn rule(windows: &[&Window]) -> String {
    let names: Vec<&str> = windows.iter().map(|w| w.name.as_str()).collect();
    format!("window {}", names.join(" or "))
}

/// As times are written in reasons.
pub(super) fn time(t: Time) -> String {
    t.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}
