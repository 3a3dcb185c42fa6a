//! Mail, by SMTP.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use serde::{Deserialize, Serialize};
use trueup_model::{EffectKey, Fault};

use super::message::Message;
use crate::secret::SecretRef;
use crate::{ConfigError, Secrets};

const TOTAL: Duration = Duration::from_secs(30);
const MAX_RECIPIENTS: usize = 50;

/// How the connection is kept private.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Plain first, then TLS; refused if the server does not offer it. Port 587.
    #[default]
    Starttls,
    /// TLS from the first byte. Port 465.
    Implicit,
    /// None at all; only to this very host.
    None,
}

/// A mail server and whom to write to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmtpConfig {
    pub server: String,
    /// Default: by `tls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default)]
    pub tls: TlsMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// With `username`: exactly one of `password_file` and `password_env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_env: Option<String>,
    pub from: String,
    /// 1 to 50.
    pub to: Vec<String>,
}

pub(super) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("to", &self.to).finish_non_exhaustive()
    }
}

fn mailbox(field: &str, text: &str) -> Result<Mailbox, ConfigError> {
    text.parse()
        .map_err(|e| ConfigError::Invalid(format!("{field}: '{}' is no address: {e}", text.escape_debug())))
}

impl Smtp {
    pub(super) fn new(config: &SmtpConfig, secrets: &dyn Secrets) -> Result<Self, ConfigError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        if config.to.is_empty() || config.to.len() > MAX_RECIPIENTS {
            return Err(ConfigError::Invalid(format!("to: 1 to {MAX_RECIPIENTS} addresses")));
        }
        let server = config.server.as_str();
        let here = matches!(server, "localhost" | "127.0.0.1" | "::1");
        let parameters = || {
            TlsParameters::new(server.to_owned())
                .map_err(|e| ConfigError::Invalid(format!("server: TLS to '{server}' cannot be set up: {e}")))
        };
        let (tls, port) = match config.tls {
            TlsMode::Starttls => (Tls::Required(parameters()?), 587),
            TlsMode::Implicit => (Tls::Wrapper(parameters()?), 465),
            TlsMode::None if here => (Tls::None, 25),
            TlsMode::None => {
                return Err(ConfigError::Invalid("tls: 'none' is allowed to this host only".into()));
            }
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server)
            .port(config.port.unwrap_or(port))
            .tls(tls)
            .timeout(Some(TOTAL));
        if let Some(user) = &config.username {
            let from =
                SecretRef::one_of("password", config.password_file.as_ref(), config.password_env.as_ref())?;
            let password = secrets.read(&from)?.expose().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        let to = config.to.iter().map(|text| mailbox("to", text)).collect::<Result<_, _>>()?;
        Ok(Self { transport: builder.build(), from: mailbox("from", &config.from)?, to })
    }

    pub(super) async fn send(&self, message: &Message, key: &EffectKey) -> Result<String, Fault> {
        let mut mail = lettre::Message::builder()
            .from(self.from.clone())
            .subject(message.subject.clone())
            // The same for a repetition: a mail server or reader may recognise it.
            .message_id(Some(format!("<{key}@{}>", self.from.email.domain())));
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        let mail = mail
            .body(message.text.clone())
            .map_err(|e| Fault::permanent(format!("the mail cannot be written: {e}")))?;
        let sent = tokio::time::timeout(2 * TOTAL, self.transport.send(mail)).await;
        match sent {
            Err(_) => Err(Fault::transient(format!(
                "the mail server did not answer within {} s",
                2 * TOTAL.as_secs()
            ))),
            Ok(Ok(answer)) => Ok(format!("the mail server answered {}", answer.code())),
            Ok(Err(e)) => {
                let what = format!("the mail server: {}", crate::redact::one_line(&chain(&e), 240));
                Err(if e.is_permanent() || e.is_client() {
                    Fault::permanent(what)
                } else {
                    Fault::transient(what)
                })
            }
        }
    }
}

fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut next = e.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
