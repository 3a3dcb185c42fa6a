//! Budgets in Redis: a script to draw, one to learn, one to take a slot.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use trueup_model::Lane;
use trueup_model::budget::{Said, Why, health};

use super::{Call, RedisStore, Result, script};
use crate::EngineError;
use crate::budgets::flow::{self, CHECKS, CUT_EVERY_S, Flow, PROBE_S, TURNS};
use crate::budgets::{
    Ask, Budgets, CUT, ConnectionView, Drawn, Held, LEAST, Learned, Lesson, Pace, RECOVER, REGISTERED_FOR,
    Registered, WAITING_FOR, ahead, bounded, check, interval_ms,
};
use crate::keys::{CONNECTIONS, limits};

script!(DRAW, "draw");
script!(LEARN, "learn");
script!(SLOT, "slot");

fn odd(script: &str) -> EngineError {
    EngineError::Refused(format!("the script '{script}' gave an answer that this build does not know"))
}

fn number(text: &str, script: &str) -> Result<f64> {
    text.parse().map_err(|_| odd(script))
}

fn drawn(ask: &Ask, answer: &[String]) -> Result<Drawn> {
    let wrong = || odd("draw");
    match answer {
        [go, probe, wary, rest @ ..] if go == "go" && rest.len() == 2 * ask.wanted.len() => {
            let second = ask.at.second();
            let mut grants = Vec::with_capacity(ask.wanted.len());
            for (wanted, granted) in ask.wanted.iter().zip(rest.chunks_exact(2)) {
                let calls = granted[0].parse().map_err(|_| wrong())?;
                grants.push(flow::grant(wanted, calls, number(&granted[1], "draw")?, second));
            }
            Ok(Drawn::Granted { grants, probe: probe == "1", wary: wary == "1" })
        }
        [wait, ms, why, what] if wait == "wait" => {
            let why = match why.as_str() {
                "budget" => Held::Budget(what.clone()),
                "asked" => Held::Plane(Why::AskedToWait, what.clone()),
                "open" => Held::Plane(Why::Open, what.clone()),
                "probing" => Held::Plane(Why::Probing, what.clone()),
                _ => return Err(wrong()),
            };
            Ok(Drawn::Wait { ms: number(ms, "draw")?, why })
        }
        _ => Err(wrong()),
    }
}

#[async_trait]
impl Budgets for RedisStore {
    async fn draw(&self, ask: &Ask) -> Result<Drawn> {
        check(&ask.connection, &ask.who, &ask.wanted.iter().map(|w| &w.budget).collect::<Vec<_>>())?;
        let second = ask.at.second();
        let mut call = Call::new(&DRAW);
        call.key(limits(&ask.connection));
        call.key(waiting(&ask.connection));
        let text = |[write, urgent, sweep]: [u32; 3]| match (write, urgent, sweep) {
            (0, 0, 0) => String::new(),
            _ => format!("{write} {urgent} {sweep}"),
        };
        call.num(second).num(ahead(ask.lane)).num(PROBE_S * 1000.0).num(RECOVER);
        call.arg(ask.who.as_str()).arg(text(ask.waiting));
        call.num(ask.looked.0).num(ask.looked.1).arg(CHECKS).arg(TURNS);
        call.arg(text(ask.still_waiting()));
        for wanted in &ask.wanted {
            let budget = &wanted.budget;
            call.arg(budget.name.as_str()).num(flow::window_ms(budget, second));
            call.num(interval_ms(budget, second)).num(flow::span_ms(budget, second));
            call.num(wanted.need).num(wanted.want.max(wanted.need));
        }
        let answer: Vec<String> = call.run(&self.connection.0).await?;
        drawn(ask, &answer)
    }

    async fn learn(&self, lesson: &Lesson) -> Result<Learned> {
        check(&lesson.connection, "", &lesson.buckets.iter().collect::<Vec<_>>())?;
        let (kind, what) = match &lesson.said {
            Said::Fine => ("fine", String::new()),
            Said::Crowded => ("crowded", String::new()),
            Said::Failed { why } => ("failed", bounded(why).to_owned()),
            Said::AskedToWait { until } => {
                ("asked", until.map(|t| lesson.at.real_from_now(t).to_string()).unwrap_or_default())
            }
        };
        let mut call = Call::new(&LEARN);
        call.key(limits(&lesson.connection));
        call.arg(kind).arg(what).num(lesson.at.second()).num(health::FAILURES);
        call.num(health::FIRST_OPEN_S).num(health::LONGEST_OPEN_S);
        call.num(health::FIRST_WAIT_S).num(health::LONGEST_WAIT_S);
        call.num(CUT).num(LEAST).num(RECOVER).num(CUT_EVERY_S);
        for budget in &lesson.buckets {
            call.arg(budget.name.as_str());
        }
        let (wait, wary): (String, u8) = call.run(&self.connection.0).await?;
        let wait_ms = if wait.is_empty() { None } else { Some(number(&wait, "learn")?) };
        Ok(Learned { wait_ms, wary: wary == 1 })
    }

