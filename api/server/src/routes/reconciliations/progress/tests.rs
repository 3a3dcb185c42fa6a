//! Waiting, with a store that counts and takes its time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use trueup_engine::EngineError;
use trueup_engine::requests::{Accepted, Answer, Asked, Claim, Claimed, Part, Standing};
use trueup_engine::store::Page;
use trueup_model::{Partition, Trigger};

use super::*;

type Result<T> = std::result::Result<T, EngineError>;

/// A store of one reconciliation that takes its time.
struct Slow {
    chunks: Vec<Vec<Asked>>,
    takes: Duration,
    /// Whether its runs have ended by that look.
    ended: fn(chunk: usize, look: usize) -> bool,
    /// How often each chunk was read.
    looks: Mutex<Vec<usize>>,
}

impl Slow {
    /// Chunks of two intents each.
    fn of(chunks: usize, takes: Duration, ended: fn(usize, usize) -> bool) -> (Self, Reconciliation) {
        let asked = |chunk: usize, n: usize| Asked(IntentKey::new("acme", format!("{chunk}.{n}")), 0);
        let head = Reconciliation {
            id: ReconciliationId::derive(&["slow"]),
            home: Partition(0),
            tenants: vec!["acme".into()],
            selector: None,
            accepted: 2 * chunks as u64,
            refused: 0,
            chunks: chunks as u32,
            actor: "tester".into(),
            requested_at: Time::UNIX_EPOCH,
            correlation_id: CorrelationId::derive(&["slow"]),
        };
        let looks = Mutex::new(vec![0; chunks]);
        let chunks = (0..chunks).map(|chunk| vec![asked(chunk, 0), asked(chunk, 1)]).collect();
        (Self { chunks, takes, ended, looks }, head)
    }

    fn looks(&self) -> Vec<usize> {
        self.looks.lock().unwrap().clone()
    }
}

#[async_trait]
impl Requests for Slow {
    async fn asked(&self, _: &Reconciliation, from: u32, n: u32) -> Result<Vec<Vec<Asked>>> {
        Ok(self.chunks[from as usize..(from + n) as usize].to_vec())
    }

    async fn standings(&self, keys: &[IntentKey]) -> Result<Vec<Option<Standing>>> {
        let _ = timeout(self.takes, pending::<()>()).await;
        let mut looks = self.looks.lock().unwrap();
        let standing = |key: &IntentKey| {
            let (chunk, n) = key.id.split_once('.')?;
            let chunk: usize = chunk.parse().ok()?;
            looks[chunk] += usize::from(n == "0");
            let active = if (self.ended)(chunk, looks[chunk]) { None } else { Some(Trigger::Request) };
            Some(Standing { runs: 1, active, condition: Condition::InSync, reconciled: true })
        };
        Ok(keys.iter().map(standing).collect())
    }

    async fn names_of(
        &self,
        _: Partition,
        _: &str,
        _: Option<&IntentKey>,
        _: usize,
    ) -> Result<Vec<IntentKey>> {
        unreachable!()
    }
    async fn accept(&self, _: &Part) -> Result<Accepted> {
        unreachable!()
    }
    async fn reconciliation(&self, _: &ReconciliationId) -> Result<Option<Reconciliation>> {
        unreachable!()
    }
    async fn reconciliations(&self, _: Option<&str>, _: usize) -> Result<Page<Reconciliation>> {
        unreachable!()
    }
    async fn event_ends(&self) -> Result<BTreeMap<u16, u64>> {
        unreachable!()
    }
    async fn claim(&self, _: Claimed<'_>) -> Result<Claim> {
        unreachable!()
    }
    async fn answer(&self, _: Claimed<'_>, _: &Answer) -> Result<bool> {
        unreachable!()
    }
    async fn release(&self, _: Claimed<'_>) -> Result<()> {
        unreachable!()
    }
}

/// What is told after waiting so long, and the seconds that took.
async fn told(slow: &Slow, head: &Reconciliation, wait: u64) -> (Progress, u64) {
    let began = tokio::time::Instant::now();
    let progress = Progress::until_done(slow, head, Duration::from_secs(wait)).await.unwrap();
    (progress, began.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn what_is_through_is_read_once() {
    // The last chunk of ten ends when it is looked at for the fifth time.
    let (slow, head) = Slow::of(10, Duration::ZERO, |chunk, look| chunk != 9 || look >= 5);
    let (progress, _) = told(&slow, &head, 30).await;
    assert!(progress.is_done());
    assert_eq!((progress.finished.in_sync, progress.total()), (20, 20));
    assert_eq!(slow.looks(), [1, 1, 1, 1, 1, 1, 1, 1, 1, 5]);
}

#[tokio::test(start_paused = true)]
async fn the_answer_comes_in_time_and_says_what_was_not_read() {
    // Twelve goes of three seconds: more than a request may take.
    let (slow, head) = Slow::of(48, Duration::from_secs(3), |_, _| true);
    for wait in [0, 30] {
        let (progress, seconds) = told(&slow, &head, wait).await;
        assert_eq!(seconds, WAITS.as_secs());
        assert_eq!((progress.finished.in_sync, progress.unread), (8 * 4 * 2, 4 * 4 * 2));
        assert!(!progress.is_done());
        assert_eq!(serde_json::to_value(progress).unwrap()["unread"], 32);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_look_is_a_part_of_the_wait() {
    for (wait, expected) in [(0, 6), (2, 6), (10, 10), (30, 25)] {
        let (slow, head) = Slow::of(8, Duration::from_secs(3), |_, _| false);
        let (progress, seconds) = told(&slow, &head, wait).await;
        assert_eq!(seconds, expected, "{wait}");
        assert_eq!((progress.running, progress.unread), (16, 0), "{wait}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_is_lost_is_no_end() {
    let (mut slow, head) = Slow::of(3, Duration::ZERO, |_, _| true);
    slow.chunks[1].clear();
    let (progress, _) = told(&slow, &head, 0).await;
    assert_eq!((progress.finished.in_sync, progress.unread, progress.is_done()), (4, 2, false));
}

#[test]
fn a_wait_is_read_or_refused() {
    for (text, seconds) in [("0s", Some(0)), ("7s", Some(7)), ("30s", Some(30))] {
        assert_eq!(wait(text).ok().map(|d| d.as_secs()), seconds, "{text}");
    }
    for text in ["", "s", "31s", "30", "1m", "-1s", "+1s", "030s", "1.5s", "9999999999999999999999s"] {
        assert!(wait(text).unwrap_err().contains("30s"), "{text}");
    }
}
