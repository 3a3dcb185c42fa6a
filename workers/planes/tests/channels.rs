//! Channels against receivers that really listen: HTTP servers of our own, and a real mail server (aiosmtpd).

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use trueup_model::notice::NoticeGroup;
use trueup_model::{
    CorrelationId, Delivery, DriftKind, EffectKey, Fault, Finding, IntentKey, JobId, Notice, PlaneKind,
    Severity, Time, Topic,
};
use trueup_planes::channels::{ChannelConfig, Channels};
use trueup_planes::{FixedSecrets, Secret};

const SECRET: &str = "a signing secret of the tests";

type Received = Arc<Mutex<Vec<(HeaderMap, String)>>>;

/// A receiver that gives these answers in turn, then 200.
async fn receiver(answers: Vec<u16>) -> (String, Received) {
    let received = Received::default();
    let answers = Arc::new(Mutex::new(answers));
    let state = (received.clone(), answers);
    let take = |State((received, answers)): State<(Received, Arc<Mutex<Vec<u16>>>)>,
                headers: HeaderMap,
                body: String| async move {
        received.lock().unwrap().push((headers, body));
        let mut answers = answers.lock().unwrap();
        let status = if answers.is_empty() { 200 } else { answers.remove(0) };
        (
            StatusCode::from_u16(status).unwrap(),
            [("location", "http://127.0.0.1:1/")],
            "said\u{1b} the receiver",
        )
    };
    let app = Router::new().fallback(take).with_state(state);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, received)
}

fn channels(config: Value, url: &str) -> Result<Channels, String> {
    let secrets = [("HOOK".to_owned(), Secret::new(SECRET)), ("URL".to_owned(), Secret::new(url))].into();
    let config: Vec<ChannelConfig> = serde_json::from_value(config).map_err(|e| e.to_string())?;
    Channels::open(&config, &FixedSecrets(secrets)).map_err(|e| e.to_string())
}

fn delivery(channel: &str) -> Delivery {
    let intent = IntentKey::new("contoso", "vpn");
    let kind = DriftKind::ScopeMismatch;
    let finding = Finding::id_of(&intent, kind);
    let notice = Notice {
        id: Notice::id_of(Topic::Escalated, &finding, Time::UNIX_EPOCH),
        topic: Topic::Escalated,
        at: Time::UNIX_EPOCH,
        intent,
        plane: PlaneKind::Jamf,
        kind,
        severity: Severity::High,
        finding,
        causes: vec!["group:7".into()],
        subject: "Drift not remediated".into(),
        text: "  assignment.include: meant group:7 required, is <absent>\n.\n".into(),
        correlation_id: CorrelationId::derive(&["test"]),
    };
    let group = NoticeGroup {
        topic: Topic::Escalated,
        plane: PlaneKind::Jamf,
        kind,
        cause: "group:7".into(),
        members: 400,
        severity: Severity::High,
        examples: vec![notice],
    };
    Delivery { channel: channel.into(), tenant: "contoso".into(), at: Time::UNIX_EPOCH, groups: vec![group] }
}

fn key() -> EffectKey {
    EffectKey::of(&JobId::derive(&["test"]))
}

#[tokio::test]
async fn a_webhook_is_signed_and_names_its_effect() {
    let (url, received) = receiver(vec![]).await;
    let config =
        json!([{"name": "ops", "webhook": {"url": url, "secret_env": "HOOK", "allow_private": true}}]);
    let channels = channels(config, "").unwrap();
    for _ in 0..2 {
        channels.deliver(&delivery("ops"), &key()).await.unwrap();
    }
    let received = received.lock().unwrap();
    assert_eq!(received.len(), 2);
    for (headers, body) in received.iter() {
        let header = |name: &str| headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("webhook-id"), key().as_str(), "a repetition has the same id");
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp")).as_bytes());
        let expected = base64::engine::general_purpose::STANDARD.encode(mac.finalize().into_bytes());
        assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["delivery"]["groups"][0]["members"], 400);
        assert_eq!(body["subject"], "[trueup] contoso: escalated, scope mismatch on jamf, 400 intents");
    }
}

#[tokio::test]
async fn slack_gets_text_with_nothing_to_click() {
    let (url, received) = receiver(vec![]).await;
    let config = json!([{"name": "chat", "slack": {"url_env": "URL", "allow_private": true}}]);
    channels(config, &url).unwrap().deliver(&delivery("chat"), &key()).await.unwrap();
    let received = received.lock().unwrap();
    let body: Value = serde_json::from_str(&received[0].1).unwrap();
    let text = body["text"].as_str().unwrap();
    assert!(text.starts_with("*[trueup] contoso: escalated"), "{text}");
    assert!(text.contains("is &lt;absent&gt;") && text.contains("and 399 more"), "{text}");
}

