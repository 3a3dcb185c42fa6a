//! Values of a metric's label, bounded in number: whoever names tenants decides how much memory and storage that costs.

use std::collections::BTreeSet;

/// Different tenants (connections, channels) that one process names in its metrics. The rest are counted together.
pub const MAX_VALUES: usize = 200;
/// What the rest are called.
pub const OTHER: &str = "other";
/// Bytes of a value; a longer one is called [`OTHER`].
const MAX_BYTES: usize = 128;

/// Remembers the values it has let through, and lets no more through than its bound.
#[derive(Debug, Clone)]
pub struct Bounded {
    seen: BTreeSet<String>,
    at_most: usize,
}

impl Default for Bounded {
    fn default() -> Self {
        Self::at_most(MAX_VALUES)
    }
}

impl Bounded {
    pub fn at_most(at_most: usize) -> Self {
        Self { seen: BTreeSet::new(), at_most }
    }

    /// The value itself if it is among the first that came, else [`OTHER`].
    pub fn admit<'a>(&mut self, value: &'a str) -> &'a str {
        if self.seen.contains(value) {
            return value;
        }
        if self.seen.len() >= self.at_most || value.len() > MAX_BYTES {
            return OTHER;
        }
        self.seen.insert(value.to_owned());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_values_keep_their_names_and_the_rest_share_one() {
        let mut labels = Bounded::at_most(2);
        let long = "x".repeat(MAX_BYTES + 1);
        for (value, expected) in [
            ("a", "a"),
            (long.as_str(), OTHER),
            ("b", "b"),
            ("c", OTHER),
            ("a", "a"),
            ("b", "b"),
            ("c", OTHER),
        ] {
            assert_eq!(labels.admit(value), expected, "{value}");
        }
    }

    #[test]
    fn a_million_tenants_are_at_most_the_bound_and_one() {
        let mut labels = Bounded::default();
        let names: Vec<String> = (0..1_000_000).map(|n| format!("tenant-{n}")).collect();
        let shown: BTreeSet<&str> = names.iter().map(|n| labels.admit(n)).collect();
        assert_eq!(shown.len(), MAX_VALUES + 1);
        assert!(shown.contains(OTHER));
    }
}
