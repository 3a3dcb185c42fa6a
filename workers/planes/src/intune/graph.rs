//! Calls to Graph: token, retry, paging, `$batch`.
//!
//! # Guarantees
//! The token goes to the configured origin only: a `nextLink` to another one is refused. Lists are bounded in pages and entries, and end when a page leads back.
//! A batch has one answer per item, in order, whatever order and number Graph answers with.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;
use serde::de::DeserializeOwned;
use trueup_model::{EffectKey, Fault};

use super::parse::{Batch, BatchItem, Page};
use super::request::{self, MAX_BATCH, Request};
use super::token::Tokens;
use crate::broker::{Lane, Said};
use crate::http::{Answer, Auth, Call, Http, Payload, RetryAfter, parse_json};

/// Pages of one list beyond which it is given up.
const MAX_PAGES: usize = 2_000;
/// Entries of one list beyond which it is given up.
const MAX_ITEMS: usize = 1_000_000;
/// Batches under way at once.
const BATCHES_AT_ONCE: usize = 4;

#[derive(Debug, Clone)]
pub(crate) struct Graph {
    pub(crate) http: Arc<Http>,
    pub(crate) tokens: Arc<Tokens>,
    /// Of all calls through this value.
    pub(crate) lane: Lane,
    /// `https://graph.microsoft.com/v1.0`, without a slash at its end.
    pub(crate) base: Url,
}

/// An item of a batch that was answered with a success, or why not.
pub(crate) type ItemAnswer = Result<BatchItem, ItemFault>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ItemFault {
    /// 404: what was asked for does not exist.
    Absent(Fault),
    Other(Fault),
}

impl ItemFault {
    pub(crate) fn into_fault(self) -> Fault {
        match self {
            Self::Absent(f) | Self::Other(f) => f,
        }
    }
}

impl Graph {
    /// The same, for calls of another lane.
    pub(crate) fn at(&self, lane: Lane) -> Self {
        Self { lane, ..self.clone() }
    }

    fn url(&self, path: &str) -> Result<Url, Fault> {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        Url::parse(&url).map_err(|e| Fault::bug(format!("cannot build a URL from '{path}': {e}")))
    }

    fn call(&self, request: &Request, url: Url, effect: Option<&EffectKey>) -> Call {
        Call {
            method: request.method.clone(),
            url,
            template: request.template,
            headers: effect.map(|key| ("client-request-id", key.to_string())).into_iter().collect(),
            payload: request.body.clone().map_or(Payload::None, Payload::Json),
            auth: Auth::None,
            lane: self.lane,
            cost: request.cost.clone(),
        }
    }

    /// One call with a token, which is renewed once if it is refused.
    async fn once(&self, mut call: Call) -> Result<Answer, Fault> {
        let bearer = self.tokens.get(None).await?;
        call.auth = Auth::Bearer(bearer.clone());
        let mut answer = self.http.send(&call).await?;
        if answer.status == 401 {
            call.auth = Auth::Bearer(self.tokens.get(Some(&bearer)).await?);
            answer = self.http.send(&call).await?;
        }
        self.http.judge(&call, answer)
    }

    /// A call whose answer has no content that matters.
    pub(crate) async fn send(&self, request: &Request, effect: Option<&EffectKey>) -> Result<u16, Fault> {
        let call = self.call(request, self.url(&request.path)?, effect);
        crate::retry::transient(|| self.once(call.clone())).await.map(|answer| answer.status)
    }

