//! Heartbeats, rescue, leaving, and being woken.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::Notify;
use trueup_model::event::LOOP;
use trueup_model::{Partition, Queue};

use super::{Call, MAX_RESCUES, RedisStore, Result, script};
use crate::keys::{Keys, WAKE};
use crate::store::{Beat, Incarnation};

script!(BEAT, "beat");
script!(LEAVE, "leave");

impl RedisStore {
    pub(super) fn has_beaten(&self, p: Partition, who: &Incarnation) -> bool {
        self.beaten.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&(p, who.clone()))
    }

    pub(super) async fn do_beat(&self, p: Partition, who: &Incarnation) -> Result<Beat> {
        let here = (p, who.clone());
        let known = self.has_beaten(p, who);
        let now = self.clock.now();
        let (keys, mut call) = (Keys(p), Call::new(&BEAT));
        call.key(keys.workers());
        call.key(keys.events());
        call.arg(who.0.as_str()).num(u8::from(known)).num(self.dead_after.as_millis()).num(MAX_RESCUES);
        call.num(now.timestamp_millis()).arg(now.to_rfc3339()).num(p).arg(LOOP);
        for q in Queue::all() {
            for key in [keys.active(q), keys.meta(q), keys.dead(q), keys.inflight(q), keys.troubled(q)] {
                call.key(key);
            }
            call.arg(q.to_string());
        }
        let (dead, rescued, worn_out, process): (u8, u64, u64, String) = call.run(&self.connection.0).await?;
        let restarted = {
            let mut beaten = self.beaten.lock().unwrap_or_else(PoisonError::into_inner);
            if dead == 1 {
                // Told once; a new incarnation has a new name.
                beaten.remove(&here);
                false
            } else {
                beaten.get(&here).is_some_and(|before| *before != process) || {
                    beaten.insert(here, process);
                    false
                }
            }
        };
        if restarted {
            // It may have forgotten its last second: jobs that we have ended are in our hands again there, and nobody
            // would take them from somebody who is alive. Give everything back, and go on under a new name.
            self.do_leave(p, who).await?;
        }
        Ok(Beat { declared_dead: dead == 1 || restarted, rescued, worn_out })
    }

    pub(super) async fn do_leave(&self, p: Partition, who: &Incarnation) -> Result<()> {
        loop {
            let (keys, mut call) = (Keys(p), Call::new(&LEAVE));
            call.key(keys.workers());
            call.arg(who.0.as_str()).num(p);
            for q in Queue::all() {
                call.key(keys.active(q));
                call.key(keys.inflight_of(q, who));
            }
            if call.run::<u8>(&self.connection.0).await? == 1 {
                self.beaten.lock().unwrap_or_else(PoisonError::into_inner).remove(&(p, who.clone()));
                return Ok(());
            }
        }
    }
}

/// Listens for wake-ups for as long as the store lives; a lost subscription is made again. Wake-ups only make things
/// sooner: whoever waits also has a time limit.
#[expect(
    clippy::disallowed_methods,
    reason = "waits between attempts to reach Redis again; no decision depends on it"
)]
pub(super) async fn listen(client: redis::Client, wake: Arc<Notify>) {
    loop {
        if let Ok(mut pubsub) = client.get_async_pubsub().await
            && pubsub.subscribe(WAKE).await.is_ok()
        {
            // Something may have come while nobody listened.
            wake.notify_waiters();
            let mut messages = pubsub.on_message();
            // A line that was cut silently looks like one on which nothing happens: listen anew now and then.
            while let Ok(Some(_)) = tokio::time::timeout(Duration::from_secs(30), messages.next()).await {
                wake.notify_waiters();
                wake.notify_one();
            }
            continue;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
