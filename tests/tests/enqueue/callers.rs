//! Callers that ask all the time, and what they were told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use trueup_tests::http::{Got, Http};

/// One request: intents nobody else asks for.
pub(crate) struct Request {
    names: Vec<String>,
    key: Option<String>,
}

impl Request {
    pub(crate) async fn send(&self, http: &mut Http) -> std::io::Result<Got> {
        let body = match self.names.as_slice() {
            [one] => json!({"intent": one}),
            many => json!({"intents": many}),
        };
        let key = self.key.as_ref().map(|key| format!("idempotency-key: {key}\r\n")).unwrap_or_default();
        let headers = format!("content-type: application/json\r\n{key}");
        http.ask("POST", "/v1/reconciliations", &headers, body.to_string().as_bytes()).await
    }
}

/// What callers share, and were told.
#[derive(Default)]
pub(crate) struct Told {
    /// Handle, and the intents that it stands for.
    accepted: Mutex<Vec<(String, Vec<String>)>>,
    /// Have a key and no answer yet.
    open: Mutex<Vec<Request>>,
    /// Intents accepted.
    pub(crate) count: AtomicUsize,
    /// Accepted when they were sent again, because no answer had come.
    pub(crate) resent: AtomicUsize,
    pub(crate) stop: AtomicBool,
    next: AtomicUsize,
    intents: usize,
    /// Where the API serves at the moment.
    address: Mutex<String>,
}

impl Told {
    pub(crate) fn new(address: &str, intents: usize) -> Self {
        Self { intents, address: Mutex::new(address.to_owned()), ..Self::default() }
    }

    pub(crate) fn moved(&self, address: &str) {
        *self.address.lock().expect("a lock") = address.to_owned();
    }

    pub(crate) fn take_open(&self) -> Vec<Request> {
        std::mem::take(&mut self.open.lock().expect("a lock"))
    }

    pub(crate) fn take_accepted(&self) -> Vec<(String, Vec<String>)> {
        std::mem::take(&mut self.accepted.lock().expect("a lock"))
    }

    /// The next `n` intents, each at most once.
    fn more(&self, n: usize, keyed: bool) -> Option<Request> {
        let from = self.next.fetch_add(n, Ordering::Relaxed);
        let names = (from..from + n).map(|n| format!("acme/i{n:06}")).collect();
        (from + n <= self.intents).then(|| Request { names, key: keyed.then(|| format!("key-{from}")) })
    }

    /// A request was accepted.
    pub(crate) fn note(&self, request: &Request, got: &Got) {
        let answer = got.json();
        assert_eq!(answer["accepted"], request.names.len(), "{answer}");
        let id = answer["id"].as_str().expect("a handle").to_owned();
        self.accepted.lock().expect("a lock").push((id, request.names.clone()));
        self.count.fetch_add(request.names.len(), Ordering::Release);
    }
}

/// Asks for `many` at a time until told to stop. What has a key is sent again until it is answered; what has none is not.
pub(crate) async fn call(told: Arc<Told>, many: usize, keyed: bool) {
    let mut http = None;
    while !told.stop.load(Ordering::Acquire) {
        let Some(request) = told.more(many, keyed) else { return };
        let mut tries = 0;
        loop {
            let got = ask(&told, &mut http, &request).await;
            tries += 1;
            match got.as_ref().map(|got| got.status) {
                Some(202) => {
                    told.note(&request, got.as_ref().expect("it is one"));
                    told.resent.fetch_add(usize::from(tries > 1), Ordering::Relaxed);
                    break;
                }
                // A process that died has it, or could not give it up without Redis: for a minute, which is not waited for.
                Some(409) if keyed => {
                    let answer = got.map(|got| got.json()).unwrap_or_default();
                    assert_eq!(answer["type"], "urn:trueup:problem:idempotency-key-in-use", "{answer}");
                    told.open.lock().expect("a lock").push(request);
                    break;
                }
                // Redis is away: nothing was promised.
                Some(503) => soon().await,
                Some(other) => panic!("{other}: {}", got.map(|got| got.json()).unwrap_or_default()),
                None => soon().await,
            }
            if !keyed {
                break;
            }
            if told.stop.load(Ordering::Acquire) {
                told.open.lock().expect("a lock").push(request);
                break;
            }
        }
    }
}

/// Nothing if the connection broke before the answer.
async fn ask(told: &Told, http: &mut Option<Http>, request: &Request) -> Option<Got> {
    if http.is_none() {
        let address = told.address.lock().expect("a lock").clone();
        *http = Some(Http::connect(&address).await.ok()?);
    }
    let got = request.send(http.as_mut()?).await.ok();
    if got.is_none() {
        *http = None;
    }
    got
}

/// Not as long as Retry-After says: the test waits for them.
async fn soon() {
    let _ = tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
}
