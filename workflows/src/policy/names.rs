//! Names of sections.

use super::read::Section;

/// Spoken by what is no rule of the file; so that nobody takes one for the other.
pub(super) const BUILT_IN: [&str; 9] =
    ["mode", "tolerance", "overdue", "ladder", "default", "remedy", "blast_radius", "windows", "ignored"];

/// Takes `name`, which a section must have; from then on the section is called by it.
pub(super) fn read(section: &mut Section<'_, '_>, what: &str) -> String {
    let (name, span) = section.needed("name");
    if name.is_empty() {
        return name;
    }
    section.call(format!("{what} '{}'", name.escape_default()));
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.len() > 64 || !name.bytes().all(plain) {
        section.flaw(span, "name", "must be 1 to 64 of a-z A-Z 0-9 - _ .");
    } else if what == "rule" && BUILT_IN.contains(&name.as_str()) {
        section.flaw(span, "name", &format!("must be none of {}", BUILT_IN.join(", ")));
    }
    name
}
