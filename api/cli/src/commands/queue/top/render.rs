//! The live view as a picture. Pure: a frame from a state.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};
use trueup_engine::operate::{BUCKET_S, Passed};
use trueup_server::workers::WorkerState;

use super::state::State;
use crate::text::{clean, relative, span};
use crate::views::wire;

const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

pub(super) fn render(frame: &mut Frame, state: &State) {
    let area = frame.area();
    let queues = state.queues.len() as u16 + 3;
    let [head, top, middle, bottom, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(queues),
        Constraint::Length(state.workers.len().clamp(1, 6) as u16 + 3),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(headline(state), head);
    match &state.details {
        None => {
            draw_queues(frame, state, top);
            draw_workers(frame, state, middle);
            draw_deaths(frame, state, bottom);
        }
        Some(_) => {
            let all = Rect { height: top.height + middle.height + bottom.height, ..top };
            draw_details(frame, state, all);
        }
    }
    let keys = match state.details {
        None => " q quit   ↑↓ select   enter details   p pause   r resume",
        Some(_) => " esc back   p pause   r resume   q quit",
    };
    frame.render_widget(Paragraph::new(keys).style(Style::new().fg(Color::DarkGray)), foot);
}

fn headline(state: &State) -> Paragraph<'static> {
    let time = state.now.map(|t| t.format("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default();
    let mut spans = vec![Span::from(" trueup ").bold(), Span::from(format!("{}  {time}", clean(&state.url)))];
    if let Some(trouble) = &state.trouble {
        spans.push(Span::from(format!("  no answer: {}", clean(trouble))).fg(Color::Red).bold());
    }
    Paragraph::new(Line::from(spans))
}

fn block(title: &str) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(format!(" {title} "))
}

fn header(names: &[&'static str]) -> Row<'static> {
    Row::new(names.iter().map(|n| Cell::from(*n)).collect::<Vec<_>>()).style(Style::new().fg(Color::DarkGray))
}

/// Finished jobs over time, the newest on the right.
fn sparkline(history: &[Passed], width: usize) -> String {
    let complete = &history[..history.len().saturating_sub(1)];
    let shown = &complete[complete.len().saturating_sub(width)..];
    let most = shown.iter().map(|p| p.done).max().unwrap_or(0);
    let bar = |n: u64| {
        // Something is never drawn as nothing.
        let height = (n * 8).div_ceil(most.max(1)).min(8);
        BARS[usize::try_from(height).unwrap_or(0)]
    };
    shown.iter().map(|p| bar(p.done)).collect()
}

fn rate(per_second: f64) -> String {
    if per_second > 0.0 { format!("{per_second:.1}") } else { "-".into() }
}

fn draw_queues(frame: &mut Frame, state: &State, area: Rect) {
    let rows = state.queues.iter().map(|q| {
        let (d, flow) = (&q.depth, &q.per_second);
        let number = |n: u64| if n == 0 { "-".to_owned() } else { n.to_string() };
        let dead = if d.dead > 0 { Style::new().fg(Color::Red).bold() } else { Style::new() };
        let retried = if flow.retried > 0.0 { Style::new().fg(Color::Yellow) } else { Style::new() };
        Row::new(vec![
            Cell::from(d.queue.clone()),
            Cell::from(number(d.ready)),
            Cell::from(number(d.scheduled)),
            Cell::from(number(d.in_flight)),
            Cell::from(d.oldest_ms.map_or_else(|| "-".into(), span)),
            Cell::from(rate(flow.enqueued)),
            Cell::from(rate(flow.done)),
            Cell::from(rate(flow.retried)).style(retried),
            Cell::from(number(d.dead)).style(dead),
            if d.paused {
                Cell::from("paused").fg(Color::Yellow)
            } else {
                Cell::from("running").fg(Color::Green)
            },
            Cell::from(q.history.as_deref().map(|h| sparkline(h, 30)).unwrap_or_default()).fg(Color::Cyan),
        ])
    });
    let widths = [20, 8, 9, 9, 8, 8, 8, 9, 7, 8, 30].map(Constraint::Length);
    let names: Vec<&str> = crate::views::QUEUE_COLUMNS.into_iter().chain(["DONE, 5 MIN"]).collect();
    let table = Table::new(rows, widths)
        .header(header(&names))
        .block(block("queues"))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut at = TableState::new().with_selected(Some(state.at));
    frame.render_stateful_widget(table, area, &mut at);
}

fn draw_workers(frame: &mut Frame, state: &State, area: Rect) {
    let rows = state.workers.iter().map(|w| {
        let report = w.report.clone().unwrap_or_default();
        let colour = match w.state {
            WorkerState::Working => Color::Green,
            WorkerState::Draining => Color::Yellow,
            WorkerState::Late => Color::Red,
        };
        Row::new(vec![
            Cell::from(clean(&w.incarnation)),
            Cell::from(wire(&w.state)).fg(colour),
            Cell::from(format!("{} ago", span(w.last_beat_ms))),
            Cell::from(w.leases.map_or_else(|| "-".into(), |n| n.to_string())),
            Cell::from(clean(&report.version)),
            Cell::from(clean(&report.host)),
        ])
    });
    let widths = [28, 9, 12, 7, 9, 20].map(Constraint::Length);
    let title = format!("workers: {}", state.workers.len());
    let names = ["WORKER", "STATE", "LAST BEAT", "LEASES", "VERSION", "HOST"];
    frame.render_widget(Table::new(rows, widths).header(header(&names)).block(block(&title)), area);
}

fn draw_deaths(frame: &mut Frame, state: &State, area: Rect) {
    let rows = state.deaths.iter().map(|e| {
        let text = |field: &str| clean(e.event_data[field].as_str().unwrap_or_default());
        let when = state.now.map(|now| relative(e.created_at, now)).unwrap_or_default();
        Row::new(vec![
            Cell::from(when),
            Cell::from(text("queue")),
            Cell::from(text("job")),
            Cell::from(text("reason")),
        ])
    });
    let widths =
        [Constraint::Length(10), Constraint::Length(20), Constraint::Length(25), Constraint::Min(20)];
    let names = ["WHEN", "QUEUE", "JOB", "REASON"];
    frame.render_widget(Table::new(rows, widths).header(header(&names)).block(block("newest dead")), area);
}

fn draw_details(frame: &mut Frame, state: &State, area: Rect) {
    let Some(shown) = &state.details else { return };
    let [facts, jobs] = Layout::vertical([Constraint::Length(5), Constraint::Min(3)]).areas(area);
    let mut lines = Vec::new();
    if let Some(q) = &shown.depth {
        let (d, flow) = (&q.depth, &q.per_second);
        lines.push(Line::from(format!(
            " {} ready, {} scheduled, {} in flight, {} dead{}",
            d.ready,
            d.scheduled,
            d.in_flight,
            d.dead,
            if d.paused { ", paused" } else { "" }
        )));
        lines.push(Line::from(format!(
            " a second: {} in, {} done, {} deferred, {} retried, {} dead (over a minute, measured every {BUCKET_S} s)",
            rate(flow.enqueued),
            rate(flow.done),
            rate(flow.deferred),
            rate(flow.retried),
            rate(flow.dead)
        )));
    }
    if let Some(sample) = &shown.by_tenant {
        let mut tenants: Vec<_> = sample.jobs.iter().collect();
        tenants.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let tenants: Vec<String> = tenants.iter().take(8).map(|(t, n)| format!("{} {n}", clean(t))).collect();
        lines.push(Line::from(format!(
            " tenants (a sample of {} of {}): {}",
            sample.sampled,
            sample.of,
            tenants.join(", ")
        )));
    }
    frame.render_widget(Paragraph::new(lines).block(block(&clean(&shown.queue))), facts);
    let rows = shown.items.iter().map(|j| {
        let at = state.now.and_then(|now| Some(relative(j.at?, now)));
        Row::new(vec![
            Cell::from(clean(j.id.as_str())),
            Cell::from(wire(&j.state)),
            Cell::from(at.unwrap_or_else(|| "-".into())),
            Cell::from(j.age_ms.map_or_else(|| "-".into(), span)),
            Cell::from(j.attempts.to_string()),
            Cell::from(clean(j.reason.as_deref().unwrap_or_default())),
        ])
    });
    let widths = [25, 10, 10, 8, 8].map(Constraint::Length).into_iter().chain([Constraint::Min(20)]);
    let names = ["JOB", "STATE", "AT", "AGE", "ATTEMPTS", "REASON"];
    frame.render_widget(Table::new(rows, widths).header(header(&names)).block(block("jobs")), jobs);
}

#[cfg(test)]
mod tests;
