//! Budgets in memory: the same rules on the caller's clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use trueup_model::Lane;

use super::{MemoryStore, Result};
use crate::budgets::flow::Flow;
use crate::budgets::{
    Ask, Budgets, ConnectionView, Drawn, Learned, Lesson, Pace, REGISTERED_FOR, Registered, WAITING_FOR,
    check, open_to,
};

#[derive(Debug, Default)]
struct Connection {
    flow: Flow,
    /// By process: since when, and how many of each lane.
    waiting: HashMap<String, (f64, [u32; 3])>,
    /// When each ends.
    slots: HashMap<String, f64>,
}

#[derive(Debug, Default)]
struct Inner {
    connections: BTreeMap<String, Connection>,
    registered: BTreeMap<String, (f64, Registered)>,
}

#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<Inner>);

impl Limits {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[async_trait]
impl Budgets for MemoryStore {
    async fn draw(&self, ask: &Ask) -> Result<Drawn> {
        check(&ask.connection, &ask.who, &ask.wanted.iter().map(|w| &w.budget).collect::<Vec<_>>())?;
        let (mut inner, now) = (self.limits.inner(), ask.at.real_ms());
        let connection = inner.connections.entry(ask.connection.clone()).or_default();
        let drawn = connection.flow.draw(ask, now);
        let granted = matches!(drawn, Drawn::Granted { .. });
        let waiting = if granted { ask.still_waiting() } else { ask.waiting };
        connection.waiting.retain(|_, (at, _)| *at + ms(WAITING_FOR) > now);
        if waiting == [0; 3] {
            connection.waiting.remove(&ask.who);
        } else {
            connection.waiting.insert(ask.who.clone(), (now, waiting));
        }
        Ok(drawn)
    }

    async fn learn(&self, lesson: &Lesson) -> Result<Learned> {
        check(&lesson.connection, "", &lesson.buckets.iter().collect::<Vec<_>>())?;
        let (mut inner, now) = (self.limits.inner(), lesson.at.real_ms());
        Ok(inner.connections.entry(lesson.connection.clone()).or_default().flow.learn(lesson, now))
    }

    async fn take_slot(
        &self,
        connection: &str,
        slot: &str,
        at_most: u32,
        lane: Lane,
        lease: Duration,
        at: Pace,
    ) -> Result<bool> {
        check(connection, slot, &[])?;
        let (mut inner, now) = (self.limits.inner(), at.real_ms());
        let slots = &mut inner.connections.entry(connection.to_owned()).or_default().slots;
        slots.retain(|_, until| *until > now);
        if !slots.contains_key(slot) && slots.len() >= open_to(lane, at_most) as usize {
            return Ok(false);
        }
        slots.insert(slot.to_owned(), now + ms(lease));
        Ok(true)
    }

    async fn free_slot(&self, connection: &str, slot: &str) -> Result<()> {
        if let Some(c) = self.limits.inner().connections.get_mut(connection) {
            c.slots.remove(slot);
        }
        Ok(())
    }

    async fn register(&self, connections: &[Registered], at: Pace) -> Result<()> {
        let (mut inner, now) = (self.limits.inner(), at.real_ms());
        inner.registered.retain(|_, (since, _)| *since + ms(REGISTERED_FOR) > now);
        for c in connections {
            check(&c.connection, &c.tenant, &c.budgets.iter().collect::<Vec<_>>())?;
            inner.registered.insert(c.connection.clone(), (now, c.clone()));
        }
        Ok(())
    }

    async fn connections(&self, at: Pace) -> Result<Vec<ConnectionView>> {
        let (inner, now) = (self.limits.inner(), at.real_ms());
        let fresh = inner.registered.values().filter(|(since, _)| *since + ms(REGISTERED_FOR) > now);
        let none = Connection::default();
        let view = |(_, registered): &(f64, Registered)| {
            let c = inner.connections.get(&registered.connection).unwrap_or(&none);
            let mut waiting = [0u64; 3];
            for (_, said) in c.waiting.values().filter(|(since, _)| *since + ms(WAITING_FOR) > now) {
                waiting.iter_mut().zip(said).for_each(|(sum, n)| *sum += u64::from(*n));
            }
            let under_way = c.slots.values().filter(|until| **until > now).count() as u32;
            c.flow.view(registered.clone(), under_way, waiting, now, at)
        };
        Ok(fresh.map(view).collect())
    }
}
