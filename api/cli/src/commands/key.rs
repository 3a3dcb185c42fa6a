//! `trueup key`: API keys.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};
use trueup_client::Method;
use trueup_model::Time;

use super::whoami::joined;
use crate::args::Output;
use crate::client::{Answer, Body};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, Tone, cell};
use crate::text::relative;

const EXAMPLES: &str = "\
Examples:
  trueup key create --label ci --grant acme:operator --expires-in 30d
  trueup key create --label ops --grant '*:admin' --to ops.key
  trueup key ls
  trueup key rotate 3f9c2a7be01d4455 --grace 24h    the old secret works for another day
  trueup key revoke 3f9c2a7be01d4455

Roles: viewer reads; operator also applies, checks and (with a grant on *) operates queues; approver reads, decides and rearms;
admin does everything, keys included. A secret is shown once. A revoked key is refused everywhere within 5 seconds.";

/// Make, list, rotate and revoke API keys
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make a key; its secret is shown this once
    Create {
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        label: String,
        /// TENANT:ROLE, or *:ROLE for every tenant and the fleet; can be given more than once
        #[arg(long = "grant", required = true, value_name = "GRANT")]
        grants: Vec<String>,
        /// How long it works: 12h, 90d (default 90d)
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires_in: Option<u32>,
        /// Write the key into this new file, which only you can read, instead of showing it
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// The keys, and when each was used
    Ls,
    /// Give a key another secret, which is shown this once, and as much time as it had
    Rotate {
        /// Its id, as `key ls` shows it
        id: String,
        /// How long the secret that it has now works too: 10m, 24h (default: no longer)
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        grace: Option<u32>,
        /// How long the key works from now: 12h, 90d (default: as long as before)
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        expires_in: Option<u32>,
        /// Write the key into this new file, which only you can read, instead of showing it
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Refuse a key from now on, for good
    Revoke {
        /// Its id, as `key ls` shows it
        id: String,
    },
}

/// `90s`, `10m`, `24h`, `90d`.
fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || "expected a time like 90s, 10m, 24h or 90d".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let factor: u32 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = text.strip_suffix(unit).and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(factor).ok_or_else(wrong)
}

fn table(items: &[Value], now: Time) -> Table {
    let mut table = Table::new(&["ID", "LABEL", "GRANTS", "STATE", "EXPIRES", "LAST USED", "CREATED BY"]);
    let text = |item: &Value, name: &str| item[name].as_str().unwrap_or_default().to_owned();
    let when = |item: &Value, name: &str| match item[name].as_str().and_then(|t| t.parse::<Time>().ok()) {
        Some(at) => relative(at, now),
        None => "never".into(),
    };
    for item in items {
        let state = text(item, "state");
        let tone = if state == "active" { Tone::Good } else { Tone::Dim };
        table.row([
            text(item, "id").into(),
            text(item, "label").into(),
            joined(&item["grants"]).into(),
            cell(state, tone),
            when(item, "expires_at").into(),
            when(item, "last_used_at").into(),
            text(item, "created_by").into(),
        ]);
    }
    table
}

/// A file for a key, made before the key is: a secret that cannot be kept must not come to be.
fn place(to: Option<PathBuf>) -> Result<Option<(PathBuf, File)>, Failure> {
    let Some(path) = to else { return Ok(None) };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
        Ok(file) => Ok(Some((path, file))),
        Err(e) => Err(Failure::usage(format!("{}: {e}", path.display()))
            .at("--to")
            .advise("name a file that is not there yet, in a folder that you can write to")),
    }
}

/// There will be no key for it.
fn forget(to: Option<&(PathBuf, File)>) {
    if let Some((path, _)) = to {
        let _ = std::fs::remove_file(path);
    }
}

