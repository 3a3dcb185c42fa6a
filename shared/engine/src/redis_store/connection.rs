//! The connection, and what its errors mean.
//!
//! # Guarantees
//! A lost connection is made again by the connection manager. No call waits longer than [`ANSWER_WITHIN`].

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind};

use crate::EngineError;

/// A script over 64 full commits takes milliseconds; a Redis that is silent this long is away.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Bytes of an error that are told.
const MAX_SAID: usize = 300;
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// A `redis://`, `rediss://` or `redis+unix://` URL without its password, for messages.
pub fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => {
            // A unix URL carries its password as a parameter.
            let rest = rest.split('?').next().unwrap_or_default();
            match rest.rsplit_once('@') {
                Some((_, host)) => format!("{scheme}://***@{host}"),
                None => format!("{scheme}://{rest}"),
            }
        }
        None => "(not a URL)".to_owned(),
    }
}

/// Opens a client and a managed connection; refuses what will not pass by itself.
pub(super) async fn open(url: &str) -> Result<(Client, ConnectionManager), EngineError> {
    let client = Client::open(url).map_err(|e| {
        EngineError::Refused(format!(
            "'{}' is not a Redis URL ({e}); write redis://HOST:PORT, rediss://… or redis+unix:///PATH",
            shown(url)
        ))
    })?;
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN))
        .set_number_of_retries(2)
        .set_max_delay(Duration::from_millis(500));
    let manager =
        ConnectionManager::new_with_config(client.clone(), config).await.map_err(|e| at(url, meaning(e)))?;
    Ok((client, manager))
}

/// The error, with the place it is about.
pub(super) fn at(url: &str, e: EngineError) -> EngineError {
    match e {
        EngineError::Unavailable(what) => EngineError::Unavailable(format!("{}: {what}", shown(url))),
        EngineError::Refused(what) => EngineError::Refused(format!("{}: {what}", shown(url))),
    }
}

/// Sorts Redis's errors by what can be done.
pub(super) fn meaning(e: RedisError) -> EngineError {
    let mut what = e.to_string();
    // A pipeline says the same for each of its commands.
    if what.len() > MAX_SAID {
        what.truncate(what.floor_char_boundary(MAX_SAID));
        what.push('…');
    }
    if what.contains("NOAUTH") {
        return EngineError::Refused(format!(
            "Redis asks for a password; add user and password to the URL ({what})"
        ));
    }
    match e.kind() {
        ErrorKind::AuthenticationFailed => EngineError::Refused(format!(
            "Redis refused the credentials; check the user and password in the URL ({what})"
        )),
        ErrorKind::InvalidClientConfig | ErrorKind::UnexpectedReturnType | ErrorKind::Parse => {
            EngineError::Refused(what)
        }
        // A key of another type, a command Redis does not know: somebody else's database, or a version too old.
        ErrorKind::Extension
        | ErrorKind::Server(ServerErrorKind::ResponseError | ServerErrorKind::NoPerm)
            if !may_pass(&what) =>
        {
            EngineError::Refused(what)
        }
        _ => EngineError::Unavailable(what),
    }
}

fn may_pass(what: &str) -> bool {
    ["OOM", "LOADING", "READONLY", "MASTERDOWN", "BUSY", "MISCONF", "CLUSTERDOWN", "NOREPLICAS"]
        .iter()
        .any(|w| what.contains(w))
}

/// A script with its arguments. Loads itself where Redis has forgotten it.
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<Vec<u8>>,
    args: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn new(script: &'static Script) -> Self {
        Self { script, keys: Vec::new(), args: Vec::new() }
    }
    /// Adds a key, returns its position from 0.
    pub(super) fn key(&mut self, key: String) -> usize {
        self.keys.push(key.into_bytes());
        self.keys.len() - 1
    }
    pub(super) fn arg(&mut self, arg: impl Into<Vec<u8>>) -> &mut Self {
        self.args.push(arg.into());
        self
    }
    pub(super) fn num(&mut self, n: impl std::fmt::Display) -> &mut Self {
        self.args.push(n.to_string().into_bytes());
        self
    }
    /// Adds the arguments of another call behind ours.
    pub(super) fn append(&mut self, other: Self) {
        self.args.extend(other.args);
    }
    pub(super) async fn run<T: FromRedisValue>(self, c: &ConnectionManager) -> Result<T, EngineError> {
        let mut call = self.script.prepare_invoke();
        for key in self.keys {
            call.key(key);
        }
        for arg in self.args {
            call.arg(arg);
        }
        call.invoke_async(&mut c.clone()).await.map_err(meaning)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_password_is_never_shown() {
        let table = [
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("redis://user:secret@host:1", "redis://***@host:1"),
            ("redis://:se@cret@host:1", "redis://***@host:1"),
            ("redis+unix:///run/r.sock?pass=secret", "redis+unix:///run/r.sock"),
            ("secret", "(not a URL)"),
        ];
        for (url, shown) in table {
            assert_eq!(super::shown(url), shown);
        }
    }
}
