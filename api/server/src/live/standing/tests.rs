use axum::body::BodyDataStream;
use futures::StreamExt as _;
use trueup_engine::credentials::{Credential, KeyChange, SecretHash};
use trueup_engine::memory::MemoryStore;
use trueup_engine::store::{By, EventFilter};
use trueup_model::{CorrelationId, Duration as Span, ManualClock, Time};

use super::*;
use crate::identity::{Policies, Principal, generate};
use crate::live::{Filter, stream};

fn start() -> Time {
    "2026-01-06T08:00:00Z".parse().unwrap()
}

/// One key, and a stream that it opened.
struct Opened {
    state: ApiState,
    clock: ManualClock,
    id: String,
    headers: HeaderMap,
    body: BodyDataStream,
}

fn by() -> By {
    By { actor: "test".into(), correlation_id: CorrelationId::derive(&["x"]), now: start() }
}

fn credential(id: &str, hash: &SecretHash) -> Credential {
    Credential {
        id: id.into(),
        label: "test".into(),
        grants: vec!["acme:viewer".parse().unwrap()],
        created_at: start(),
        created_by: "test".into(),
        expires_at: Some(start() + Span::hours(1)),
        rotated_at: None,
        revoked_at: None,
        secret: hash.clone(),
        previous: None,
        last_used_at: None,
    }
}

async fn opened() -> Opened {
    let clock = ManualClock::at(start());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(2));
    let made = generate().unwrap();
    assert!(store.credentials().create_credential(&credential(&made.id, &made.hash), &by()).await.unwrap());
    let state =
        ApiState::new(store, Arc::new(clock.clone())).with_identity(Identity::required(Policies::shipped()));
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, format!("Bearer {}", made.key).parse().unwrap());
    let access = state.identity.authenticate(&headers, &state.store, start()).await.unwrap();
    let standing = Standing::of(&state, &headers, access.clone());
    let filter = Filter { tenant: None, events: EventFilter::default(), access };
    let answer = stream(&state.live, &state.store, filter, standing, None).await.unwrap();
    let body = answer.into_body().into_data_stream();
    Opened { state, clock, id: made.id, headers, body }
}

impl Opened {
    async fn change(&self, change: KeyChange) {
        let credentials = self.state.store.credentials();
        assert!(credentials.change_credential(&self.id, &change, &by()).await.unwrap().is_some());
    }

    /// What is said last, and after how long.
    async fn last(&mut self) -> (String, Duration) {
        let began = tokio::time::Instant::now();
        let mut last = String::new();
        while let Some(said) = self.body.next().await {
            last = String::from_utf8(said.unwrap().to_vec()).unwrap();
        }
        (last, began.elapsed())
    }
}

/// Where the key is looked at anew, in this or another process.
const SEEN: Duration = Duration::from_secs(11);

#[tokio::test(start_paused = true)]
async fn a_revoked_key_hears_no_more() {
    let mut opened = opened().await;
    opened.change(KeyChange::Revoke).await;
    let (last, after) = opened.last().await;
    assert!(
        last.contains("event: ended") && last.contains("revoked") && last.contains("last_event_id"),
        "{last}"
    );
    assert!(after <= SEEN, "{after:?}");
    assert_eq!(opened.state.live.asking.available_permits(), super::super::ASKING);
}

#[tokio::test(start_paused = true)]
async fn a_replaced_secret_hears_no_more() {
    let mut opened = opened().await;
    let secret = generate().unwrap().hash;
    opened.change(KeyChange::Rotate { secret, grace_until: None, expires_at: None }).await;
    let (last, after) = opened.last().await;
    assert!(last.contains("event: ended") && last.contains("not valid"), "{last}");
    assert!(after <= SEEN, "{after:?}");
}

#[tokio::test]
async fn other_grants_are_seen() {
    let opened = opened().await;
    for (had, expected) in
        [("acme:viewer", None), ("acme:operator", Some("what this proof grants has changed"))]
    {
        let principal = Principal::new(Kind::Key, &opened.id, vec![had.parse().unwrap()], None);
        let access = Access::new(principal, Policies::shipped());
        let mut standing = Standing::of(&opened.state, &opened.headers, access);
        assert_eq!(standing.look(&opened.state.live).await.as_deref(), expected, "{had}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_key_hears_no_more() {
    let mut opened = opened().await;
    opened.clock.advance(Span::minutes(59));
    for _ in 0..5 {
        let said = opened.body.next().await.unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&said).contains("ended"), "it holds for another minute");
    }
    opened.clock.advance(Span::minutes(1));
    let (last, after) = opened.last().await;
    assert!(last.contains("event: ended") && last.contains("expired at 2026-01-06T09:00:00"), "{last}");
    assert!(after <= SEEN, "{after:?}");
}

#[tokio::test]
async fn the_expiry_is_not_waited_past() {
    let opened = opened().await;
    let standing = |left: Option<Span>| {
        let principal = Principal::new(Kind::Key, "k", Vec::new(), left.map(|l| start() + l));
        Standing::of(&opened.state, &HeaderMap::new(), Access::new(principal, Policies::shipped()))
    };
    let ask = Duration::from_secs(5);
    for (left, expected) in [
        (None, ask),
        (Some(Span::hours(1)), ask),
        (Some(Span::milliseconds(20)), Duration::from_millis(20)),
        // Expired, and believed a little longer: no faster than otherwise.
        (Some(Span::zero()), ask),
        (Some(Span::seconds(-1)), ask),
    ] {
        assert_eq!(standing(left).pause(ask), expected, "{left:?}");
    }
}
