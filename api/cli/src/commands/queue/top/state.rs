//! What the live view shows, and what keys do to it. Pure.

use trueup_model::{Event, Time};
use trueup_server::queues::{QueueJobs, QueueView};
use trueup_server::workers::Worker;

/// A key, as what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Press {
    Up,
    Down,
    Enter,
    Back,
    Pause,
    Resume,
    Resize,
    Quit,
}

/// What a key asks for beyond the state itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Look,
    Pause(String),
    Resume(String),
    Details(String),
    Quit,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) url: String,
    pub(super) queues: Vec<QueueView>,
    pub(super) workers: Vec<Worker>,
    /// The newest first.
    pub(super) deaths: Vec<Event>,
    pub(super) now: Option<Time>,
    /// Which queue is selected.
    pub(super) at: usize,
    /// The queue that is shown in detail.
    pub(super) details: Option<QueueJobs>,
    /// Why the last question was not answered.
    pub(super) trouble: Option<String>,
}

impl State {
    pub(super) fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            queues: Vec::new(),
            workers: Vec::new(),
            deaths: Vec::new(),
            now: None,
            at: 0,
            details: None,
            trouble: None,
        }
    }

    pub(super) fn seen(
        &mut self,
        queues: Vec<QueueView>,
        workers: Vec<Worker>,
        deaths: Vec<Event>,
        now: Time,
    ) {
        self.at = self.at.min(queues.len().saturating_sub(1));
        (self.queues, self.workers, self.deaths, self.now) = (queues, workers, deaths, Some(now));
    }

    fn selected(&self) -> Option<String> {
        self.queues.get(self.at).map(|q| q.depth.queue.clone())
    }

    pub(super) fn press(&mut self, press: Press) -> Wish {
        let on = |wish: fn(String) -> Wish, queue: Option<String>| queue.map_or(Wish::Nothing, wish);
        match press {
            Press::Quit => return Wish::Quit,
            Press::Back if self.details.is_none() => return Wish::Quit,
            Press::Back => self.details = None,
            Press::Up if self.details.is_none() => self.at = self.at.saturating_sub(1),
            Press::Down if self.details.is_none() => {
                self.at = (self.at + 1).min(self.queues.len().saturating_sub(1));
            }
            Press::Pause => return on(Wish::Pause, self.selected()),
            Press::Resume => return on(Wish::Resume, self.selected()),
            Press::Enter => return on(Wish::Details, self.selected()),
            Press::Up | Press::Down | Press::Resize => {}
        }
        Wish::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trueup_engine::QueueDepth;
    use trueup_model::StepName;

    fn queue(name: &str) -> QueueView {
        let depth = QueueDepth { queue: name.into(), ..QueueDepth::default() };
        QueueView { depth, step: StepName::Emit, plane: None, per_second: Default::default(), history: None }
    }

    #[test]
    fn keys_move_and_ask() {
        let mut state = State::new("http://localhost");
        assert_eq!(state.press(Press::Enter), Wish::Nothing, "there is no queue yet");
        state.press(Press::Down);
        state.seen(
            vec![queue("sweep"), queue("emit")],
            Vec::new(),
            Vec::new(),
            trueup_model::DateTime::UNIX_EPOCH,
        );
        assert_eq!(state.press(Press::Pause), Wish::Pause("sweep".into()));
        state.press(Press::Down);
        state.press(Press::Down);
        assert_eq!(state.press(Press::Resume), Wish::Resume("emit".into()), "it stops at the last");
        assert_eq!(state.press(Press::Enter), Wish::Details("emit".into()));
        state.details = Some(QueueJobs {
            queue: "emit".into(),
            depth: None,
            by_tenant: None,
            items: Vec::new(),
            next: None,
        });
        state.press(Press::Up);
        assert_eq!((state.at, state.press(Press::Back)), (1, Wish::Nothing), "back to the overview");
        assert_eq!(state.press(Press::Back), Wish::Quit);
        state.seen(vec![queue("sweep")], Vec::new(), Vec::new(), trueup_model::DateTime::UNIX_EPOCH);
        assert_eq!(state.at, 0, "fewer queues than before");
    }
}
