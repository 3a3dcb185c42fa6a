//! Plain columns, aligned by what a terminal shows; colour only where asked for.

use unicode_width::UnicodeWidthStr as _;

use crate::text::clean;

/// How a cell is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Warn,
    Bad,
    Dim,
}

impl Tone {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Dim => "2",
        }
    }

    /// The text in this tone, if colour is on.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        match self.code() {
            code if colour && !code.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            _ => text.to_owned(),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

/// A cell; the text is cleaned here, so no table can show what steers a terminal.
pub(crate) fn cell(text: impl AsRef<str>, tone: Tone) -> Cell {
    Cell { text: clean(text.as_ref()), tone }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        cell(text, Tone::Plain)
    }
}

#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        self.rows.push(cells.into());
    }

    /// One more column, a cell for each row.
    #[must_use]
    pub(crate) fn with_column(mut self, name: &'static str, cells: impl IntoIterator<Item = Cell>) -> Self {
        self.header.push(name);
        self.rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lines, each ending with a line feed; the last column is not padded.
    pub(crate) fn render(&self, colour: bool) -> String {
        let mut widths: Vec<usize> = self.header.iter().map(|h| h.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.text.width().max(*width);
            }
        }
        let mut out = String::new();
        let header: Vec<Cell> = self.header.iter().map(|h| cell(h, Tone::Dim)).collect();
        for row in std::iter::once(&header).chain(&self.rows) {
            let mut line = String::new();
            for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let shown = if cell.text.is_empty() { "-" } else { &cell.text };
                line += &cell.tone.paint(shown, colour);
                if n + 1 < row.len() {
                    line += &" ".repeat(width.saturating_sub(shown.width()) + 2);
                }
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_shown_width_with_and_without_colour() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.row(["漢字".into(), cell("drifted", Tone::Bad)]);
        table.row(["a\u{1b}[31m".into(), "".into()]);
        assert_eq!(table.render(false), "NAME  STATE\n漢字  drifted\na     -\n");
        assert!(table.render(true).contains("\u{1b}[31mdrifted\u{1b}[0m"));
        assert!(!table.render(true).contains("a\u{1b}[31m"));
        let wider = table.with_column("MORE", ["x".into(), "y".into()]);
        assert_eq!(wider.render(false), "NAME  STATE    MORE\n漢字  drifted  x\na     -        y\n");
    }
}
