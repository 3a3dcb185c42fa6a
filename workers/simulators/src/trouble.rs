//! Faults on demand, per tenant.

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Trouble {
    /// 200 with an HTML page, as a proxy or a portal answers.
    Html,
    /// 200 with nothing.
    Empty,
    /// 200 with the first half of the right answer.
    HalfJson,
    /// The token is refused.
    Unauthorized,
    /// 429, with this `Retry-After`.
    Throttle { retry_after: Option<String> },
    /// Any status, with Graph's error shape.
    Status(u16),
    /// The right answer, late. Milliseconds of real time.
    Delay(u64),
    /// The connection breaks in the middle of the answer.
    Drop,
    /// `@odata.nextLink` leads to another server.
    ForeignNextLink,
    /// `@odata.nextLink` leads back to the same page for ever.
    CircularNextLink,
    /// `@odata.nextLink` leads back and forth between the list's beginning and a later page.
    LoopingNextLink,
    /// 200 with a page of that many bytes.
    Huge(u64),
    /// An item of a batch is answered with this status.
    Item { status: u16, retry_after: Option<String> },
    /// An item of a batch is not answered.
    ItemLost,
}

impl Trouble {
    pub(crate) fn concerns_items(&self) -> bool {
        matches!(self, Self::Item { .. } | Self::ItemLost)
    }
}

/// A fault to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    pub trouble: Trouble,
    /// How often; for ever if absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Only requests whose `METHOD /path?query` contains this. Without it: every request to Graph, none to the login.
    #[serde(default)]
    pub only: Option<String>,
}

impl From<Trouble> for Planned {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, times: None, only: None }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Troubles(Vec<Planned>);

impl Troubles {
    pub(crate) fn plan(&mut self, planned: Planned) {
        self.0.push(planned);
    }
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
    /// The first that fits, used up by one.
    pub(crate) fn take(&mut self, request: &str, items: bool, login: bool) -> Option<Trouble> {
        let fits = |p: &Planned| {
            p.trouble.concerns_items() == items
                && p.times != Some(0)
                && p.only.as_ref().map_or(!login, |part| request.contains(part.as_str()))
        };
        let found = self.0.iter_mut().find(|p| fits(p))?;
        if let Some(times) = &mut found.times {
            *times -= 1;
        }
        let trouble = found.trouble.clone();
        self.0.retain(|p| p.times != Some(0));
        Some(trouble)
    }
}
