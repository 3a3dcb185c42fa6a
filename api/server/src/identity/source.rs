//! Where in a policy file a flaw is.

use miette::Diagnostic;

/// One line for people: file, line and column, what is wrong, and what helps.
pub(super) fn flaw(file: &str, text: &str, error: &dyn Diagnostic) -> String {
    let label = error.labels().and_then(|mut labels| labels.next());
    let at = label.as_ref().map_or(String::new(), |l| {
        let before = text.get(..l.offset()).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |n| n + 1) + 1;
        format!(":{line}:{column}")
    });
    let said = label.as_ref().and_then(|l| l.label()).map(|l| format!(" ({l})")).unwrap_or_default();
    let help = error.help().map(|h| format!("; {h}")).unwrap_or_default();
    format!("{file}{at}: {error}{said}{help}")
}
