//! Calls to the AdminService: token, retry, paging.
//!
//! # Guarantees
//! The token goes to the configured origin only: a `nextLink` to another one is refused. Lists are bounded in pages and
//! rows, and end when a page leads back; a later page that is put off for a moment is waited for. A creation is sent once: whether one without an answer arrived is for the caller
//! to find out.

use std::collections::HashSet;
use std::sync::Arc;

use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;
use trueup_model::{EffectKey, Fault};

use super::auth::Tokens;
use super::parse::Page;
use super::query::{PAGE, Query};
use super::request::Request;
use crate::broker::Permit;
use crate::http::{Answer, Auth, Call, Cost, Http, Lane, Payload, parse_json};
use crate::put_off::Waits;

/// Names of budgets.
pub(crate) const CALLS: &str = "calls";
pub(crate) const WRITES: &str = "writes";
/// Pages of one list beyond which it is given up.
const MAX_PAGES: usize = 2_000;
/// Rows of one list beyond which it is given up.
const MAX_ROWS: usize = 1_000_000;

#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) http: Arc<Http>,
    pub(crate) tokens: Arc<Tokens>,
    /// `https://provider.example/AdminService`, without a slash at its end.
    pub(crate) base: Url,
    /// Of all calls through this value.
    pub(crate) lane: Lane,
}

impl Service {
    /// Waits until nobody else of the fleet changes anything through this connection.
    pub(crate) async fn alone(&self) -> Result<Permit, Fault> {
        self.http.alone("changes").await
    }

    /// The same, for calls of another lane.
    pub(crate) fn at(&self, lane: Lane) -> Self {
        Self { lane, ..self.clone() }
    }

    fn call(&self, request: &Request, key: Option<&EffectKey>) -> Result<Call, Fault> {
        let url = format!("{}{}", self.base.as_str().trim_end_matches('/'), request.path);
        let url = Url::parse(&url)
            .map_err(|e| Fault::bug(format!("cannot build a URL from '{}': {e}", request.path)))?;
        let cost = Cost::of(CALLS, 1).and(WRITES, u32::from(request.method != Method::GET));
        Ok(Call {
            method: request.method.clone(),
            url,
            template: request.template,
            headers: key.map(|key| ("client-request-id", key.to_string())).into_iter().collect(),
            payload: request.body.clone().map_or(Payload::None, Payload::Json),
            auth: Auth::None,
            lane: self.lane,
            cost,
        })
    }

    /// One call with a token, which is renewed once if it is refused. Any status.
    async fn once(&self, mut call: Call) -> Result<Answer, Fault> {
        let bearer = self.tokens.get(&self.http, None).await?;
        call.auth = Auth::Bearer(bearer.clone());
        let mut answer = self.http.send(&call).await.map_err(untrusted)?;
        if answer.status == 401 {
            let renewed = self.tokens.get(&self.http, Some(&bearer)).await?;
            if renewed != bearer {
                call.auth = Auth::Bearer(renewed);
                answer = self.http.send(&call).await.map_err(untrusted)?;
            }
        }
        Ok(answer)
    }

    /// Sent once, whatever happens. `Err` only where there is no answer, or one that asks to wait.
    pub(crate) async fn send_once(&self, request: &Request, key: &EffectKey) -> Result<Answer, Fault> {
        let call = self.call(request, Some(key))?;
        let answer = self.once(call.clone()).await?;
        if answer.wait.is_some() {
            return self.http.judge(&call, answer);
        }
        Ok(answer)
    }

    /// There is a token, so that what fails afterwards failed at sending.
    pub(crate) async fn signed_in(&self) -> Result<(), Fault> {
        self.tokens.get(&self.http, None).await.map(drop)
    }

    /// Why it is unknown whether what [`Self::send_once`] sent was done: no answer, or one that does not tell.
    pub(crate) fn unclear<T: DeserializeOwned>(
        &self,
        request: &Request,
        sent: &Result<Answer, Fault>,
    ) -> Option<Fault> {
        match sent {
            Err(fault @ Fault::Transient { .. }) => Some(fault.clone()),
            Ok(answer) if answer.status < 300 || answer.status == 408 || answer.status >= 500 => {
                self.read::<T>(request, answer.clone()).err()
            }
            _ => None,
        }
    }

    /// What an answer of [`Self::send_once`] says, if it is a success.
    pub(crate) fn read<T: DeserializeOwned>(&self, request: &Request, answer: Answer) -> Result<T, Fault> {
        let call = self.call(request, None)?;
        let answer = self.http.judge(&call, answer)?;
        parse_json(&call.name(), answer.status, &answer.body)
    }

    /// The refusal in an answer of [`Self::send_once`], if it is one.
    pub(crate) fn accepted(&self, request: &Request, answer: Answer) -> Result<u16, Fault> {
        let call = self.call(request, None)?;
        self.http.judge(&call, answer).map(|answer| answer.status)
    }

