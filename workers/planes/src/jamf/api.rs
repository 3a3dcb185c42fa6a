//! Calls to Jamf Pro: token, retry, pages, and what is not there.
//!
//! # Guarantees
//! A list is read whole or not at all: pages that bring nothing new, or fewer computers than Jamf Pro itself counts, are a
//! fault, never a small fleet. Pages are bounded by the count that the first of them told. A later page that is put off
//! for a moment is waited for.

use std::sync::Arc;

use futures::StreamExt;
use reqwest::Url;
use trueup_model::{Fault, Lane};

use super::inventory::{Fleet, Page};
use super::request::{self, Request, Version, XML};
use super::token::Tokens;
use super::xml::{self, Element};
use crate::http::{Answer, Auth, Call, Http, Payload, parse_json};
use crate::put_off::Waits;

/// Pages of the inventory beyond which it is given up.
const MAX_PAGES: u64 = 20_000;
/// Calls of one read under way at once: below the five that Jamf Pro allows, so that writes find a free one.
pub(crate) const AT_ONCE: usize = 3;

#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) http: Arc<Http>,
    pub(crate) tokens: Arc<Tokens>,
    /// The server's URL, without a slash at its end.
    pub(crate) base: Arc<str>,
    /// Of all calls through this value.
    pub(crate) lane: Lane,
    /// Computers per page.
    pub(crate) page_size: u32,
}

impl Api {
    /// The same connection for calls of another lane.
    pub(crate) fn at(&self, lane: Lane) -> Self {
        Self { lane, ..self.clone() }
    }

    fn call(&self, request: &Request) -> Result<Call, Fault> {
        let url = format!("{}{}", self.base, request.path);
        let url = Url::parse(&url)
            .map_err(|e| Fault::bug(format!("cannot build a URL from '{}': {e}", request.path)))?;
        let payload = match &request.body {
            Some(body) => Payload::Text { content_type: XML, body: body.clone() },
            None => Payload::None,
        };
        Ok(Call {
            method: request.method.clone(),
            url,
            template: request.template,
            headers: vec![("accept", request.accept.to_owned())],
            payload,
            auth: Auth::None,
            lane: self.lane,
            cost: request.cost(),
        })
    }

    /// One call with a token, which is renewed once if it is refused. `None`: 404.
    async fn once(&self, request: &Request) -> Result<Option<Answer>, Fault> {
        let mut call = self.call(request)?;
        let bearer = self.tokens.get(None).await?;
        call.auth = Auth::Bearer(bearer.clone());
        let mut answer = self.http.send(&call).await?;
        if answer.status == 401 {
            call.auth = Auth::Bearer(self.tokens.get(Some(&bearer)).await?);
            answer = self.http.send(&call).await?;
        }
        if answer.status == 404 {
            return Ok(None);
        }
        self.http.judge(&call, answer).map(Some)
    }

    /// Something that may not be there; not repeated.
    pub(crate) async fn find_once<T>(
        &self,
        request: &Request,
        read: impl Fn(&Element) -> Result<T, String>,
    ) -> Result<Option<T>, Fault> {
        let Some(answer) = self.once(request).await? else { return Ok(None) };
        let says = |what: &str, why: String| {
            format!("GET {} answered {} with {what}: {why}", request.template, answer.status)
        };
        // What is no XML comes from something in between and usually passes; a shape that was not foreseen does not.
        let root = xml::parse(&answer.body)
            .map_err(|why| Fault::transient(says("something that is not the XML of a Jamf Pro", why)))?;
        read(&root).map(Some).map_err(|why| Fault::permanent(says("XML of an unexpected shape", why)))
    }

    pub(crate) async fn find<T>(
        &self,
        request: &Request,
        read: impl Fn(&Element) -> Result<T, String> + Copy,
    ) -> Result<Option<T>, Fault> {
        crate::retry::transient(|| self.find_once(request, read)).await
    }

    /// A write; not repeated. Gives the status.
    pub(crate) async fn write_once(&self, request: &Request) -> Result<u16, Fault> {
        let gone = || Fault::permanent(format!("{} answered 404: it is gone", request.template));
        Ok(self.once(request).await?.ok_or_else(gone)?.status)
    }

    pub(crate) async fn version(&self) -> Result<String, Fault> {
        let request = request::version();
        let gone = || Fault::permanent(format!("no {}: is `url` a Jamf Pro server's?", request.path));
        crate::retry::transient(|| async {
            let answer = self.once(&request).await?.ok_or_else(gone)?;
            parse_json::<Version>(request.template, answer.status, &answer.body)
        })
        .await
        .map(|wire| crate::redact::one_line(&wire.version, 40))
    }

    async fn page(&self, n: u64) -> Result<Page, Fault> {
        let request = request::inventory(n, self.page_size);
        let gone = || Fault::permanent(format!("no {}: Jamf Pro 11.30 or later is needed", request.template));
        let page = crate::retry::transient(|| async {
            let answer = self.once(&request).await?.ok_or_else(gone)?;
            parse_json(request.template, answer.status, &answer.body)
        });
        page.await.map_err(|fault| match fault {
            Fault::Permanent { what } if what.contains("more than") => Fault::permanent(format!(
                "{what}; lower page_size of the connection (now {})",
                self.page_size
            )),
            other => other,
        })
    }

    /// Every computer, and how many calls that took.
    pub(crate) async fn fleet(&self) -> Result<(Fleet, usize), Fault> {
        let name = request::inventory(0, 1).template;
        let wrong = |why: String| Fault::transient(format!("{name}: {why}; not believed"));
        let mut fleet = Fleet::default();
        let first = self.page(0).await?;
        let mut total = first.total;
        let pages = total.div_ceil(u64::from(self.page_size)).max(1);
        if pages > MAX_PAGES {
            return Err(Fault::permanent(format!(
                "{name} has {pages} pages, more than {MAX_PAGES}: raise page_size of the connection (now {})",
                self.page_size
            )));
        }
        let take = |fleet: &mut Fleet, page: Page, n: u64| {
            let listed = page.results.len();
            let new = fleet.add(page.results, self.http.clock().now()).map_err(wrong)?;
            if new == 0 && page.total > 0 {
                let why = if listed == 0 { "is empty" } else { "repeats computers of earlier pages" };
                let (had, of) = (fleet.computers(), page.total);
                return Err(wrong(format!("page {n} {why}, after {had} computers of {of}")));
            }
            Ok(())
        };
        take(&mut fleet, first, 0)?;
        // Boxed before it is buffered: a borrowing closure in a stream is not general enough for `Send`.
        let waits = &Waits::new(self.http.clock());
        let reads: Vec<_> = (1..pages).map(|n| Box::pin(waits.page(move || self.page(n)))).collect();
        let mut reads = futures::stream::iter(reads).buffered(AT_ONCE);
        let mut n = 0;
        while let Some(page) = reads.next().await {
            let page = page?;
            n += 1;
            // Computers may be deleted meanwhile.
            total = total.min(page.total);
            take(&mut fleet, page, n)?;
        }
        let had = fleet.computers() as u64;
        if had < total {
            return Err(wrong(format!("lists {had} computers, and says that there are {total}")));
        }
        Ok((fleet, usize::try_from(pages).unwrap_or(usize::MAX)))
    }
}
