//! Ids. All of them are derived from what they name (SHA-256, 100 bits shown as 20 base-32 letters), none is random:
//! the same input gives the same ids in the same order, so doing a thing twice is recognised as doing it once (E8).
//!
//! Every id carries a prefix that says what it names (`run_…`, `fnd_…`), so that it can be pasted anywhere.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Crockford's base 32 in lower case: no letter that is easily misread.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// SHA-256 over the parts, each preceded by its length so that no two different lists of parts collide.
fn hash(domain: &str, parts: &[&str]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for part in std::iter::once(&domain).chain(parts) {
        sha.update((part.len() as u64).to_be_bytes());
        sha.update(part.as_bytes());
    }
    sha.finalize().into()
}

fn base32(bytes: &[u8; 32]) -> String {
    let mut out = String::with_capacity(20);
    let (mut acc, mut bits) = (0u32, 0u32);
    for byte in bytes {
        acc = (acc << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 && out.len() < 20 {
            bits -= 5;
            out.push(char::from(ALPHABET[((acc >> bits) & 31) as usize]));
        }
        acc &= 0xff;
    }
    out
}

fn uuid(bytes: &[u8; 32]) -> String {
    let mut b: [u8; 16] = [0; 16];
    b.copy_from_slice(&bytes[..16]);
    b[6] = (b[6] & 0x0f) | 0x80; // version 8: derived by a rule of our own (RFC 9562)
    b[8] = (b[8] & 0x3f) | 0x80;
    let h: String = b.iter().map(|x| format!("{x:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub const PREFIX: &'static str = $prefix;
            /// The id that these parts always have.
            pub fn derive(parts: &[&str]) -> Self {
                Self(format!("{}{}", $prefix, base32(&hash($prefix, parts))))
            }
            /// An id as it came over a wire; only ever compared, never trusted to be well formed.
            pub fn from_wire(text: impl Into<String>) -> Self { Self(text.into()) }
            pub fn as_str(&self) -> &str { &self.0 }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(&self.0) }
        }
    };
}

id!(/// One durable unit of work.
    JobId, "job_");
id!(/// One look at one intent and what follows from it, up to its close.
    RunId, "run_");
id!(/// A drift of one kind on one intent, over all its recurrences.
    FindingId, "fnd_");
id!(/// A question to people, about one finding with one digest.
    ApprovalId, "apr_");
id!(/// One fact in the event store.
    EventId, "evt_");
id!(/// One thing that people are told once.
    NoticeId, "ntc_");
id!(/// A handle on checks that somebody asked for.
    ReconciliationId, "rec_");
id!(/// The same for the same content, whatever the order of its fields.
    Digest, "dig_");

impl Digest {
    /// Digest of a value in canonical form: object keys sorted, whatever a build makes of `serde_json::Map`.
    pub fn of<T: Serialize>(value: &T) -> Self {
        let canonical = serde_json::to_value(value).map(|mut v| {
            v.sort_all_objects();
            v.to_string()
        });
        Self::derive(&[&canonical.unwrap_or_default()])
    }
}

/// Names ONE outside effect. Derived from the job that performs it, so a job that runs twice asks twice for the same
/// effect. In the form of a UUID because planes want one (Graph: `client-request-id`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectKey(String);

impl EffectKey {
    pub fn of(job: &JobId) -> Self {
        Self(uuid(&hash("effect", &[job.as_str()])))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Links request, run, jobs, events and audit. A UUID, given by the caller or derived from the run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct CorrelationId(String);

impl CorrelationId {
    pub fn derive(parts: &[&str]) -> Self {
        Self(uuid(&hash("correlation", parts)))
    }
    /// Accepts what a client sent if it is a plain token of at most 64 characters (it ends up in logs and headers).
    pub fn parse(text: &str) -> Option<Self> {
        let fine = !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        fine.then(|| Self(text.to_owned()))
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// W3C `traceparent`, derived: the trace of a run is known before its first span, on every worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceParent(String);

impl TraceParent {
    /// The root of the trace that `parts` always have.
    pub fn root(parts: &[&str]) -> Self {
        let h = hash("trace", parts);
        let hex: String = h.iter().map(|x| format!("{x:02x}")).collect();
        Self(format!("00-{}-{}-01", &hex[..32], &hex[32..48]))
    }
    pub fn from_wire(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The 32 hex digits of the trace id, or nothing if the text is not a traceparent.
    pub fn trace_id(&self) -> Option<&str> {
        self.0.get(3..35)
    }
    /// The 16 hex digits of the parent span id.
    pub fn span_id(&self) -> Option<&str> {
        self.0.get(36..52)
    }
}

/// An intent's full name: ids are unique within their tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IntentKey {
    pub tenant: String,
    pub id: String,
}

impl IntentKey {
    pub fn new(tenant: impl Into<String>, id: impl Into<String>) -> Self {
        Self { tenant: tenant.into(), id: id.into() }
    }
    /// The partition that everything about this intent lives in.
    pub fn partition(&self, partitions: u16) -> Partition {
        let h = hash("partition", &[&self.tenant, &self.id]);
        let n = u64::from_be_bytes([h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]]);
        Partition((n % u64::from(partitions.max(1))) as u16)
    }
    /// A number in 0..1 that spreads this intent's checks over its interval.
    pub fn spread(&self) -> f64 {
        let h = hash("spread", &[&self.tenant, &self.id]);
        f64::from(u32::from_be_bytes([h[0], h[1], h[2], h[3]])) / 4_294_967_296.0
    }
}

impl fmt::Display for IntentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.id)
    }
}

impl From<IntentKey> for String {
    fn from(key: IntentKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for IntentKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((tenant, id)) if !tenant.is_empty() && !id.is_empty() => Ok(Self::new(tenant, id)),
            _ => Err(format!("'{text}' is not an intent's name: expected TENANT/ID")),
        }
    }
}

impl std::str::FromStr for IntentKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

/// One of the `P` parts of the state; everything about one intent lives in one of them (`engine.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Partition(pub u16);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
