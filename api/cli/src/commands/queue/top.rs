//! `trueup queue top`: a live view. What is shown is a pure function of [`State`] (`render`); this file asks the API, reads keys
//! and keeps the terminal.

mod render;
mod state;

use std::io::IsTerminal as _;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use trueup_client::Method;
use serde_json::Value;
use tokio::sync::mpsc;
use trueup_server::queues::{QueueJobs, QueueList};
use trueup_server::workers::WorkerList;

use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::views;
use state::{Press, State, Wish};

/// Newest deaths shown.
const DEATHS: usize = 50;
/// Time within which the thread that reads keys notices that nobody listens any more.
const KEYS_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn run(cx: &Context, every: u64) -> Result<Exit, Failure> {
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Err(Failure::usage("a live view needs a terminal").advise("use `trueup queue ls` in scripts"));
    }
    let mut state = State::new(cx.client.base());
    // The first look is made before the terminal is taken, so that its failure reads like any other.
    look(cx, &mut state).await?;
    let mut terminal = ratatui::try_init()
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot take the terminal: {e}")))?;
    let ended = live(cx, &mut state, &mut terminal, Duration::from_secs(every)).await;
    ratatui::restore();
    ended.map(|()| Exit::Done)
}

async fn live(
    cx: &Context,
    state: &mut State,
    terminal: &mut ratatui::DefaultTerminal,
    every: Duration,
) -> Result<(), Failure> {
    let mut keys = keys();
    let mut looks = tokio::time::interval(every);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    looks.reset();
    loop {
        terminal
            .draw(|frame| render::render(frame, state))
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot draw: {e}")))?;
        let wish = tokio::select! {
            pressed = keys.recv() => match pressed {
                Some(press) => state.press(press),
                None => return Ok(()),
            },
            _ = looks.tick() => Wish::Look,
        };
        let done = match wish {
            Wish::Quit => return Ok(()),
            Wish::Nothing => Ok(()),
            Wish::Look => look(cx, state).await,
            Wish::Pause(queue) => act(cx, state, &queue, "pause").await,
            Wish::Resume(queue) => act(cx, state, &queue, "resume").await,
            Wish::Details(queue) => details(cx, state, &queue).await,
        };
        // An API that is away for a while is shown, and asked again.
        state.trouble = done.err().map(|failure| failure.what);
    }
}

async fn look(cx: &Context, state: &mut State) -> Result<(), Failure> {
    let history = [("history", "true".to_owned())];
    let deaths = [("type", "JOB_DEAD".to_owned()), ("last", DEATHS.to_string())];
    let (queues, workers, dead) = tokio::try_join!(
        cx.client.get::<QueueList>(&["v1", "queues"], &history),
        cx.client.get::<WorkerList>(&["v1", "workers"], &[]),
        cx.client.get::<Value>(&["v1", "events"], &deaths),
    )?;
    let items = dead.body["items"].as_array().cloned().unwrap_or_default();
    let mut deaths = views::read(&items)?;
    deaths.reverse();
    state.seen(queues.body.items, workers.body.items, deaths, queues.now);
    if let Some(queue) = state.details.as_ref().map(|d| d.queue.clone()) {
        details(cx, state, &queue).await?;
    }
    Ok(())
}

async fn act(cx: &Context, state: &mut State, queue: &str, action: &str) -> Result<(), Failure> {
    let path = ["v1", "queues", queue, action];
    let _: Answer<Value> = cx.client.ask(Method::POST, &path, &[], Body::None).await?;
    look(cx, state).await
}

async fn details(cx: &Context, state: &mut State, queue: &str) -> Result<(), Failure> {
    let query = [("limit", "20".to_owned()), ("by_tenant", "true".to_owned())];
    let answer: Answer<QueueJobs> = cx.client.get(&["v1", "queues", queue], &query).await?;
    state.details = Some(answer.body);
    Ok(())
}

/// Keys from a thread of their own, since reading them waits. It ends when nobody listens any more.
fn keys() -> mpsc::Receiver<Press> {
    let (send, receive) = mpsc::channel(64);
    std::thread::spawn(move || {
        while !send.is_closed() {
            match event::poll(KEYS_EVERY) {
                Ok(false) => {}
                Ok(true) => match event::read() {
                    Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                        if let Some(press) = meaning(key)
                            && send.blocking_send(press).is_err()
                        {
                            return;
                        }
                    }
                    Ok(Event::Resize(..)) if send.blocking_send(Press::Resize).is_err() => return,
                    Ok(_) => {}
                    Err(_) => return,
                },
                Err(_) => return,
            }
        }
    });
    receive
}

fn meaning(key: KeyEvent) -> Option<Press> {
    Some(match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Press::Quit,
        KeyCode::Char('q') => Press::Quit,
        KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => Press::Back,
        KeyCode::Up | KeyCode::Char('k') => Press::Up,
        KeyCode::Down | KeyCode::Char('j') => Press::Down,
        KeyCode::Enter | KeyCode::Right => Press::Enter,
        KeyCode::Char('p') => Press::Pause,
        KeyCode::Char('r') => Press::Resume,
        _ => return None,
    })
}