    async fn take_slot(
        &self,
        connection: &str,
        slot: &str,
        at_most: u32,
        lane: Lane,
        lease: Duration,
        _: Pace,
    ) -> Result<bool> {
        check(connection, slot, &[])?;
        let mut call = Call::new(&SLOT);
        call.key(slots(connection));
        call.arg(slot).num(crate::budgets::open_to(lane, at_most)).num(lease.as_millis().max(1));
        Ok(call.run::<u8>(&self.connection.0).await? == 1)
    }

    async fn free_slot(&self, connection: &str, slot: &str) -> Result<()> {
        self.query(redis::cmd("ZREM").arg(slots(connection)).arg(slot)).await
    }

    async fn register(&self, connections: &[Registered], _: Pace) -> Result<()> {
        if connections.is_empty() {
            return Ok(());
        }
        let now = self.server_ms().await?;
        let mut pipe = redis::pipe();
        for c in connections {
            check(&c.connection, &c.tenant, &c.budgets.iter().collect::<Vec<_>>())?;
            let text = serde_json::to_string(c).map_err(|e| EngineError::Refused(e.to_string()))?;
            pipe.hset(CONNECTIONS, &c.connection, format!("{now:.0} {text}")).ignore();
        }
        for gone in self.registered(now).await?.1 {
            pipe.hdel(CONNECTIONS, gone).ignore();
        }
        self.pipe(&pipe).await
    }

    async fn connections(&self, at: Pace) -> Result<Vec<ConnectionView>> {
        let now = self.server_ms().await?;
        let (there, _) = self.registered(now).await?;
        let mut pipe = redis::pipe();
        for c in &there {
            pipe.hgetall(limits(&c.connection)).hgetall(waiting(&c.connection));
            pipe.zcount(slots(&c.connection), format!("({now}"), "+inf");
        }
        if there.is_empty() {
            return Ok(Vec::new());
        }
        let mut rest: Vec<redis::Value> = self.pipe(&pipe).await?;
        let mut views = Vec::with_capacity(there.len());
        for (c, mut values) in there.into_iter().zip(rest.chunks_exact_mut(3)) {
            let [state, waits, under_way] = &mut values else { continue };
            let taken = |v: &mut redis::Value| std::mem::replace(v, redis::Value::Nil);
            let state: HashMap<String, String> =
                redis::from_redis_value(taken(state)).map_err(|_| odd("limits"))?;
            let waits: HashMap<String, String> =
                redis::from_redis_value(taken(waits)).map_err(|_| odd("waiting"))?;
            let under_way: u32 = redis::from_redis_value(taken(under_way)).map_err(|_| odd("slots"))?;
            views.push(Flow::read(&state).view(c, under_way, who_waits(&waits, now), now, at));
        }
        Ok(views)
    }
}

/// By lane, of those that said so lately.
fn who_waits(said: &HashMap<String, String>, now: f64) -> [u64; 3] {
    let mut sum = [0; 3];
    for text in said.values() {
        let mut numbers = text.split(' ').map(|n| n.parse::<f64>().unwrap_or(0.0));
        if numbers.next().unwrap_or(0.0) + WAITING_FOR.as_millis() as f64 > now {
            sum.iter_mut().zip(numbers).for_each(|(sum, n)| *sum += n as u64);
        }
    }
    sum
}

fn waiting(connection: &str) -> String {
    format!("{}:waiting", limits(connection))
}

fn slots(connection: &str) -> String {
    format!("{}:slots", limits(connection))
}

impl RedisStore {
    /// The server's time.
    async fn server_ms(&self) -> Result<f64> {
        let (s, us): (f64, f64) = self.query(&redis::cmd("TIME")).await?;
        Ok(s * 1000.0 + us / 1000.0)
    }

    /// Who is registered, by name, and the names of those who were.
    async fn registered(&self, now: f64) -> Result<(Vec<Registered>, Vec<String>)> {
        let all: HashMap<String, String> = self.query(redis::cmd("HGETALL").arg(CONNECTIONS)).await?;
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        for (name, text) in all {
            let fresh = text.split_once(' ').and_then(|(at, json)| {
                let at: f64 = at.parse().ok()?;
                let c: Registered = serde_json::from_str(json).ok()?;
                (at + REGISTERED_FOR.as_millis() as f64 > now).then_some(c)
            });
            match fresh {
                Some(c) => there.push(c),
                None => gone.push(name),
            }
        }
        there.sort_by(|a, b| a.connection.cmp(&b.connection));
        Ok((there, gone))
    }
}
