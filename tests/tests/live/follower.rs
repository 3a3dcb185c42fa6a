//! A client of the stream of events that reads as much as it is told to.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// What came: `event` is empty for a comment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) data: String,
}

impl Message {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_default()
    }
}

pub(crate) struct Follower {
    stream: TcpStream,
    /// As it came, behind the head of the answer.
    raw: Vec<u8>,
    /// Without the chunks around it.
    text: Vec<u8>,
    ended: bool,
}

impl Follower {
    /// Begins behind a position, or now. Has read the head of the answer and the first words.
    pub(crate) async fn new(address: &str, after: Option<&str>) -> std::io::Result<Self> {
        // What a client does not read waits in its host's buffers first: small ones, so that it soon waits at the server.
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        let mut stream = socket.connect(address.parse().map_err(std::io::Error::other)?).await?;
        let resume = after.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        let request = format!("GET /v1/events/stream HTTP/1.1\r\nhost: 127.0.0.1\r\n{resume}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut follower = Self { stream, raw: Vec::new(), text: Vec::new(), ended: false };
        let head = loop {
            if let Some(at) = follower.raw.windows(4).position(|w| w == b"\r\n\r\n") {
                break follower.raw.drain(..at + 4).collect::<Vec<u8>>();
            }
            follower.more().await?;
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        if !head.starts_with("HTTP/1.1 200") || !head.contains("text/event-stream") {
            return Err(std::io::Error::other(head));
        }
        follower.next().await?.ok_or_else(|| std::io::Error::other("it ended at once"))?;
        Ok(follower)
    }

    async fn more(&mut self) -> std::io::Result<()> {
        if self.stream.read_buf(&mut self.raw).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// The next message; nothing at the end of the stream.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Message>> {
        loop {
            if let Some(at) = self.text.windows(2).position(|w| w == b"\n\n") {
                let message: Vec<u8> = self.text.drain(..at + 2).collect();
                return Ok(Some(parsed(&String::from_utf8_lossy(&message))));
            }
            if self.ended {
                return Ok(None);
            }
            self.chunk().await?;
        }
    }

    /// One chunk of the body: its length in hexadecimal digits, a line end, and so many bytes with another.
    async fn chunk(&mut self) -> std::io::Result<()> {
        loop {
            if let Some(line) = self.raw.windows(2).position(|w| w == b"\r\n") {
                let digits = String::from_utf8_lossy(&self.raw[..line]).into_owned();
                let length = usize::from_str_radix(&digits, 16).map_err(std::io::Error::other)?;
                let (from, to) = (line + 2, line + 2 + length);
                if self.raw.len() >= to + 2 {
                    self.text.extend_from_slice(&self.raw[from..to]);
                    self.raw.drain(..to + 2);
                    self.ended = length == 0;
                    return Ok(());
                }
            }
            self.more().await?;
        }
    }
}

fn parsed(text: &str) -> Message {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
            .unwrap_or_default()
            .to_owned()
    };
    Message { id: field("id"), event: field("event"), data: field("data") }
}
