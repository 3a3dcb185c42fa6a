//! What a terminal would have shown, without what is different each time: times, ids, ports, and rates.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Ids, by how they begin; letters that follow.
const IDS: [&str; 6] = ["run_", "rec_", "fnd_", "apr_", "job_", "evt_"];
/// What is counted differently each time.
const COUNTED: [&str; 2] = ["events", "calls"];
/// Columns in which only luck could be the same twice.
const LUCK: [&str; 5] = ["IN/S", "OUT/S", "RETRIES/S", "HOST", "BYTES"];

/// Commands with what they said.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    text: String,
    /// Each id has one name wherever it stands.
    names: BTreeMap<String, String>,
    home: String,
}

impl Transcript {
    pub(crate) fn new(home: &str) -> Self {
        Self { home: home.to_owned(), ..Self::default() }
    }

    pub(crate) fn title(&mut self, text: &str) {
        let _ = writeln!(self.text, "\n# {text}\n");
    }

    /// `sorted`: the order of the lines below the first is luck, and so is what stands before this column.
    pub(crate) fn command(&mut self, line: &str, said: &str, status: i32, sorted: Option<usize>) {
        let line = self.without_luck(line);
        let _ = writeln!(self.text, "$ {line}");
        let mut lines: Vec<&str> = said.lines().collect();
        if let Some(column) = sorted {
            lines
                .get_mut(1..)
                .into_iter()
                .for_each(|rows| rows.sort_unstable_by_key(|row| row.get(column..)));
        }
        let said = self.table(&lines);
        self.text += &said;
        if status != 0 {
            let _ = writeln!(self.text, "[exit status {status}]");
        }
        self.text.push('\n');
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Aligned anew, since the widths came from what was taken out.
    fn table(&mut self, said: &[&str]) -> String {
        let mut out = String::new();
        let mut block: Vec<Vec<String>> = Vec::new();
        for line in said {
            let cells: Vec<String> =
                line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(Into::into).collect();
            let is_header = cells.len() > 1 && cells.iter().all(|c| c.chars().all(|c| !c.is_lowercase()));
            if is_header || block.first().is_some_and(|header| header.len() == cells.len()) {
                if is_header {
                    out += &aligned(&std::mem::take(&mut block));
                }
                let row = cells.iter().enumerate().map(|(n, text)| {
                    let column = block.first().and_then(|header| header.get(n)).map_or("", String::as_str);
                    if LUCK.contains(&column) { "~".to_owned() } else { self.without_luck(text) }
                });
                let row = row.collect();
                block.push(row);
                continue;
            }
            out += &aligned(&std::mem::take(&mut block));
            let indent = &line[..line.len() - line.trim_start().len()];
            let parts: Vec<String> = cells.iter().map(|c| self.without_luck(c)).collect();
            out += &(format!("{indent}{}", parts.join("  ")) + "\n");
        }
        out + &aligned(&block)
    }

    fn without_luck(&mut self, text: &str) -> String {
        let text = text.replace(&self.home, "~");
        let words: Vec<String> = text.split(' ').map(|w| self.word(w)).collect();
        relative(&words)
    }

    fn word(&mut self, word: &str) -> String {
        let is_edge = |c: char| "()'`,;:".contains(c);
        let core = word.trim_matches(is_edge);
        let Some(at) = word.find(core).filter(|_| !core.is_empty()) else { return word.to_owned() };
        let (before, after) = (&word[..at], &word[at + core.len()..]);
        format!("{before}{}{after}", self.core(core))
    }

    fn core(&mut self, core: &str) -> String {
        if let Some((name, value)) = core.split_once('=') {
            return format!("{name}={}", self.core(value));
        }
        let hex = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_ascii_hexdigit());
        let is_uuid = core.len() == 36 && core.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
        let is_worker = core
            .strip_prefix('w')
            .and_then(|t| t.split_once('-'))
            .is_some_and(|(pid, id)| pid.chars().all(|c| c.is_ascii_digit()) && id.len() == 16 && hex(id));
        let kind = IDS.iter().find(|p| core.len() == p.len() + 20 && core.starts_with(**p));
        let kind = match kind {
            Some(prefix) => prefix.trim_end_matches('_'),
            None if is_uuid => "correlation",
            None if is_worker => "worker",
            None if core.contains("127.0.0.1:") => {
                return core.split_once("127.0.0.1:").map_or("", |(before, _)| before).to_owned()
                    + "127.0.0.1:7171";
            }
            None if core.len() >= 19 && core.as_bytes()[4] == b'-' && core.as_bytes()[10] == b'T' => {
                return "2026-01-06T09:00:00Z".into();
            }
            None => return core.to_owned(),
        };
        let n = self.names.values().filter(|name| name.starts_with(kind)).count() + 1;
        self.names.entry(core.to_owned()).or_insert_with(|| format!("{kind}-{n}")).clone()
    }
}

fn is_span(word: &str) -> bool {
    let unit = word.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < word.len() && ["ms", "s", "m", "h", "d"].contains(&unit)
}

/// Times and how long something took, in words.
fn relative(words: &[String]) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut n = 0;
    while n < words.len() {
        let end = n + words[n..].iter().take_while(|w| is_span(w.trim_matches([',', ')', ':', '(']))).count();
        if words == ["now"] {
            return "moments ago".into();
        }
        if words[n] == "(now)" {
            out.push("(moments ago)");
            n += 1;
            continue;
        }
        if end == n
            && words[n].bytes().all(|b| b.is_ascii_digit())
            && words.get(n + 1).is_some_and(|w| COUNTED.contains(&w.as_str()))
        {
            out.push("some");
            n += 1;
            continue;
        }
        if end == n {
            out.push(&words[n]);
            n += 1;
            continue;
        }
        let ends_in = words[end - 1].trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        if words.get(end).is_some_and(|w| w.starts_with("ago")) {
            out.push(if words[n].starts_with('(') { "(moments" } else { "moments" });
        } else if out.last() == Some(&"in") {
            out.push(if ends_in.is_empty() { "a while" } else { "a while:" });
        } else {
            out.push("a moment");
        }
        n = end;
    }
    out.join(" ")
}

fn aligned(block: &[Vec<String>]) -> String {
    let columns = block.first().map_or(0, Vec::len);
    let width = |n: usize| block.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in block {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(c, w)| format!("{c:<w$}")).collect();
        out += cells.join("  ").trim_end();
        out.push('\n');
    }
    out
}
