//! Log lines: what they carry, and that nothing that is logged can forge one.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use chrono::DateTime;
use tracing::{info, info_span};
use tracing_subscriber::fmt::MakeWriter;

use super::super::*;
use super::RUN;

/// The lines of one test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What is written in one form.
fn logged(format: Format, log: impl FnOnce()) -> String {
    let lines = Lines::default();
    let out = fmt::layer().with_writer(lines.clone());
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match format {
        Format::Json => Box::new(out.fmt_fields(fmt::format::JsonFields::new()).event_format(json::Flat)),
        Format::Human => Box::new(out.fmt_fields(human::Plain).event_format(human::Human { colour: false })),
    };
    tracing::subscriber::with_default(Registry::default().with(layer), log);
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

#[test]
fn a_json_line_carries_the_fields_of_its_spans_innermost_first() {
    let text = logged(Format::Json, || {
        let run = info_span!("run", run = "r1", job = "outer", n = 7);
        spans::name_in_logs(&run, RUN);
        let _run = run.entered();
        let late = info_span!("job", job = "inner", intent = tracing::field::Empty);
        late.record("intent", "t/a \"quoted\"\n");
        let _late = late.entered();
        info!(count = 3, ok = true, error = %"bad\nline", "it \u{1b}[31mhappened");
    });
    assert_eq!(text.lines().count(), 1);
    let mut line: serde_json::Value = serde_json::from_str(&text).unwrap();
    let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert!(DateTime::parse_from_rfc3339(time.as_str().unwrap()).is_ok());
    assert_eq!(
        line,
        serde_json::json!({
            "level": "INFO", "target": "trueup_boot::telemetry::tests::logs", "span": "job",
            "message": "it \u{1b}[31mhappened", "run": "r1", "job": "inner", "intent": "t/a \"quoted\"\n", "n": 7,
            "count": 3, "ok": true, "error": "bad\nline", "trace_id": &RUN[3..35], "span_id": &RUN[36..52],
        })
    );
}

#[test]
fn a_line_for_people_carries_the_same() {
    let text = logged(Format::Human, || {
        let request = info_span!("request", correlation_id = "c-1", path = tracing::field::Empty);
        spans::name_in_logs(&request, RUN);
        request.record("path", "/v1/intents");
        let _request = request.entered();
        let _inner = info_span!("inner", n = 7).entered();
        info!(status = 200, detail = %"fine", who = "somebody", "answered");
    });
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(DateTime::parse_from_rfc3339(time).is_ok(), "{text}");
    let expected = format!(
        " INFO trueup_boot::telemetry::tests::logs: answered status=200 detail=fine who=\"somebody\" \
         correlation_id=\"c-1\" path=\"/v1/intents\" n=7 trace_id={} span_id={}\n",
        &RUN[3..35],
        &RUN[36..52]
    );
    assert_eq!(rest, expected);
}

#[test]
fn nothing_that_is_logged_ends_a_line_or_steers_a_terminal() {
    let evil = "a\r\n2026-01-01T00:00:00Z ERROR forged: line\u{1b}[2J\u{9b}31m\u{7}\u{202e}\u{2028}\u{0}z";
    for format in [Format::Human, Format::Json] {
        let text = logged(format, || {
            let span =
                info_span!("request", correlation_id = %evil, path = evil, late = tracing::field::Empty);
            span.record("late", evil);
            let _in = span.entered();
            info!(shown = %evil, debug = ?evil, plain = evil, "{evil}");
            tracing::warn!(message = evil);
        });
        assert_eq!(text.matches('\n').count(), 2, "{format:?}: {text}");
        assert_eq!(text.lines().count(), 2, "{format:?}: {text}");
        let steers = |c: &char| *c != '\n' && human::is_harmful(*c);
        assert_eq!(text.chars().find(steers), None, "{format:?}: {text}");
        if format == Format::Json {
            let first = text.lines().next().unwrap();
            let line: serde_json::Value = serde_json::from_str(first).unwrap();
            for field in ["message", "correlation_id", "path", "late", "shown", "plain"] {
                assert_eq!(line[field], evil, "{field} is the same after reading it back");
            }
        }
    }
}

#[test]
fn colours_are_ours_alone() {
    let lines = Lines::default();
    let out = fmt::layer().with_writer(lines.clone()).with_ansi(true);
    let layer = out.fmt_fields(human::Plain).event_format(human::Human { colour: true });
    tracing::subscriber::with_default(Registry::default().with(layer), || info!("\u{1b}[2J"));
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches('\u{1b}').count(), 2, "{text:?}");
    assert!(text.contains("\u{1b}[32m INFO\u{1b}[0m"), "{text:?}");
}
