//! What a private Redis is told: its options, where it listens, and the configuration file and url made of them. Pure,
//! but for looking for a free port and making a short directory.

use std::fmt::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{EmbeddedError, io_error};

/// Longest path of a unix socket, in bytes: 107 on Linux, 103 on macOS.
const SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// How much a crash of the host may lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Append {
    /// No append-only file: everything is gone at the end. For benches only.
    Off,
    /// At most about a second.
    #[default]
    EverySec,
    /// Nothing that was answered.
    Always,
    /// Synced when the system likes.
    WhenTheSystemLikes,
}

/// How clients reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listen {
    /// A socket in its directory.
    #[default]
    Unix,
    /// A free loopback port. For what must be put between client and server, such as a proxy that cuts the line.
    Tcp,
}

#[derive(Clone)]
pub struct Options {
    pub append: Append,
    pub listen: Listen,
    /// In bytes. Nothing is ever evicted: at the limit, writes fail.
    pub maxmemory: Option<u64>,
    pub password: Option<String>,
    /// More settings, as in `redis.conf`. They win over ours.
    pub extra: Vec<(String, String)>,
    /// How long it may load its data before that counts as a failure.
    pub ready_within: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            append: Append::default(),
            listen: Listen::default(),
            maxmemory: None,
            password: None,
            extra: Vec::new(),
            ready_within: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { append, listen, maxmemory, password, extra, ready_within } = self;
        f.debug_struct("Options")
            .field("append", append)
            .field("listen", listen)
            .field("maxmemory", maxmemory)
            .field("password", &password.as_ref().map(|_| "…"))
            .field("extra", &extra.iter().map(|(key, _)| key).collect::<Vec<_>>())
            .field("ready_within", ready_within)
            .finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

impl Address {
    /// A socket in `dir`; in a short directory of ours if `dir` is too deep; a port if even that is.
    pub(super) fn choose(dir: &Path, listen: Listen) -> Result<(Self, Option<TempDir>), EmbeddedError> {
        let fits = |socket: &Path| socket.as_os_str().len() <= SOCKET_PATH;
        let socket = dir.join("redis.sock");
        if listen == Listen::Tcp {
            return Ok((Self::free_port()?, None));
        }
        if fits(&socket) {
            return Ok((Self::Unix(socket), None));
        }
        let short = tempfile::Builder::new().prefix("tu-").tempdir();
        let short =
            short.map_err(io_error("cannot make a directory for the socket", &std::env::temp_dir()))?;
        let socket = short.path().join("redis.sock");
        if fits(&socket) { Ok((Self::Unix(socket), Some(short))) } else { Ok((Self::free_port()?, None)) }
    }

    pub(super) fn free_port() -> Result<Self, EmbeddedError> {
        let found = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr());
        found.map(Self::Tcp).map_err(io_error("cannot find a free port", Path::new("127.0.0.1")))
    }

    pub(super) fn url(&self, password: Option<&str>) -> String {
        let password = password.map(|p| encode(p.as_bytes(), b""));
        match (self, password) {
            (Self::Unix(path), None) => format!("redis+unix://{}", encode(path.as_os_str().as_bytes(), b"/")),
            (Self::Unix(path), Some(p)) => {
                format!("redis+unix://{}?pass={p}", encode(path.as_os_str().as_bytes(), b"/"))
            }
            (Self::Tcp(at), None) => format!("redis://{at}"),
            (Self::Tcp(at), Some(p)) => format!("redis://:{p}@{at}"),
        }
    }
}

/// Percent-encoding of all but RFC 3986's unreserved characters and `also`.
fn encode(bytes: &[u8], also: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len()), |mut out, b| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(b) || also.contains(b) {
            out.push(char::from(*b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
        out
    })
}