    async fn json<T: DeserializeOwned>(&self, request: &Request, url: Url) -> Result<T, Fault> {
        let call = self.call(request, url, None);
        let name = call.name();
        crate::retry::transient(|| async {
            let answer = self.once(call.clone()).await?;
            parse_json(&name, answer.status, &answer.body)
        })
        .await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Fault> {
        self.json(request, self.url(&request.path)?).await
    }

    /// A whole list.
    pub(crate) async fn list<T: DeserializeOwned>(&self, request: &Request) -> Result<Vec<T>, Fault> {
        let first: Page<T> = self.get(request).await?;
        self.rest(request, first).await
    }

    /// The pages after the first.
    pub(crate) async fn rest<T: DeserializeOwned>(
        &self,
        request: &Request,
        first: Page<T>,
    ) -> Result<Vec<T>, Fault> {
        let (mut all, mut next) = (first.value, first.next);
        let mut pages = 1;
        let mut seen = HashSet::new();
        while let Some(link) = next {
            if !seen.insert(link.clone()) {
                return Err(Fault::permanent(format!(
                    "{}: a next page that leads back to one that was read",
                    request.template
                )));
            }
            if all.len() > MAX_ITEMS {
                return Err(Fault::permanent(format!(
                    "{} has more than {MAX_ITEMS} entries",
                    request.template
                )));
            }
            pages += 1;
            if pages > MAX_PAGES {
                return Err(Fault::permanent(format!(
                    "{} has more than {MAX_PAGES} pages",
                    request.template
                )));
            }
            let page: Page<T> = self.json(request, self.next_url(request, &link)?).await?;
            all.extend(page.value);
            next = page.next;
        }
        Ok(all)
    }

    fn next_url(&self, request: &Request, link: &str) -> Result<Url, Fault> {
        let url = Url::parse(link).ok().filter(|url| url.origin() == self.base.origin());
        url.ok_or_else(|| {
            let link = crate::redact::one_line(link, 120);
            Fault::permanent(format!(
                "{}: the next page '{link}' is not at {}; not followed, the token must not leave the configured server",
                request.template,
                self.base.host_str().unwrap_or_default()
            ))
        })
    }

    /// Any number of requests, in batches. One answer per request, in order.
    pub(crate) async fn batch(&self, items: &[Request], effect: Option<&EffectKey>) -> Vec<ItemAnswer> {
        use futures::StreamExt;
        let size = items.iter().map(|i| self.http.at_once(&i.cost)).min().unwrap_or(MAX_BATCH);
        // Boxed before it is buffered: a borrowing closure in a stream is not general enough for `Send`.
        let batches: Vec<_> = items
            .chunks(size.clamp(1, MAX_BATCH))
            .map(|chunk| Box::pin(self.one_batch(chunk, effect)))
            .collect();
        let answers: Vec<Vec<ItemAnswer>> =
            futures::stream::iter(batches).buffered(BATCHES_AT_ONCE).collect().await;
        answers.into_iter().flatten().collect()
    }

    /// Items that fail in a way that usually passes are asked again, those only.
    async fn one_batch(&self, items: &[Request], effect: Option<&EffectKey>) -> Vec<ItemAnswer> {
        let answers: Mutex<Vec<Option<ItemAnswer>>> = Mutex::new(items.iter().map(|_| None).collect());
        let lock = || answers.lock().unwrap_or_else(PoisonError::into_inner);
        let open =
            |a: &Option<ItemAnswer>| matches!(a, None | Some(Err(ItemFault::Other(Fault::Transient { .. }))));
        let result = crate::retry::transient(|| async {
            let pending: Vec<usize> =
                lock().iter().enumerate().filter(|(_, a)| open(a)).map(|(i, _)| i).collect();
            let asked: Vec<Request> = pending.iter().map(|i| items[*i].clone()).collect();
            let answered = self.ask(&asked, effect).await?;
            let mut all = lock();
            let mut passing = None;
            for (i, answer) in pending.into_iter().zip(answered) {
                if let Err(ItemFault::Other(fault @ Fault::Transient { .. })) = &answer {
                    passing = Some(fault.clone());
                }
                all[i] = Some(answer);
            }
            passing.map_or(Ok(()), Err)
        })
        .await;
        // What has no answer of its own shares the fault of the batch.
        let fault = result.err().unwrap_or_else(|| Fault::bug("an item of a batch has no answer"));
        let answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        answers.into_iter().map(|a| a.unwrap_or_else(|| Err(ItemFault::Other(fault.clone())))).collect()
    }

    async fn ask(&self, items: &[Request], effect: Option<&EffectKey>) -> Result<Vec<ItemAnswer>, Fault> {
        let request = request::batch(items);
        let call = self.call(&request, self.url(&request.path)?, effect);
        let name = call.name();
        let answer = self.once(call).await?;
        let batch: Batch = parse_json(&name, answer.status, &answer.body)?;
        let mut by_id: HashMap<String, BatchItem> =
            batch.responses.into_iter().map(|r| (r.id.clone(), r)).collect();
        let judge = |(i, item): (usize, &Request)| match by_id.remove(&i.to_string()) {
            None => Err(ItemFault::Other(Fault::transient(format!(
                "{} was not answered in the batch",
                item.template
            )))),
            Some(response) => self.judge_item(item, response),
        };
        let answers: Vec<ItemAnswer> = items.iter().enumerate().map(judge).collect();
        self.learn(&request, &answers).await;
        Ok(answers)
    }

    /// Graph counts the items of a batch one by one, and refuses them one by one.
    async fn learn(&self, batch: &Request, answers: &[ItemAnswer]) {
        let waits: Vec<_> = answers
            .iter()
            .filter_map(|a| match a {
                Err(ItemFault::Other(Fault::Throttled { until, .. })) => Some(*until),
                _ => None,
            })
            .collect();
        if waits.is_empty() {
            return;
        }
        let all = waits.len() == answers.len();
        let said = if all { Said::AskedToWait { until: waits.into_iter().max() } } else { Said::Crowded };
        self.http.learn(&batch.cost, said).await;
    }

    fn judge_item(&self, item: &Request, response: BatchItem) -> ItemAnswer {
        let status = response.status;
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let now = self.http.clock().now();
        let asked = response.header("retry-after").and_then(|text| RetryAfter::parse(text, now)).map(|r| r.0);
        let wait = match (status, asked) {
            (429, None) => Some(now + trueup_model::Duration::seconds(30)),
            (429 | 503, until) => until,
            _ => None,
        };
        let name = format!("{} {} (in a batch)", item.method, item.template);
        let fault = self.http.refusal(&name, status, response.body.to_string().as_bytes(), wait);
        Err(if status == 404 { ItemFault::Absent(fault) } else { ItemFault::Other(fault) })
    }
}
