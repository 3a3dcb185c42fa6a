//! `trueup login`: store where the API is and the key for it, after having asked the API who that is.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal;
use serde_json::{Value, json};

use crate::args::Output;
use crate::client::Answer;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::profiles::Profile;
use crate::reach::key_in;

const EXAMPLES: &str = "\
Examples:
  trueup login --url https://trueup.example                asks for the key, without showing it
  trueup login --url https://trueup.example --key-file ops.key
  pass trueup/ops | trueup login --profile ops --url https://trueup.example
  trueup --profile ops queue ls

The key is kept in ~/.config/trueup/profiles.json, which only you can read. It is no argument of a command, so that it is in no
shell history and no list of processes. It is sent to that URL only.";

/// Longest key read, in bytes; tokens of an identity provider are long.
const MAX_KEY: u64 = 16 * 1024;

/// Store where the API is, and the key to use
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file with the API key or token; - for stdin
    #[arg(long, value_name = "FILE|-")]
    key_file: Option<PathBuf>,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let key = match &self.key_file {
            Some(path) if path.as_os_str() == "-" => from_stdin()?,
            Some(path) => key_in(path, "--key-file")?,
            None if std::io::stdin().is_terminal() => asked(&cx.reach.url)?,
            None => from_stdin()?,
        };
        let client = cx.reach.client(Some(key.clone()))?;
        let me: Answer<Value> = client.get(&["v1", "whoami"], &[]).await?;
        let actor = me.body["actor"].as_str().unwrap_or_default().to_owned();
        let (name, url) = (cx.reach.profile.clone(), client.base().to_owned());
        // A relative path would mean another file elsewhere.
        let ca_file = cx.reach.ca_file.as_ref().map(|p| std::path::absolute(p).unwrap_or_else(|_| p.clone()));
        let mut profiles = cx.profiles.clone();
        profiles.profiles.insert(name.clone(), Profile { url: url.clone(), key: Some(key), ca_file });
        profiles.current.get_or_insert_with(|| name.clone());
        let path = profiles.store()?.display().to_string();
        match cx.output {
            Output::Json => cx.write_json(&json!({"profile": name, "url": url, "actor": actor})),
            Output::Name => cx.write_names([name.as_str()]),
            Output::Table => {
                cx.write(&format!(
                    "logged in to {url} as {}, as profile {name}\n",
                    crate::text::clean(&actor)
                ));
                cx.note(&format!("kept in {path}; `trueup logout` forgets it"));
            }
        }
        Ok(Exit::Done)
    }
}

fn no_key() -> Failure {
    Failure::usage("no key was given")
        .advise("an admin makes one: `trueup key create --label NAME --grant TENANT:ROLE`")
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(MAX_KEY)
        .read_to_string(&mut text)
        .map_err(|e| Failure::usage(format!("cannot read the key: {e}")).at("stdin"))?;
    Some(text.trim().to_owned()).filter(|t| !t.is_empty()).ok_or_else(no_key)
}

/// Typed on the terminal, which shows nothing of it.
fn asked(url: &str) -> Result<String, Failure> {
    let broken =
        |e: std::io::Error| Failure::new(Exit::Failed, format!("cannot read from the terminal: {e}"));
    let _ = write!(std::io::stderr().lock(), "API key for {}: ", crate::text::clean(url));
    let _ = std::io::stderr().flush();
    terminal::enable_raw_mode().map_err(broken)?;
    let typed = typed();
    let _ = terminal::disable_raw_mode();
    let _ = writeln!(std::io::stderr().lock());
    typed.map_err(broken)?.filter(|key| !key.is_empty()).ok_or_else(no_key)
}

/// `None`: given up.
fn typed() -> std::io::Result<Option<String>> {
    let mut key = String::new();
    loop {
        match event::read()? {
            Event::Paste(text) => key += text.trim(),
            Event::Key(pressed) if pressed.kind != KeyEventKind::Release => match pressed.code {
                KeyCode::Enter => return Ok(Some(key.trim().to_owned())),
                KeyCode::Esc => return Ok(None),
                KeyCode::Char('c' | 'd') if pressed.modifiers.contains(KeyModifiers::CONTROL) => {
                    return Ok(None);
                }
                KeyCode::Backspace => drop(key.pop()),
                KeyCode::Char(c) if key.len() < MAX_KEY as usize => key.push(c),
                _ => {}
            },
            _ => {}
        }
    }
}