/// The configuration file.
pub(super) fn render(dir: &Path, address: &Address, options: &Options) -> Result<String, EmbeddedError> {
    let mut conf = Conf(String::new());
    conf.set("daemonize", b"no");
    // So that the command line goes on naming this file: a later start recognises the process by it.
    conf.set("set-proc-title", b"no");
    conf.set("logfile", b"");
    conf.set("loglevel", b"notice");
    conf.set("dir", dir.as_os_str().as_bytes());
    match address {
        Address::Unix(socket) => {
            conf.set("port", b"0");
            conf.set("unixsocket", socket.as_os_str().as_bytes());
            conf.set("unixsocketperm", b"700");
        }
        Address::Tcp(at) => {
            conf.set("bind", at.ip().to_string().as_bytes());
            conf.set("port", at.port().to_string().as_bytes());
        }
    }
    conf.set("save", b"");
    conf.set("appendonly", if options.append == Append::Off { b"no" } else { b"yes" });
    conf.set(
        "appendfsync",
        match options.append {
            Append::EverySec => b"everysec",
            Append::Always => b"always",
            Append::Off | Append::WhenTheSystemLikes => b"no",
        },
    );
    conf.set("maxmemory-policy", b"noeviction");
    if let Some(bytes) = options.maxmemory {
        conf.set("maxmemory", bytes.to_string().as_bytes());
    }
    if let Some(password) = &options.password {
        if password.is_empty() || password.len() > 512 {
            return Err(EmbeddedError::Setting { key: "password".into(), why: "1 to 512 bytes are allowed" });
        }
        conf.set("requirepass", password.as_bytes());
    }
    for (key, value) in &options.extra {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if key.is_empty() || !key.bytes().all(plain) {
            return Err(EmbeddedError::Setting {
                key: key.clone(),
                why: "a name has letters, digits and dashes",
            });
        }
        conf.set(key, value.as_bytes());
    }
    Ok(conf.0)
}

struct Conf(String);

impl Conf {
    fn set(&mut self, key: &str, value: &[u8]) {
        self.0.push_str(key);
        self.0.push_str(" \"");
        for b in value {
            match b {
                b'"' | b'\\' => self.0.extend(['\\', char::from(*b)]),
                b' '..=b'~' => self.0.push(char::from(*b)),
                _ => {
                    let _ = write!(self.0, "\\x{b:02x}");
                }
            }
        }
        self.0.push_str("\"\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_as_redis_clients_read_them() {
        let unix = |p: &str| Address::Unix(p.into());
        let tcp = Address::Tcp(([127, 0, 0, 1], 7001).into());
        for (address, password, want) in [
            (unix("/a/b.sock"), None, "redis+unix:///a/b.sock"),
            (unix("/a b/ü#?.sock"), None, "redis+unix:///a%20b/%C3%BC%23%3F.sock"),
            (unix("/a"), Some("p+ &@"), "redis+unix:///a?pass=p%2B%20%26%40"),
            (tcp.clone(), None, "redis://127.0.0.1:7001"),
            (tcp, Some("p:@/"), "redis://:p%3A%40%2F@127.0.0.1:7001"),
        ] {
            assert_eq!(address.url(password), want);
        }
    }

    #[test]
    fn a_directory_too_deep_for_a_socket_gets_a_short_one() {
        let deep = PathBuf::from(format!("/{}", "d".repeat(SOCKET_PATH)));
        let (address, short) = Address::choose(&deep, Listen::Unix).unwrap();
        let Address::Unix(socket) = address else { panic!("{address:?}") };
        assert!(socket.starts_with(short.unwrap().path()));
        assert!(socket.as_os_str().len() <= SOCKET_PATH);
        let exact = PathBuf::from(format!("/{}", "d".repeat(SOCKET_PATH - "/redis.sock".len() - 1)));
        assert!(Address::choose(&exact, Listen::Unix).unwrap().1.is_none());
    }

    #[test]
    fn no_value_can_begin_a_second_setting() {
        let options = Options {
            password: Some("a\"\nport 1\\ü".into()),
            extra: vec![("hz".into(), "1\r\nport 2".into())],
            ..Options::default()
        };
        let text = render(Path::new("/d"), &Address::Unix("/d/s".into()), &options).unwrap();
        assert!(text.contains(r#"requirepass "a\"\x0aport 1\\\xc3\xbc""#), "{text}");
        assert_eq!(text.lines().filter(|l| l.starts_with("port ")).collect::<Vec<_>>(), [r#"port "0""#]);
        for key in ["", "a b", "a\nport"] {
            let options = Options { extra: vec![(key.into(), "x".into())], ..Options::default() };
            let error = render(Path::new("/d"), &Address::Unix("/d/s".into()), &options).unwrap_err();
            assert!(matches!(error, EmbeddedError::Setting { .. }), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let options = Options {
            password: Some("hunter2".into()),
            extra: vec![("masterauth".into(), "hunter2".into())],
            ..Options::default()
        };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
