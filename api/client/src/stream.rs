//! Server-Sent Events (WHATWG HTML, 9.2), as far as the API sends them.

use std::collections::VecDeque;

use reqwest::Response;

use crate::Error;

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// One message of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Its type: that of an event (`DRIFT_DETECTED`), or `gap`, `dropped`, `ended`.
    pub event: String,
    /// JSON.
    pub data: String,
    /// The position behind it: give it as `Last-Event-ID` when coming back. Of this message or one before.
    pub id: Option<String>,
}

/// Messages as they come. The API ends a stream after some minutes: come back with the last id.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
    base: String,
    parser: Parser,
    /// Of the last message that was handed out.
    handed: Option<String>,
}

impl EventStream {
    pub(crate) fn new(response: Response, base: String) -> Self {
        Self { response, base, parser: Parser::default(), handed: None }
    }

    /// The position behind everything that was handed out: give it as `Last-Event-ID` when coming back, and nothing is missed.
    /// The API says it when a stream begins, and from time to time where nothing happens.
    pub fn position(&self) -> Option<&str> {
        if self.parser.ready.is_empty() { self.parser.position.as_deref() } else { self.handed.as_deref() }
    }

    /// The next message; `None` when the stream ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Message>, Error> {
        loop {
            if let Some(message) = self.parser.ready.pop_front() {
                self.handed.clone_from(&message.id);
                return Ok(Some(message));
            }
            match self.response.chunk().await.map_err(|e| Error::unreachable(&self.base, &e))? {
                None => return Ok(None),
                Some(bytes) if self.parser.take(&bytes) => {}
                Some(_) => {
                    let why = "a message of the stream is too large".into();
                    return Err(Error::Foreign { url: self.base.clone(), why, correlation_id: None });
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Parser {
    /// A line that is not whole yet.
    line: Vec<u8>,
    message: Message,
    /// Behind the last message, which may have been an id alone.
    position: Option<String>,
    ready: VecDeque<Message>,
}

impl Parser {
    /// Takes bytes; false where a message is too large.
    fn take(&mut self, bytes: &[u8]) -> bool {
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.message.data.len() > MAX_MESSAGE {
                return false;
            }
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
            }
        }
        true
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            self.position.clone_from(&self.message.id);
            let next = Message { id: self.message.id.clone(), ..Message::default() };
            let mut message = std::mem::replace(&mut self.message, next);
            // Without data it is none: a comment, or an id alone.
            if !message.data.is_empty() {
                message.data.pop();
                self.ready.push_back(message);
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                self.message.data.push_str(value);
                self.message.data.push('\n');
            }
            "id" if !value.contains('\0') => self.message.id = Some(value.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, size: usize) -> Vec<Message> {
        let mut parser = Parser::default();
        for chunk in text.as_bytes().chunks(size) {
            assert!(parser.take(chunk));
        }
        parser.ready.into()
    }

    #[test]
    fn messages_are_the_same_however_the_bytes_come() {
        let text = ": hello\n\nid: 0:1\nevent: DRIFT_DETECTED\ndata: {\"a\":\ndata: \"é\"}\n\nid: 0:2\n\ndata:x\r\n\r\nevent: cut";
        let of = |event: &str, data: &str, id: &str| Message {
            event: event.into(),
            data: data.into(),
            id: Some(id.into()),
        };
        let expected = [of("DRIFT_DETECTED", "{\"a\":\n\"é\"}", "0:1"), of("", "x", "0:2")];
        for size in [1, 2, 3, 7, 1000] {
            assert_eq!(parsed(text, size), expected, "in chunks of {size}");
        }
    }

    #[test]
    fn a_position_alone_is_known_and_one_that_is_not_whole_is_not() {
        let mut parser = Parser::default();
        assert!(parser.take(b"retry: 2000\nid: 0:7\n: following\n\nid: 0:8\ndata: x\n"));
        assert_eq!((parser.position.as_deref(), parser.ready.len()), (Some("0:7"), 0));
    }

    #[test]
    fn what_never_ends_is_not_kept() {
        let mut parser = Parser::default();
        let many = vec![b'x'; MAX_MESSAGE];
        assert!(parser.take(&many));
        assert!(!parser.take(b"y"));
    }
}