#[tokio::test]
async fn answers_become_faults() {
    for (status, expected) in
        [(400, 'p'), (301, 'p'), (403, 'p'), (410, 'p'), (408, 't'), (429, 't'), (500, 't'), (503, 't')]
    {
        let (url, received) = receiver(vec![status]).await;
        let config =
            json!([{"name": "ops", "webhook": {"url": url, "secret_env": "HOOK", "allow_private": true}}]);
        let fault = channels(config, "").unwrap().deliver(&delivery("ops"), &key()).await.unwrap_err();
        let seen = match &fault {
            Fault::Transient { .. } => 't',
            Fault::Permanent { .. } => 'p',
            other => panic!("{other}"),
        };
        let text = fault.to_string();
        assert_eq!(seen, expected, "{status}: {text}");
        assert!(text.starts_with("channel 'ops': answered ") && !text.contains('\u{1b}'), "{text}");
        assert!(!text.contains("127.0.0.1"), "the URL is not told: {text}");
        assert_eq!(
            received.lock().unwrap().len(),
            1,
            "one message is one request; redirects are not followed"
        );
    }
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = json!([{"name": "chat", "slack": {"url_env": "URL", "allow_private": true}}]);
    let channels = channels(config, &format!("http://{nobody}/T0/B0/sesame")).unwrap();
    let fault = channels.deliver(&delivery("chat"), &key()).await.unwrap_err();
    assert!(matches!(&fault, Fault::Transient { what } if !what.contains("sesame")), "{fault}");
    let fault = channels.deliver(&delivery("gone"), &key()).await.unwrap_err();
    assert!(matches!(&fault, Fault::Permanent { what } if what.contains("no channel 'gone'")), "{fault}");
}

#[test]
fn a_wrong_channel_is_refused_when_the_workers_start() {
    let hook = |more: Value| {
        let mut hook = json!({"url": "https://hooks.example.com/x", "secret_env": "HOOK"});
        hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"name": "ops", "webhook": hook})
    };
    let mail = |more: Value| {
        let mut mail =
            json!({"server": "mail.example.com", "from": "a@example.com", "to": ["b@example.com"]});
        mail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"name": "m", "smtp": mail})
    };
    for (config, expected) in [
        (
            json!([hook(json!({"url": "http://hooks.example.com/x"}))]),
            "channel 'ops': url: must begin with https://",
        ),
        (json!([hook(json!({"url": "https://169.254.169.254/latest"}))]), "leads into the own network"),
        (json!([hook(json!({"secret_env": null}))]), "exactly one of secret_file and secret_env"),
        (json!([hook(json!({"secret_env": "URL"}))]), "at least 16 bytes"),
        (json!([hook(json!({"sekret": 1}))]), "unknown field `sekret`"),
        (json!([{"name": "a", "log": {}, "topics": ["nonsense"]}]), "nonsense"),
        (json!([{"name": "a", "log": {}, "topics": []}]), "never be told anything"),
        (json!([{"name": "a"}]), "exactly one of webhook, slack, smtp, log"),
        (json!([{"name": "a", "log": {}, "slack": {"url_env": "URL"}}]), "exactly one of webhook, slack"),
        (json!([hook(json!({})), hook(json!({}))]), "another channel of this name"),
        (json!([mail(json!({"tls": "none"}))]), "this host only"),
        (json!([mail(json!({"to": []}))]), "1 to 50"),
        (json!([mail(json!({"to": ["b@example.com\nBcc: c@example.com"]}))]), "is no address"),
        (json!([mail(json!({"username": "u"}))]), "exactly one of password_file and password_env"),
    ] {
        let e = channels(config.clone(), "short").unwrap_err();
        assert!(e.contains(expected), "{config}: {e}");
    }
}

/// A mail server that prints what it is sent.
struct Sink {
    server: Child,
    port: u16,
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

async fn sink() -> Sink {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Command::new("aiosmtpd")
        .args(["-n", "-l", &format!("127.0.0.1:{port}"), "-c", "aiosmtpd.handlers.Debugging", "stdout"])
        .env("PYTHONUNBUFFERED", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("aiosmtpd cannot be started: `make tools` installs it into .venv, `make test` puts that into PATH");
    let sink = Sink { server, port };
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(20));
    for _ in 0..500 {
        ticks.tick().await;
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return sink;
        }
    }
    panic!("the mail server did not come up in 10 s");
}

#[tokio::test]
async fn mail_reaches_a_real_mail_server() {
    let mut sink = sink().await;
    let config = json!([{"name": "mail", "smtp": {"server": "127.0.0.1", "port": sink.port, "tls": "none",
        "from": "Trueup <trueup@example.com>", "to": ["ops@example.com", "Second <two@example.com>"]}}]);
    let receipt = channels(config, "").unwrap().deliver(&delivery("mail"), &key()).await.unwrap();
    assert!(receipt.note.contains("250"), "{}", receipt.note);
    let lines = BufReader::new(sink.server.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mail: Vec<String> = lines.take_while(|l| !l.contains("END MESSAGE")).collect();
    let mail = mail.join("\n");
    assert!(
        mail.contains("Subject: [trueup] contoso: escalated, scope mismatch on jamf, 400 intents"),
        "{mail}"
    );
    assert!(mail.contains(&format!("Message-ID: <{}@example.com>", key())), "{mail}");
    assert!(mail.contains("ops@example.com") && mail.contains("two@example.com"), "{mail}");
    assert!(mail.replace("=\n", "").contains("in common: group:7"), "{mail}");
}

#[tokio::test]
async fn a_mail_server_without_tls_gets_nothing() {
    let sink = sink().await;
    let config = json!([{"name": "mail", "smtp": {"server": "127.0.0.1", "port": sink.port,
        "from": "trueup@example.com", "to": ["ops@example.com"]}}]);
    let fault = channels(config, "").unwrap().deliver(&delivery("mail"), &key()).await.unwrap_err();
    assert!(fault.to_string().starts_with("channel 'mail': the mail server:"), "{fault}");
}
