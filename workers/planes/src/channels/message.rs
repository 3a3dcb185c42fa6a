//! What a person reads: a delivery, rendered by a template.

use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::Serialize;
use trueup_model::notice::NoticeGroup;
use trueup_model::{Delivery, Fault};

use crate::ConfigError;
use crate::redact::one_line;

/// `message.txt.j2`, as shipped; for users to start from.
pub const DEFAULT: &str = include_str!("message.txt.j2");

/// Longest template, in bytes.
const MAX_TEMPLATE: u64 = 64 * 1024;
/// Work one rendering may do, in steps of the template engine.
const FUEL: u64 = 200_000;
/// Characters of a subject.
const MAX_SUBJECT: usize = 200;
/// Bytes of a text. Slack takes 40,000 characters.
const MAX_TEXT: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// One line.
    pub subject: String,
    pub text: String,
}

#[derive(Debug)]
pub(crate) struct Template(Environment<'static>);

impl Template {
    pub(crate) fn read(path: Option<&Path>) -> Result<Self, ConfigError> {
        let text = match path {
            None => DEFAULT.to_owned(),
            Some(path) => {
                let shown = path.display();
                let wrong =
                    |why: String| ConfigError::Invalid(format!("template: cannot read {shown}: {why}"));
                let size = std::fs::metadata(path).map_err(|e| wrong(e.to_string()))?.len();
                if size > MAX_TEMPLATE {
                    return Err(wrong(format!("it has {size} bytes, more than {MAX_TEMPLATE}")));
                }
                std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?
            }
        };
        let mut env = Environment::new();
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_fuel(Some(FUEL));
        env.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        // A line that holds only a block is no line of the message.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        env.set_syntax(syntax.map_err(|e| ConfigError::Invalid(format!("template: {e}")))?);
        env.add_template_owned("message", text)
            .map_err(|e| ConfigError::Invalid(format!("template: {e:#}")))?;
        let template = Self(env);
        // A field that does not exist is found now, not in the night.
        template.render(&sample()).map_err(|e| ConfigError::Invalid(format!("template: {e}")))?;
        Ok(template)
    }

    pub(crate) fn render(&self, delivery: &Delivery) -> Result<Message, Fault> {
        let members: u32 = delivery.groups.iter().fold(0, |n, g| n.saturating_add(g.members));
        let severity = delivery.groups.iter().map(|g| g.severity).max();
        let rendered = self.0.get_template("message").and_then(|t| {
            t.render(context! {
                tenant => delivery.tenant.as_str(), at => delivery.at.to_rfc3339(), groups => Value::from(Serde(&delivery.groups)),
                members => members, severity => Value::from(Serde(severity)),
            })
        });
        let text =
            rendered.map_err(|e| Fault::permanent(format!("its template cannot be rendered: {e:#}")))?;
        let (subject, text) = text.trim_start().split_once('\n').unwrap_or((text.trim(), ""));
        Ok(Message { subject: one_line(subject, MAX_SUBJECT), text: plain(text.trim()) })
    }
}

/// Without control characters, cut at a line.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_TEXT));
    for line in text.lines() {
        if out.len() + line.len() > MAX_TEXT {
            out.push_str("… (more, cut here; `trueup get findings --open` shows all)\n");
            break;
        }
        out.extend(line.chars().filter(|c| !c.is_control()));
        out.push('\n');
    }
    out
}

fn sample() -> Delivery {
    let at = trueup_model::Time::UNIX_EPOCH;
    let intent = trueup_model::IntentKey::new("tenant", "intent");
    let kind = trueup_model::DriftKind::MissingAssignment;
    let finding = trueup_model::Finding::id_of(&intent, kind);
    let (topic, severity) = (trueup_model::Topic::Escalated, trueup_model::Severity::High);
    let notice = trueup_model::Notice {
        id: trueup_model::Notice::id_of(topic, &finding, at),
        topic,
        at,
        intent,
        plane: trueup_model::PlaneKind::Intune,
        kind,
        severity,
        finding,
        causes: vec!["group:sample".into()],
        subject: "sample".into(),
        text: "sample".into(),
        correlation_id: trueup_model::CorrelationId::derive(&["sample"]),
    };
    let group = NoticeGroup {
        topic,
        plane: notice.plane,
        kind,
        cause: "group:sample".into(),
        members: 1,
        severity,
        examples: vec![notice],
    };
    Delivery { channel: "sample".into(), tenant: "tenant".into(), at, groups: vec![group] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_reads_well() {
        let message = Template::read(None).unwrap().render(&sample()).unwrap();
        assert_eq!(
            message.subject,
            "[trueup] tenant: escalated, missing assignment on intune (tenant/intent)"
        );
        assert!(message.text.contains("trueup explain fnd_"), "{}", message.text);
    }

    #[test]
    fn many_members_are_one_line_with_examples() {
        let mut delivery = sample();
        delivery.groups[0].members = 400;
        let message = Template::read(None).unwrap().render(&delivery).unwrap();
        assert_eq!(message.subject, "[trueup] tenant: escalated, missing assignment on intune, 400 intents");
        assert!(message.text.contains("group:sample"), "{}", message.text);
        assert!(message.text.contains("and 399 more"), "{}", message.text);
        delivery.groups.push(delivery.groups[0].clone());
        let message = Template::read(None).unwrap().render(&delivery).unwrap();
        assert_eq!(message.subject, "[trueup] tenant: 800 intents need people, for 2 reasons");
    }

    #[test]
    fn what_was_reported_cannot_break_out() {
        let mut delivery = sample();
        delivery.groups[0].examples[0].text = "a\u{1b}[31mred\r\nBcc: x@example.com {{ 7*7 }}".into();
        delivery.groups[0].examples[0].intent.id = "x\nSubject: y".into();
        let message = Template::read(None).unwrap().render(&delivery).unwrap();
        assert!(!message.subject.contains('\n') && !message.text.contains('\u{1b}'), "{message:?}");
        assert!(message.text.contains("{{ 7*7 }}"), "data is not a template: {}", message.text);
        delivery.groups[0].examples[0].text = "x\n".repeat(100_000);
        assert!(Template::read(None).unwrap().render(&delivery).unwrap().text.len() < 2 * MAX_TEXT);
    }

    #[test]
    fn a_template_that_cannot_work_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.j2");
        for (text, expected) in [
            ("{{ tenant", "template: syntax error"),
            ("{% for i in range(10000) %}{% for j in range(10000) %}x{% endfor %}{% endfor %}", "fuel"),
            ("{{ groups | nosuchfilter }}", "nosuchfilter"),
            ("{{ tenat }}", "undefined"),
        ] {
            std::fs::write(&path, text).unwrap();
            let e = Template::read(Some(&path)).unwrap_err().to_string();
            assert!(e.contains(expected), "{text}: {e}");
        }
        let e = Template::read(Some(&dir.path().join("none"))).unwrap_err().to_string();
        assert!(e.contains("cannot read"), "{e}");
    }
}