    async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Fault> {
        let name = call.name();
        crate::retry::transient(|| async {
            let answer = self.http.judge(&call, self.once(call.clone()).await?)?;
            parse_json(&name, answer.status, &answer.body)
        })
        .await
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Fault> {
        self.json(self.call(request, None)?).await
    }

    /// One object by its key; `None`: there is none.
    pub(crate) async fn find<T: DeserializeOwned>(&self, request: &Request) -> Result<Option<T>, Fault> {
        let call = self.call(request, None)?;
        let page: Option<Page> = crate::retry::transient(|| async {
            let answer = self.once(call.clone()).await?;
            if answer.status == 404 {
                return Ok(None);
            }
            let answer = self.http.judge(&call, answer)?;
            parse_json(&call.name(), answer.status, &answer.body).map(Some)
        })
        .await?;
        page.and_then(|p| p.value.into_iter().next()).map(|row| row_as(request.template, row)).transpose()
    }

    /// All rows of several queries.
    pub(crate) async fn rows_of_all<T: DeserializeOwned>(&self, queries: &[Query]) -> Result<Vec<T>, Fault> {
        let mut all = Vec::new();
        for query in queries {
            all.extend(self.rows(query).await?);
        }
        Ok(all)
    }

    /// All rows. Each window of [`PAGE`] rows begins where the one before ended; the server may cut a window into pages of
    /// its own.
    pub(crate) async fn rows<T: DeserializeOwned>(&self, query: &Query) -> Result<Vec<T>, Fault> {
        let mut all: Vec<T> = Vec::new();
        let mut pages = 0;
        let waits = Waits::new(self.http.clock());
        let mut from: Option<Value> = None;
        loop {
            let mut window = self.window(query, from.as_ref(), &mut pages, &waits).await?;
            let full = window.len() >= PAGE;
            if full {
                // The last key may go on in the next window, so it is read again from its beginning.
                let last = window.last().map(|row| row[query.key].clone()).unwrap_or_default();
                window.retain(|row| row[query.key] != last);
                if window.is_empty() || last.is_null() {
                    return Err(Fault::permanent(format!(
                        "{}: {PAGE} rows with the same {}, cannot go on from there",
                        query.template, query.key
                    )));
                }
                from = Some(last);
            }
            for row in window {
                all.push(row_as(query.template, row)?);
            }
            if all.len() > MAX_ROWS {
                return Err(Fault::permanent(format!("{} has more than {MAX_ROWS} rows", query.template)));
            }
            if !full {
                return Ok(all);
            }
        }
    }

    async fn window(
        &self,
        query: &Query,
        from: Option<&Value>,
        pages: &mut usize,
        waits: &Waits,
    ) -> Result<Vec<Value>, Fault> {
        let first = self.call(&query.page(from), None)?;
        let (mut rows, mut seen) = (Vec::new(), HashSet::from([first.url.clone()]));
        let mut next = Some(first.clone());
        while let Some(call) = next {
            *pages += 1;
            if *pages > MAX_PAGES {
                return Err(Fault::permanent(format!("{} has more than {MAX_PAGES} pages", query.template)));
            }
            let page: Page = match *pages {
                1 => self.json(call).await?,
                _ => waits.page(|| self.json(call.clone())).await?,
            };
            rows.extend(page.value);
            next = match page.next {
                None => None,
                Some(link) => {
                    let url = self.next_url(query.template, &link)?;
                    if !seen.insert(url.clone()) {
                        return Err(Fault::permanent(format!(
                            "{}: a next page that leads back to one that was read",
                            query.template
                        )));
                    }
                    Some(Call { url, ..first.clone() })
                }
            };
        }
        Ok(rows)
    }

    fn next_url(&self, template: &str, link: &str) -> Result<Url, Fault> {
        let url = Url::parse(link).ok().filter(|url| url.origin() == self.base.origin());
        url.ok_or_else(|| {
            let link = crate::redact::one_line(link, 120);
            Fault::permanent(format!(
                "{template}: the next page '{link}' is not at {}; not followed, the token must not leave the configured server",
                self.base.host_str().unwrap_or_default()
            ))
        })
    }
}

fn row_as<T: DeserializeOwned>(template: &str, row: Value) -> Result<T, Fault> {
    serde_json::from_value(row).map_err(|e| {
        let why = crate::redact::one_line(&e.to_string(), 160);
        Fault::permanent(format!("{template}: a row of an unexpected shape: {why}"))
    })
}

/// A certificate that nobody here trusts does not pass by waiting.
fn untrusted(fault: Fault) -> Fault {
    match fault {
        Fault::Transient { what } if what.contains("invalid peer certificate") => Fault::permanent(format!(
            "{what}; if the site has its own certificate authority, set ca_file of the connection to that authority's certificate (PEM)"
        )),
        other => other,
    }
}
