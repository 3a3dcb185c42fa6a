//! Which jobs: the flags that `show`, `retry`, `discard` and `front` share.

use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::Failure;

/// Every condition given must hold.
#[derive(Debug, Clone, Default, clap::Args)]
#[group(id = "which")]
pub(crate) struct Args {
    /// Conditions, with commas or repeated: reason~TEXT, tenant=NAME, plane=NAME, state=STATE
    #[arg(long = "where", value_name = "CONDITION", value_delimiter = ',')]
    conditions: Vec<String>,
    /// ready, scheduled, in_flight or dead
    #[arg(long)]
    state: Option<String>,
    /// Only jobs about this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Only jobs about this plane
    #[arg(long)]
    plane: Option<String>,
    /// Dead for, or else enqueued, at least so long ago: 90s, 15m, 2h, 3d
    #[arg(long, value_name = "TIME", value_parser = duration)]
    older_than: Option<Duration>,
}

/// What they come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) state: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) plane: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) older_than: Option<Duration>,
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a time: expected a number and s, m, h or d, like 90s or 2h");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|s| *s <= 31_536_000).map(Duration::from_secs).ok_or_else(wrong)
}

impl Args {
    pub(crate) fn is_empty(&self) -> bool {
        self.conditions.is_empty()
            && self.state.is_none()
            && self.tenant.is_none()
            && self.plane.is_none()
            && self.older_than.is_none()
    }

    pub(crate) fn read(&self) -> Result<Conditions, Failure> {
        let mut read = Conditions {
            state: self.state.clone(),
            tenant: self.tenant.clone(),
            plane: self.plane.clone(),
            reason: None,
            older_than: self.older_than,
        };
        for text in &self.conditions {
            let wrong = |why: String| Failure::usage(why).at(format!("--where '{text}'"));
            let (name, value, field) = match (text.split_once('~'), text.split_once('=')) {
                (Some(("reason", value)), _) => ("reason", value, &mut read.reason),
                (_, Some(("tenant", value))) => ("tenant", value, &mut read.tenant),
                (_, Some(("plane", value))) => ("plane", value, &mut read.plane),
                (_, Some(("state", value))) => ("state", value, &mut read.state),
                _ => {
                    let why = "not a condition that is known".to_owned();
                    return Err(wrong(why).advise("use reason~TEXT, tenant=NAME, plane=NAME or state=STATE"));
                }
            };
            if value.is_empty() {
                return Err(wrong(format!("'{name}' of what?")));
            }
            if field.replace(value.to_owned()).is_some_and(|before| before != value) {
                return Err(wrong(format!("'{name}' is given twice, with different values")));
            }
        }
        Ok(read)
    }
}

impl Conditions {
    /// For a list.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let pairs = [
            ("state", self.state.clone()),
            ("tenant", self.tenant.clone()),
            ("plane", self.plane.clone()),
            ("reason", self.reason.clone()),
            ("older_than", self.older_than.map(|t| t.as_secs().to_string())),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// For an action.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({});
        for (name, value) in self.query() {
            match (name, self.older_than) {
                ("older_than", Some(t)) => body["older_than_s"] = json!(t.as_secs()),
                _ => body[name] = json!(value),
            }
        }
        body
    }

    pub(crate) fn state(&self) -> &str {
        self.state.as_deref().unwrap_or("dead")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_bounded() {
        let table = [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("2h", Some(7_200)),
            ("3d", Some(259_200)),
            ("0s", Some(0)),
        ];
        for (text, seconds) in table {
            assert_eq!(duration(text).ok().map(|d| d.as_secs()), seconds, "{text}");
        }
        for text in ["", "s", "1", "1w", "-1s", "366d", "99999999999999999999d", "1 h", "µ"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn conditions_are_read_or_said_to_be_wrong() {
        let of = |conditions: &[&str]| {
            Args { conditions: conditions.iter().map(|c| (*c).to_owned()).collect(), ..Args::default() }
                .read()
        };
        let read = of(&["reason~timeout=1", "tenant=acme", "state=dead"]).unwrap();
        assert_eq!((read.reason.as_deref(), read.tenant.as_deref()), (Some("timeout=1"), Some("acme")));
        assert_eq!(read.body(), json!({"reason": "timeout=1", "tenant": "acme", "state": "dead"}));
        for wrong in
            [&["nonsense"][..], &["reason=x"], &["tenant="], &["tenant=a", "tenant=b"], &["tennant=a"]]
        {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
        assert!(of(&["tenant=a", "tenant=a"]).is_ok());
    }
}
