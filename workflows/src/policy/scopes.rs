//! Scopes as differences name them.

/// The scope that one side of a difference names (`group:ID`, `all_devices`), without what is asked of it. Only
/// assignments name scopes; the same words elsewhere are somebody's text.
pub(super) fn named<'a>(path: &str, side: &'a str) -> Option<&'a str> {
    if !(path.starts_with("assignment.") || path.starts_with(crate::compare::version::REPLACES)) {
        return None;
    }
    let scope = side.split(' ').next().unwrap_or_default();
    crate::compare::parse_scope(scope).map(|_| scope)
}
