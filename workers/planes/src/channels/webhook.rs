//! Webhooks: our own JSON, signed as Standard Webhooks says; or the `{"text": …}` that Slack and its likes take.
//!
//! Signature (<https://www.standardwebhooks.com>): `webhook-id`, `webhook-timestamp` (seconds), and `webhook-signature:
//! v1,<base64 HMAC-SHA256 of "id.timestamp.body">`. The id is the effect key: a repetition has the same one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Client, Url, redirect};
use serde::{Deserialize, Serialize};
use serde_json::json;
use trueup_model::{Delivery, EffectKey, Fault};

use super::guard;
use super::message::Message;
use crate::secret::SecretRef;
use crate::{ConfigError, Secret, Secrets};

const TOTAL: Duration = Duration::from_secs(15);
/// Shortest signing secret, in bytes.
const MIN_SECRET: usize = 16;
/// Bytes of an answer that an error may quote.
const QUOTED: usize = 120;

/// A receiver of signed JSON: `{"subject", "text", "delivery": {tenant, at, groups}}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    pub url: String,
    /// A file that holds the signing secret: `whsec_` and base64, or at least 16 bytes of text. Exactly one of this and
    /// `secret_env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// The receiver is in the own network: plain http and private addresses are allowed. Default false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private: bool,
}

/// An incoming webhook of Slack, Mattermost, Rocket.Chat, …
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    /// A file that holds the URL, which is a secret. Exactly one of this and `url_env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_env: Option<String>,
    /// As a webhook's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_private: bool,
}

/// Never printed with its URL.
pub(super) struct Webhook {
    client: Client,
    url: Url,
    /// None: Slack's way, where the URL is the secret.
    signing: Option<Secret>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("signed", &self.signing.is_some()).finish_non_exhaustive()
    }
}

impl Webhook {
    pub(super) fn signed(config: &WebhookConfig, secrets: &dyn Secrets) -> Result<Self, ConfigError> {
        let from = SecretRef::one_of("secret", config.secret_file.as_ref(), config.secret_env.as_ref())?;
        let secret = secrets.read(&from)?;
        if key_bytes(&secret).len() < MIN_SECRET {
            let why = format!("{from}: a signing secret has at least {MIN_SECRET} bytes");
            return Err(ConfigError::Invalid(why));
        }
        Self::new(&config.url, Some(secret), config.allow_private)
    }

    pub(super) fn slack(config: &SlackConfig, secrets: &dyn Secrets) -> Result<Self, ConfigError> {
        let from = SecretRef::one_of("url", config.url_file.as_ref(), config.url_env.as_ref())?;
        Self::new(secrets.read(&from)?.expose(), None, config.allow_private)
    }

    fn new(url: &str, signing: Option<Secret>, allow_private: bool) -> Result<Self, ConfigError> {
        let url = guard::url(url, allow_private)?;
        // Installed once in a process; a second time is refused, and is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .timeout(TOTAL)
            .redirect(redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("trueup/", env!("CARGO_PKG_VERSION")));
        if !allow_private {
            // A proxy would resolve the name itself, out of our sight.
            builder = builder.dns_resolver(Arc::new(guard::PublicOnly)).no_proxy();
        }
        if url.scheme() == "http" {
            builder = builder.tls_certs_only([]).no_proxy();
        }
        let client =
            builder.build().map_err(|_| ConfigError::Invalid("the HTTP client cannot be built".into()))?;
        Ok(Self { client, url, signing })
    }

    pub(super) async fn send(
        &self,
        delivery: &Delivery,
        message: &Message,
        key: &EffectKey,
    ) -> Result<String, Fault> {
        let body = match self.signing {
            Some(_) => json!({"subject": message.subject, "text": message.text, "delivery": delivery}),
            None => json!({"text": slack_text(message)}),
        };
        let body = body.to_string();
        let mut request = self.client.post(self.url.clone()).header("content-type", "application/json");
        if let Some(secret) = &self.signing {
            let at = wall_clock_s();
            request = request
                .header("webhook-id", key.as_str())
                .header("webhook-timestamp", at.to_string())
                .header("webhook-signature", signature(secret, key.as_str(), at, &body));
        }
        let answer = request.body(body).send().await.map_err(|e| {
            let why = crate::http::causes(&e.without_url());
            Fault::transient(format!("no answer: {why}"))
        })?;
        judge(answer).await
    }
}

async fn judge(mut answer: reqwest::Response) -> Result<String, Fault> {
    let status = answer.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(format!("answered {status}"));
    }
    let asked = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let start = answer.chunk().await.ok().flatten().unwrap_or_default();
    let said =
        crate::redact::one_line(&String::from_utf8_lossy(&start[..start.len().min(4 * QUOTED)]), QUOTED);
    let what = format!("answered {status}: '{said}'");
    Err(match status {
        // The job's own waits are longer than most receivers ask for.
        408 | 425 | 429 | 500..=599 => Fault::transient(match asked {
            Some(asked) => format!("{what} (asks to wait {})", crate::redact::one_line(&asked, 40)),
            None => what,
        }),
        300..=399 => Fault::permanent(format!("{what}; redirects are not followed, correct the URL")),
        401 | 403 => Fault::permanent(format!("{what}; check the secret of the channel")),
        404 | 410 => {
            Fault::permanent(format!("{what}; the webhook does not exist any more, correct the URL"))
        }
        _ => Fault::permanent(what),
    })
}

/// Receivers compare it with their own clock, whatever clock the product lives by.
#[expect(
    clippy::disallowed_methods,
    reason = "a signature's time must be the receiver's, not a scaled clock's"
)]
fn wall_clock_s() -> i64 {
    chrono::Utc::now().timestamp()
}

fn key_bytes(secret: &Secret) -> Vec<u8> {
    let text = secret.expose();
    let decoded = text
        .strip_prefix("whsec_")
        .and_then(|b64| base64::engine::general_purpose::STANDARD.decode(b64).ok());
    decoded.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn signature(secret: &Secret, id: &str, at: i64, body: &str) -> String {
    let Ok(mut mac) = Hmac::<sha2::Sha256>::new_from_slice(&key_bytes(secret)) else {
        return String::new(); // cannot be: HMAC takes a key of any length
    };
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    format!("v1,{}", base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes()))
}

/// Slack's three special characters, so that nothing reported becomes a link or a mention.
fn slack_text(message: &Message) -> String {
    let text = format!("*{}*\n{}", message.subject, message.text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn signs_as_the_standard_says() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let signed =
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn slack_gets_no_mentions() {
        let message = Message { subject: "a <!channel> & b".into(), text: "<http://x|y>".into() };
        assert_eq!(slack_text(&message), "*a &lt;!channel&gt; &amp; b*\n&lt;http://x|y&gt;");
    }
}
