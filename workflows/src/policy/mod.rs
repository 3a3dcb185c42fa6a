//! Policy: rules as data, decisions with their reasons.
//!
//! # Guarantees
//! Every rule that matches speaks; the strictest wins. Drift that no rule foresaw goes to people. A policy that does
//! not parse is refused with the place and the reason, never half applied.

pub mod evaluate;

use serde::{Deserialize, Serialize};
use trueup_model::{Criticality, Digest, DriftKind, PlaneKind, Ring, Verdict};

pub use evaluate::{Case, Decided};

/// `default.toml`, as shipped; for users to read and to start from.
pub const DEFAULT: &str = include_str!("default.toml");

/// Longest policy file, in bytes.
pub const MAX_BYTES: usize = 256 * 1024;

/// What a rule can say. Only a mode says `observe_only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Say {
    Automatic,
    Review,
    Cab,
}

impl From<Say> for Verdict {
    fn from(say: Say) -> Self {
        match say {
            Say::Automatic => Self::Automatic,
            Say::Review => Self::Review,
            Say::Cab => Self::Cab,
        }
    }
}

/// One line of policy. A condition that is absent always holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Unique; recorded with every decision the rule had a part in.
    pub name: String,
    pub say: Say,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<DriftKind>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rings: Option<Vec<Ring>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub criticalities: Option<Vec<Criticality>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planes: Option<Vec<PlaneKind>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub privileged: Option<bool>,
    /// For people.
    pub because: String,
}

/// All rules, in the order of the file. Without any, everything goes to review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Policy {
    rules: Vec<Rule>,
    digest: Digest,
}

impl Default for Policy {
    /// The shipped one.
    fn default() -> Self {
        // A test proves that it parses; were it broken all the same, no rules is the strict side.
        Self::parse(DEFAULT).unwrap_or_else(|_| Self::of(Vec::new()))
    }
}

impl Policy {
    fn of(rules: Vec<Rule>) -> Self {
        let digest = Digest::of(&rules);
        Self { rules, digest }
    }

    /// Reads a policy file (TOML). The error says where and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            #[serde(default)]
            rule: Vec<Rule>,
        }
        if text.len() > MAX_BYTES {
            return Err(format!("policy: longer than {MAX_BYTES} bytes"));
        }
        let file: File = toml::from_str(text).map_err(|e| format!("policy: {}", e.to_string().trim_end()))?;
        const BUILT_IN: [&str; 5] = ["mode", "tolerance", "ladder", "default", "remedy"];
        let mut names = std::collections::BTreeSet::new();
        for rule in &file.rule {
            if rule.name.is_empty() || rule.name.len() > 64 || BUILT_IN.contains(&rule.name.as_str()) {
                let (name, taken) = (&rule.name, BUILT_IN.join(", "));
                return Err(format!(
                    "policy: rule '{name}': a name has 1 to 64 bytes and is none of {taken}"
                ));
            }
            if !names.insert(&rule.name) {
                return Err(format!("policy: rule '{}' is there twice", rule.name));
            }
            if rule.has_empty_list() {
                return Err(format!(
                    "policy: rule '{}' has an empty list, so it would never match",
                    rule.name
                ));
            }
        }
        Ok(Self::of(file.rule))
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Recorded with every decision.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

impl Rule {
    fn has_empty_list(&self) -> bool {
        fn empty<T>(list: &Option<Vec<T>>) -> bool {
            list.as_ref().is_some_and(Vec::is_empty)
        }
        empty(&self.kinds) || empty(&self.rings) || empty(&self.criticalities) || empty(&self.planes)
    }

    pub fn matches(&self, case: &Case<'_>) -> bool {
        fn holds<T: PartialEq>(list: &Option<Vec<T>>, value: &T) -> bool {
            list.as_ref().is_none_or(|list| list.contains(value))
        }
        let intent = case.intent;
        holds(&self.kinds, &case.kind)
            && holds(&self.rings, &intent.ring)
            && holds(&self.criticalities, &intent.criticality)
            && holds(&self.planes, &intent.plane())
            && self.privileged.is_none_or(|p| p == intent.privileged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_policy_parses_and_has_its_rules() {
        let policy = Policy::parse(DEFAULT).unwrap();
        let names: Vec<_> = policy.rules().iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["low-risk", "scope-change", "production-ring", "privileged"]);
        assert_eq!(Policy::default(), policy);
    }

    #[test]
    fn a_bad_policy_is_refused_with_the_reason() {
        let rule = |more: &str| format!("[[rule]]\nname = \"a\"\nsay = \"review\"\nbecause = \"b\"\n{more}");
        let table = [
            ("[[rule]]\nname = 'a'", "missing field"),
            ("[[rule", "policy:"),
            (&rule("ring = ['lab']"), "unknown field `ring`"),
            (&rule("rings = ['prod']"), "unknown variant `prod`"),
            (&rule("rings = []"), "empty list"),
            (&rule("say = 'automatic'"), "duplicate key"),
            (&format!("{}\n{}", rule(""), rule("")), "there twice"),
            (&rule("").replace("\"a\"", "\"mode\""), "none of mode"),
            (&rule("").replace("review", "observe_only"), "unknown variant"),
            (&"#".repeat(MAX_BYTES + 1), "longer than"),
        ];
        for (text, expected) in table {
            let err = Policy::parse(text).unwrap_err();
            assert!(err.contains(expected), "{err}");
        }
    }

    #[test]
    fn the_digest_follows_the_rules_and_nothing_else() {
        let with_comment = format!("# a comment\n{DEFAULT}");
        assert_eq!(Policy::parse(&with_comment).unwrap().digest(), Policy::default().digest());
        let other = DEFAULT.replace("[\"lab\", \"canary\"]", "[\"lab\"]");
        assert_ne!(Policy::parse(&other).unwrap().digest(), Policy::default().digest());
    }
}
