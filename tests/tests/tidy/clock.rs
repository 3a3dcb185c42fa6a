//! Time comes from `model::Clock`, and to wait is to set a timer. Clippy forbids the methods by type; this looks at the
//! text, so that a ban lifted in `clippy.toml`, an alias or a `thread::sleep` is seen too.

/// What reads a clock or waits.
const BANNED: [&str; 6] =
    ["Utc::now", "Local::now", "SystemTime::now", "Instant::now", "time::sleep", "thread::sleep"];

/// Where leases and real waits live (the broker paces calls by real time), and where tests measure.
const PLACES: [&str; 3] = ["shared/engine/", "workers/runner/src/broker/", "tests/"];

/// How a lifted ban is marked, with its reason, on the function.
const MARK: &str = "clippy::disallowed_methods";

pub(crate) fn complaints(file: &str, text: &str) -> Vec<String> {
    if PLACES.iter().any(|p| file.starts_with(p)) {
        return Vec::new();
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let uses = lines.iter().enumerate().filter(|(_, l)| !l.starts_with("//"));
    uses.flat_map(|(at, line)| BANNED.iter().filter(|b| contains_call(line, b)).map(move |b| (at, *b)))
        .filter(|(at, banned)| *banned == "thread::sleep" || !is_marked(&lines[..*at]))
        .map(|(at, banned)| {
            format!("{file}:{}: `{banned}` outside its place; take time from Clock, or say why with #[expect({MARK}, reason)]", at + 1)
        })
        .collect()
}

/// `banned` as a path of its own: `MyInstant::now` is another type's, and tokio's Instant stands still where a test says so.
fn contains_call(line: &str, banned: &str) -> bool {
    line.match_indices(banned).filter(|(at, _)| !line[..*at].ends_with("tokio::time::")).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Whether the function around the line after `before` carries the mark: at most one `fn` lies between the two, and the
/// mark gives a reason.
fn is_marked(before: &[&str]) -> bool {
    let mut functions = 0;
    for (at, line) in before.iter().enumerate().rev() {
        if line.contains(MARK) && !line.starts_with("//") {
            return before[at..].iter().take(3).any(|l| l.contains("reason"));
        }
        if line.split_whitespace().any(|w| w == "fn") && !line.starts_with("//") {
            functions += 1;
            if functions > 1 {
                return false;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKED: &str = "#[expect(clippy::disallowed_methods, reason = \"why\")]\n";

    #[test]
    fn uses_are_seen_unless_marked() {
        for (text, wrong) in [
            ("let t = Utc::now();".to_owned(), true),
            ("let t = chrono::Utc::now();".into(), true),
            ("let t = std::time::Instant::now();".into(), true),
            ("use tokio::time::sleep;".into(), true),
            ("std::thread::sleep(d);".into(), true),
            ("SystemTime::now()".into(), true),
            ("// Utc::now is forbidden".into(), false),
            ("MyUtc::now()".into(), false),
            ("clock.now()".into(), false),
            (format!("{MARKED}fn a() {{\nUtc::now()\n}}"), false),
            (format!("{MARKED}async fn a() {{\nloop {{\ntokio::time::sleep(d).await;\n}}\n}}"), false),
            (format!("{MARKED}fn a() {{\n}}\nfn b() {{\nUtc::now()\n}}"), true),
            ("#[expect(clippy::disallowed_methods)]\nfn a() {\nUtc::now()\n}".into(), true),
            (
                "#[expect(\nclippy::disallowed_methods,\nreason = \"why\"\n)]\nfn a() {\nUtc::now()\n}"
                    .into(),
                false,
            ),
            (format!("{MARKED}fn a() {{\nstd::thread::sleep(d)\n}}"), true),
        ] {
            assert_eq!(!complaints("workflows/src/a.rs", &text).is_empty(), wrong, "{text}");
        }
    }

    #[test]
    fn the_engine_and_the_tests_may() {
        for (file, wrong) in
            [("shared/engine/src/a.rs", false), ("tests/src/a.rs", false), ("api/tests/a.rs", true)]
        {
            assert_eq!(!complaints(file, "Utc::now()").is_empty(), wrong, "{file}");
        }
    }
}
