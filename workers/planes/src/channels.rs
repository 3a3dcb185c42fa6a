//! Telling people: webhook, Slack-compatible webhook, SMTP, the log.
//!
//! # Guarantees
//! One message per call, under a key that receivers can deduplicate by (webhook: `webhook-id`; mail: `Message-ID`). A
//! receiver inside the own network is not reached unless the configuration says so. Errors name the channel, never its
//! URL or its secret. What devices and planes reported is shown as data: bounded, escaped, without control characters.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use trueup_model::{Delivery, EffectKey, Fault, Receipt, Route, Severity, Topic};

use crate::{ConfigError, Secrets};

mod guard;
pub mod message;
mod smtp;
mod webhook;

use message::Template;
use smtp::Smtp;
use webhook::Webhook;

pub use smtp::SmtpConfig;
pub use webhook::{SlackConfig, WebhookConfig};

/// Channels of one fleet.
const MAX_CHANNELS: usize = 50;

/// A receiver of notices: exactly one of `webhook`, `slack`, `smtp`, `log`.
///
/// ```yaml
/// - {name: ops, webhook: {url: https://hooks.example.com/trueup, secret_env: OPS_HOOK_SECRET}}
/// - {name: chat, topics: [escalated, blast_radius, approval_wanted], slack: {url_file: /run/secrets/slack-url}}
/// - {name: mail, min_severity: high, smtp: {server: mail.example.com, from: trueup@example.com, to: [ops@example.com]}}
/// - {name: log, log: {}}
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// Unique; recorded with every delivery.
    pub name: String,
    /// What it is told: `escalated`, `blast_radius`, `security_drift`, `approval_wanted`. Default: the first two.
    #[serde(default = "default_topics")]
    pub topics: Vec<Topic>,
    /// Of these tenants only. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    /// Nothing less severe. Default `low`.
    #[serde(default = "lowest")]
    pub min_severity: Severity,
    /// A Jinja template of the text, instead of the shipped one (`message.txt.j2`). Its first line is the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<SlackConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogConfig>,
}

fn default_topics() -> Vec<Topic> {
    vec![Topic::Escalated, Topic::BlastRadius]
}
fn lowest() -> Severity {
    Severity::Low
}

/// One message at level WARN, target `trueup::escalation`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {}

impl ChannelConfig {
    /// What is used where nothing is configured.
    pub fn log() -> Self {
        Self {
            name: "log".into(),
            topics: default_topics(),
            tenants: Vec::new(),
            min_severity: lowest(),
            template: None,
            webhook: None,
            slack: None,
            smtp: None,
            log: Some(LogConfig {}),
        }
    }

    pub fn route(&self) -> Route {
        Route {
            channel: self.name.clone(),
            topics: self.topics.clone(),
            tenants: self.tenants.clone(),
            min_severity: self.min_severity,
        }
    }

    fn way(&self, secrets: &dyn Secrets) -> Result<Way, ConfigError> {
        match (&self.webhook, &self.slack, &self.smtp, &self.log) {
            (Some(c), None, None, None) => Webhook::signed(c, secrets).map(Way::Webhook),
            (None, Some(c), None, None) => Webhook::slack(c, secrets).map(Way::Webhook),
            (None, None, Some(c), None) => Smtp::new(c, secrets).map(|s| Way::Smtp(Box::new(s))),
            (None, None, None, Some(LogConfig {})) => Ok(Way::Log),
            _ => Err(ConfigError::Invalid("give exactly one of webhook, slack, smtp, log".into())),
        }
    }
}

#[derive(Debug)]
enum Way {
    Webhook(Webhook),
    Smtp(Box<Smtp>),
    Log,
}

#[derive(Debug)]
struct Channel {
    way: Way,
    template: Template,
}

/// All channels of a process, by name.
#[derive(Debug, Default)]
pub struct Channels(BTreeMap<String, Channel>);

impl Channels {
    /// Reads secrets and templates; talks to nobody yet.
    pub fn open(configs: &[ChannelConfig], secrets: &dyn Secrets) -> Result<Self, ConfigError> {
        if configs.len() > MAX_CHANNELS {
            return Err(ConfigError::Invalid(format!("notifications: more than {MAX_CHANNELS} channels")));
        }
        let mut all = BTreeMap::new();
        for config in configs {
            let name = &config.name;
            let wrong = |why: ConfigError| ConfigError::Channel { name: name.clone(), why: Box::new(why) };
            if name.is_empty() || name.len() > 64 {
                return Err(wrong(ConfigError::Invalid("a name has 1 to 64 characters".into())));
            }
            if config.topics.is_empty() {
                let known: Vec<_> = Topic::ALL.map(Topic::as_str).into();
                let why = format!(
                    "topics: empty, so it would never be told anything (known: {})",
                    known.join(", ")
                );
                return Err(wrong(ConfigError::Invalid(why)));
            }
            let template = Template::read(config.template.as_deref()).map_err(wrong)?;
            let channel = Channel { way: config.way(secrets).map_err(wrong)?, template };
            if all.insert(name.clone(), channel).is_some() {
                return Err(wrong(ConfigError::Invalid("there is another channel of this name".into())));
            }
        }
        Ok(Self(all))
    }

    /// ONE message to the delivery's channel.
    pub async fn deliver(&self, delivery: &Delivery, key: &EffectKey) -> Result<Receipt, Fault> {
        let name = &delivery.channel;
        let channel = self.0.get(name).ok_or_else(|| {
            Fault::permanent(format!(
                "there is no channel '{name}' any more: add it to 'notifications' in the workers' configuration, then retry the job"
            ))
        })?;
        let message = channel.template.render(delivery)?;
        let sent = match &channel.way {
            Way::Webhook(webhook) => webhook.send(delivery, &message, key).await,
            Way::Smtp(smtp) => smtp.send(&message, key).await,
            Way::Log => {
                tracing::warn!(target: "trueup::escalation", effect_key = %key, tenant = delivery.tenant,
                    subject = %message.subject, "{}", message.text);
                Ok("written to the log".to_owned())
            }
        };
        sent.map(|note| Receipt { note, changed: true })
            .map_err(|fault| fault.about(&format!("channel '{name}'")))
    }
}
