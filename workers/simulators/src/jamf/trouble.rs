//! Faults on demand, per tenant.

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum JamfTrouble {
    /// This status, with the error shape of the API that was asked.
    Status(u16),
    /// 429 or 503, with this `Retry-After`.
    Throttle { status: u16, retry_after: Option<String> },
    /// The token is refused.
    Unauthorized,
    /// Anything at all.
    Answer { status: u16, content_type: String, body: String },
    /// The first half of the right answer.
    Half,
    /// An answer of this many bytes.
    Big(usize),
    /// The right answer, late. Milliseconds of real time.
    Delay(u64),
    /// The connection breaks in the middle of the answer.
    Drop,
    /// The inventory is empty.
    EmptyInventory,
    /// `totalCount` of the inventory is this much too high: there is always a next page.
    LyingTotal(u64),
}

/// A fault to come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JamfPlanned {
    pub trouble: JamfTrouble,
    /// How often; for ever if absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Only requests whose `METHOD /path?query` contains this. Without it: all but those for a token.
    #[serde(default)]
    pub only: Option<String>,
}

impl From<JamfTrouble> for JamfPlanned {
    fn from(trouble: JamfTrouble) -> Self {
        Self { trouble, times: None, only: None }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Troubles(Vec<JamfPlanned>);

impl Troubles {
    pub(crate) fn plan(&mut self, planned: JamfPlanned) {
        self.0.push(planned);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The first that fits, used up by one.
    pub(crate) fn take(&mut self, request: &str, login: bool) -> Option<JamfTrouble> {
        let fits = |p: &JamfPlanned| p.only.as_ref().map_or(!login, |part| request.contains(part.as_str()));
        let at = self.0.iter().position(|p| p.times != Some(0) && fits(p))?;
        let found = self.0.get_mut(at)?;
        if let Some(times) = &mut found.times {
            *times -= 1;
        }
        Some(found.trouble.clone())
    }
}
