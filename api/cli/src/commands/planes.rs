//! `trueup planes`: what each connection may ask of its plane, and how it goes.

use serde::Deserialize;
use serde_json::Value;
use trueup_engine::budgets::{Breaker, ConnectionView};
use trueup_model::Time;

use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Cell, Table, Tone, cell};
use crate::text::relative;
use crate::views;

const EXAMPLES: &str = "\
Examples:
  trueup planes
  trueup planes --output json | jq '.items[] | {connection, breaker, sweep}'
  trueup queue show query.intune              what waits for a plane";

/// Show how much each plane may be asked, what is left of that, who waits, and when the sweep ends
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

/// As the API shows it.
#[derive(Debug, Deserialize)]
struct Shown {
    #[serde(flatten)]
    view: ConnectionView,
    backlog: u64,
    sweep: Sweep,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
enum Sweep {
    Idle,
    Unknown,
    Running { ends_at: Time },
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let answer: Answer<Value> = cx.client.get(&["v1", "planes"], &[]).await?;
        let items = answer.body["items"].as_array().cloned().unwrap_or_default();
        match cx.output {
            Output::Json => cx.write_json(&answer.body),
            Output::Name => cx.write_names(items.iter().filter_map(|c| c["connection"].as_str())),
            Output::Table => {
                let now: Time = views::read::<Time>(std::slice::from_ref(&answer.body["at"]))?[0];
                let shown: Vec<Shown> = views::read(&items)?;
                cx.write_table(
                    &table(&shown, now),
                    "no worker has a connection to a plane: add one to `connections` of its configuration",
                );
                for c in &shown {
                    if let Some(failure) = &c.view.failure {
                        cx.note(&format!("{}: failed last with: {failure}", c.view.connection.connection));
                    }
                }
            }
        }
        Ok(Exit::Done)
    }
}

fn state(view: &ConnectionView, now: Time) -> Cell {
    match (view.breaker, view.not_before) {
        (Breaker::Open { until }, _) => cell(format!("left alone, tried {}", relative(until, now)), Tone::Bad),
        (Breaker::HalfOpen, _) => cell("being tried", Tone::Warn),
        (Breaker::Closed, Some(t)) => cell(format!("asked to wait, goes on {}", relative(t, now)), Tone::Warn),
        (Breaker::Closed, None) if view.failure.is_some() => cell("failing", Tone::Warn),
        (Breaker::Closed, None) => cell("well", Tone::Good),
    }
}

/// One row for each budget; what is said of the connection is in its first.
fn table(shown: &[Shown], now: Time) -> Table {
    let mut table = Table::new(&[
        "CONNECTION", "TENANT", "PLANE", "STATE", "BUDGET", "RATE", "SPENT/MIN", "LEFT", "WAITING", "QUERIES",
        "SWEEP ENDS",
    ]);
    for c in shown {
        let (view, of) = (&c.view, &c.view.connection);
        let [write, urgent, sweep] = view.waiting;
        let waiting = match write + urgent + sweep {
            0 => "".into(),
            _ => cell(format!("{write} write, {urgent} urgent, {sweep} sweep"), Tone::Warn),
        };
        let ends = match &c.sweep {
            Sweep::Idle => cell("idle", Tone::Dim),
            Sweep::Unknown => cell("not known yet", Tone::Dim),
            Sweep::Running { ends_at } => format!("about {}", relative(*ends_at, now)).into(),
        };
        let mut rows: Vec<[Cell; 4]> = of.budgets.iter().zip(&view.buckets).map(|(b, n)| {
            let cut = n.rate < f64::from(b.calls);
            [
                format!("{} {}/{}s", b.name, b.calls, b.window_s).into(),
                cell(format!("{:.0}/{}s", n.rate, b.window_s), if cut { Tone::Warn } else { Tone::Plain }),
                format!("{:.0}", n.spent).into(),
                cell(format!("{:.0}%", n.left * 100.0), if n.left < 0.1 { Tone::Warn } else { Tone::Plain }),
            ]
        }).collect();
        if let Some(at_most) = of.at_most {
            let left = 1.0 - f64::from(view.under_way) / f64::from(at_most.max(1));
            rows.push([
                format!("{at_most} at once").into(),
                "".into(),
                format!("{} under way", view.under_way).into(),
                format!("{:.0}%", left.max(0.0) * 100.0).into(),
            ]);
        }
        if rows.is_empty() {
            rows.push(["no limit".into(), "".into(), "".into(), "".into()]);
        }
        let mut first = Some((waiting, ends));
        for [budget, rate, spent, left] in rows {
            match first.take() {
                Some((waiting, ends)) => table.row([
                    of.connection.as_str().into(), of.tenant.as_str().into(), of.plane.as_str().into(),
                    state(view, now), budget, rate, spent, left, waiting, c.backlog.to_string().into(), ends,
                ]),
                None => table.row([
                    " ".into(), " ".into(), " ".into(), " ".into(), budget, rate, spent, left, " ".into(), " ".into(),
                    " ".into(),
                ]),
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(change: Value) -> Shown {
        let mut value = json!({
            "connection": "contoso-intune", "tenant": "contoso", "plane": "intune", "under_way": 0,
            "budgets": [{"name": "devices", "calls": 1600, "window_s": 20}, {"name": "writes", "calls": 80, "window_s": 20}],
            "buckets": [{"name": "devices", "rate": 1120.0, "spent": 3200.0, "left": 0.05, "per_check": 0.5},
                {"name": "writes", "rate": 80.0, "spent": 0.0, "left": 1.0}],
            "waiting": [0, 1, 12], "breaker": {"state": "closed"}, "checks": 6400.0, "checks_per_turn": 64.0,
            "backlog": 40, "sweep": {"state": "running", "checks_left": 2560, "ends_at": "2026-11-21T12:00:30Z"},
        });
        for (k, v) in change.as_object().unwrap() {
            value[k] = v.clone();
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_operator_sees_what_is_left_who_waits_and_until_when() {
        let now: Time = "2026-11-21T12:00:00Z".parse().unwrap();
        let text = table(&[shown(json!({}))], now).render(false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let said = |line: &str| line.split("  ").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            said(lines[1]),
            ["contoso-intune", "contoso", "intune", "well", "devices 1600/20s", "1120/20s", "3200", "5%",
             "0 write, 1 urgent, 12 sweep", "40", "about in 30s"]
        );
        assert_eq!(said(lines[2]), ["writes 80/20s", "80/20s", "0", "100%"]);
        for (change, expected) in [
            (json!({"breaker": {"state": "open", "until": "2026-11-21T12:00:30Z"}}), "left alone, tried in 30s"),
            (json!({"breaker": {"state": "half_open"}}), "being tried"),
            (json!({"not_before": "2026-11-21T12:00:30Z"}), "asked to wait, goes on in 30s"),
            (json!({"failure": "no answer"}), "failing"),
            (json!({"sweep": {"state": "idle"}}), "idle"),
            (json!({"budgets": [], "buckets": []}), "no limit"),
            (json!({"at_most": 5, "under_way": 2}), "5 at once"),
        ] {
            let text = table(&[shown(change)], now).render(false);
            assert!(text.contains(expected), "{text}");
        }
    }
}
