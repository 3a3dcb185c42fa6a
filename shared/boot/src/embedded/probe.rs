//! Does it answer? `PING` in the protocol's inline form: all that is said to Redis outside the engine.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::child::Child;
use super::options::Address;

/// How often a starting server is asked.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(address: &Address) -> std::io::Result<Box<dyn Stream>> {
    Ok(match address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Tcp(at) => Box::new(TcpStream::connect(at).await?),
    })
}

/// Whether anybody accepts connections there.
pub(super) async fn listens(address: &Address) -> bool {
    timeout(ANSWER_WITHIN, connect(address)).await.is_ok_and(|c| c.is_ok())
}

enum Answer {
    Ready,
    /// Not yet: nobody there, or loading its data.
    NotYet,
    Refused(String),
}

/// Waits until the server answers, its data loaded. The error is the reason, to be said after "the private Redis".
pub(super) async fn until_ready(
    address: &Address,
    password: Option<&str>,
    child: &mut Child,
    within: Duration,
) -> Result<(), String> {
    let asking = async {
        loop {
            if let Some(status) = child.exited() {
                return Err(format!("ended at once ({status})"));
            }
            match timeout(ANSWER_WITHIN, ask(address, password)).await {
                Ok(Ok(Answer::Ready)) => return Ok(()),
                Ok(Ok(Answer::Refused(why))) => return Err(format!("answered: {why}")),
                Ok(Ok(Answer::NotYet) | Err(_)) | Err(_) => pause().await,
            }
        }
    };
    timeout(within, asking).await.unwrap_or_else(|_| Err(format!("was not ready within {within:?}")))
}

#[expect(clippy::disallowed_methods, reason = "a server that loads its data says when asked, not by itself")]
async fn pause() {
    tokio::time::sleep(ASK_EVERY).await;
}

async fn ask(address: &Address, password: Option<&str>) -> std::io::Result<Answer> {
    let mut stream = connect(address).await?;
    if let Some(password) = password {
        let auth = format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{password}\r\n", password.len());
        stream.write_all(auth.as_bytes()).await?;
        let answer = line(&mut stream).await?;
        if !answer.starts_with("+OK") {
            return Ok(judge(&answer));
        }
    }
    stream.write_all(b"PING\r\n").await?;
    Ok(judge(&line(&mut stream).await?))
}

fn judge(answer: &str) -> Answer {
    match answer {
        a if a.starts_with("+PONG") => Answer::Ready,
        a if a.is_empty() || a.starts_with("-LOADING") || a.starts_with("-BUSY") => Answer::NotYet,
        a => Answer::Refused(a.chars().filter(|c| !c.is_control()).take(200).collect()),
    }
}

/// One line, of at most 512 bytes; empty if the connection closed.
async fn line(stream: &mut Box<dyn Stream>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\n") && bytes.len() < 512 {
        match stream.read_u8().await {
            Ok(b) => bytes.push(b),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(String::new()),
            Err(e) => return Err(e),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
