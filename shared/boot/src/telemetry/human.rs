//! A log line for people: time, level, where, what, the event's fields, the fields of the spans around it, and the ids of the
//! trace.
//!
//! # Guarantees
//! One event is one line, whatever is in it: control characters and the marks that reorder text are escaped, in messages,
//! values and span fields alike. The only escape sequences are our own colours, and only where asked for.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::spans::Ids;

/// Needs `fmt_fields(Plain)`.
pub(super) struct Human {
    pub(super) colour: bool,
}

impl<S> FormatEvent<S, Plain> for Human
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        cx: &FmtContext<'_, S, Plain>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        SystemTime.format_time(&mut out)?;
        let level = *event.metadata().level();
        let colour = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            _ => "2",
        };
        if self.colour {
            write!(out, " \u{1b}[{colour}m{level:>5}\u{1b}[0m {}:", event.metadata().target())?;
        } else {
            write!(out, " {level:>5} {}:", event.metadata().target())?;
        }
        out.write_char(' ')?;
        Plain.format_fields(out.by_ref(), event)?;
        let mut ids = None;
        for span in cx.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<Plain>>().filter(|f| !f.is_empty()) {
                write!(out, " {fields}")?;
            }
            ids = extensions.get::<Ids>().copied().or(ids);
        }
        if let Some(ids) = ids {
            write!(out, " trace_id={} span_id={}", ids.trace, ids.span)?;
        }
        writeln!(out)
    }
}

/// `message name=value name="text"`, escaped.
pub(super) struct Plain;

impl<'w> FormatFields<'w> for Plain {
    fn format_fields<R: RecordFields>(&self, out: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Fields { out, first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Fields<'w> {
    out: Writer<'w>,
    first: bool,
    result: fmt::Result,
}

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.result.is_err() {
            return;
        }
        let gap = if std::mem::take(&mut self.first) { "" } else { " " };
        let name = match field.name() {
            "message" => String::new(),
            name => format!("{}=", name.strip_prefix("r#").unwrap_or(name)),
        };
        self.result =
            write!(self.out, "{gap}{name}").and_then(|()| write!(Escaped(&mut self.out), "{value}"));
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.put(field, format_args!("{value}"));
        } else {
            self.put(field, format_args!("{value:?}"));
        }
    }
}

/// Writes what is harmless as it is, and the rest as Rust writes it in a string.
struct Escaped<'a, W>(&'a mut W);

impl<W: fmt::Write> fmt::Write for Escaped<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if is_harmful(c) {
                write!(self.0, "{}", c.escape_default())?;
            } else {
                self.0.write_char(c)?;
            }
        }
        Ok(())
    }
}

/// What ends a line, steers a terminal, or shows text in another order.
pub(super) fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