/// A key with its secret: into its file, or alone on stdout.
fn show(cx: &Context, answer: &Answer<Value>, done: &str, to: Option<(PathBuf, File)>) -> Result<(), Failure> {
    let body = &answer.body;
    let (id, key) = (body["id"].as_str().unwrap_or_default(), body["key"].as_str().unwrap_or_default());
    if let Some((path, mut file)) = to {
        return match file.write_all(format!("{key}\n").as_bytes()).and_then(|()| file.sync_all()) {
            Ok(()) => {
                cx.note(&format!("{done} key {id}; it is in {}, for --api-key-file", path.display()));
                Ok(())
            }
            Err(e) => Err(Failure::new(Exit::Failed, format!("{}: {e}", path.display()))
                .advise(format!("its secret is lost: `trueup key revoke {id}`, and make another one"))),
        };
    }
    match cx.output {
        Output::Json => cx.write_json(body),
        Output::Name => cx.write_names([key]),
        Output::Table => {
            cx.note(&format!("{done} key {id}; keep the secret now, it is not shown again:"));
            cx.write_names([key]);
            cx.note("use it with TRUEUP_API_KEY, or put it into a file and name that with --api-key-file");
        }
    }
    cx.written().map_err(|e| e.advise(format!("its secret is lost: `trueup key revoke {id}`, and make another one")))
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Create { label, grants, expires_in, to } => {
                let to = place(to)?;
                let mut body = json!({"label": label, "grants": grants});
                if let Some(s) = expires_in {
                    body["expires_in_s"] = s.into();
                }
                let asked = cx.client.ask(Method::POST, &["v1", "keys"], &[], Body::Json(body)).await;
                let answer = asked.inspect_err(|_| forget(to.as_ref()))?;
                show(cx, &answer, "made", to)?;
            }
            What::Ls => {
                let found = cx.client.list(&["v1", "keys"], &[], 10_000).await?;
                match cx.output {
                    Output::Json => cx.write_json(&json!({"items": found.items})),
                    Output::Name => cx.write_names(found.items.iter().filter_map(|i| i["id"].as_str())),
                    Output::Table => cx.write_table(
                        &table(&found.items, found.now),
                        "there are no API keys that you administer (`trueup whoami`); make one with `trueup key create`",
                    ),
                }
            }
            What::Rotate { id, grace, expires_in, to } => {
                let to = place(to)?;
                let mut body = json!({"grace_s": grace.unwrap_or_default()});
                if let Some(s) = expires_in {
                    body["expires_in_s"] = s.into();
                }
                let path = ["v1", "keys", &id, "rotate"];
                let asked = cx.client.ask(Method::POST, &path, &[], Body::Json(body)).await;
                let answer = asked.inspect_err(|_| forget(to.as_ref()))?;
                show(cx, &answer, "rotated", to)?;
            }
            What::Revoke { id } => {
                let path = ["v1", "keys", &id];
                let answer: Answer<Value> = cx.client.ask(Method::DELETE, &path, &[], Body::None).await?;
                match cx.output {
                    Output::Json => cx.write_json(&answer.body),
                    Output::Name => cx.write_names([id.as_str()]),
                    Output::Table => {
                        let label = crate::text::clean(answer.body["label"].as_str().unwrap_or_default());
                        cx.write(&format!(
                            "revoked key {id} ({label}); it is refused everywhere within 5 seconds\n"
                        ));
                    }
                }
            }
        }
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_or_refused() {
        for (text, expected) in [("90s", 90), ("10m", 600), ("24h", 86_400), ("90d", 7_776_000), ("0s", 0)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "s", "10", "1.5h", "-1d", "99999999d", "10w", "1ä"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_listed_without_anything_that_steers_a_terminal() {
        let now: Time = "2026-01-06T00:00:00Z".parse().unwrap();
        let items = [json!({
            "id": "3f9c2a7be01d4455", "label": "ci\u{1b}[31m", "grants": ["acme:operator", "*:viewer"], "state": "active",
            "created_by": "api:local", "expires_at": "2026-01-07T00:00:00Z",
        })];
        let text = table(&items, now).render(false);
        assert!(text.contains("acme:operator, *:viewer") && text.contains("never"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
