//! Where a webhook may go: a URL of the configuration must not lead into the own network (SSRF), neither by its text nor
//! by what its name resolves to at the moment of sending.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::ConfigError;

/// Whether an address is on the public internet.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => {
            let [x, y, z, _] = a.octets();
            let shared = x == 100 && (64..128).contains(&y);
            let benchmark = x == 198 && (y == 18 || y == 19);
            let reserved = x == 0 || x >= 240 || (x == 192 && y == 0 && z == 0);
            !(a.is_private()
                || a.is_loopback()
                || a.is_link_local()
                || a.is_multicast()
                || a.is_documentation()
                || shared
                || benchmark
                || reserved)
        }
        IpAddr::V6(a) => {
            // An IPv4 address in IPv6 clothes (mapped, compatible, 6to4, NAT64) is judged as what it is.
            let s = a.segments();
            let low = |hi: u16, lo: u16| {
                let ([a, b], [c, d]) = (hi.to_be_bytes(), lo.to_be_bytes());
                IpAddr::from([a, b, c, d])
            };
            if s[..5] == [0; 5] && (s[5] == 0xffff || s[5] == 0) {
                return is_public(low(s[6], s[7])) && s[5] == 0xffff;
            }
            if s[0] == 0x2002 {
                return is_public(low(s[1], s[2]));
            }
            if s[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
                return is_public(low(s[6], s[7]));
            }
            let global = s[0] & 0xe000 == 0x2000;
            let special = s[0] == 0x2001 && (s[1] < 0x200 || s[1] == 0xdb8);
            global && !special
        }
    }
}

/// A URL to send to: https and public, unless `allow_private` says that the receiver is in the own network.
pub(super) fn url(text: &str, allow_private: bool) -> Result<Url, ConfigError> {
    let wrong = |why: &str| Err(ConfigError::Invalid(format!("url: {why}")));
    // The text is not repeated: such URLs often are secrets.
    let Ok(url) = Url::parse(text.trim()) else { return wrong("is not a URL") };
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must not hold a user name or password");
    }
    match (url.scheme(), allow_private) {
        ("https", _) | ("http", true) => {}
        ("http", false) => return wrong("must begin with https://"),
        _ => return wrong("must begin with https://"),
    }
    let literal = match url.host() {
        None => return wrong("names no host"),
        Some(url::Host::Domain(_)) => None,
        Some(url::Host::Ipv4(a)) => Some(IpAddr::V4(a)),
        Some(url::Host::Ipv6(a)) => Some(IpAddr::V6(a)),
    };
    if !allow_private && literal.is_some_and(|a| !is_public(a)) {
        return wrong("leads into the own network; if that is meant, set allow_private: true");
    }
    Ok(url)
}

/// Resolves names to public addresses only. The connection goes to what was resolved here, so a name that changes its mind
/// between check and use gains nothing.
#[derive(Debug)]
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let all: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let public: Vec<SocketAddr> = all.iter().copied().filter(|a| is_public(a.ip())).collect();
            if public.is_empty() && !all.is_empty() {
                return Err(
                    "its name leads into the own network; if that is meant, set allow_private: true".into()
                );
            }
            let public: Addrs = Box::new(public.into_iter());
            Ok(public)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for (text, public) in [
            ("93.184.215.14", true),
            ("8.8.8.8", true),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("0.0.0.0", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("198.18.0.1", false),
            ("192.0.0.8", false),
            ("2606:4700::1111", true),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fc00::1", false),
            ("ff02::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("::127.0.0.1", false),
            ("2002:7f00:1::", false),
            ("64:ff9b::a9fe:a9fe", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_public(text.parse().unwrap()), public, "{text}");
        }
    }

    #[test]
    fn urls() {
        for (text, private, fine) in [
            ("https://hooks.example.com/x?y=z", false, true),
            ("http://hooks.example.com/", false, false),
            ("https://127.0.0.1/", false, false),
            ("https://0x7f.1/", false, false),
            ("https://2130706433/", false, false),
            ("https://[::ffff:10.0.0.1]/", false, false),
            ("http://127.0.0.1:9/", true, true),
            ("ftp://example.com/", true, false),
            ("https://u:p@example.com/", false, false),
            ("nonsense", false, false),
        ] {
            assert_eq!(url(text, private).is_ok(), fine, "{text}");
        }
        let e = url("http://secret.example.com/T000/B000", false).unwrap_err().to_string();
        assert!(!e.contains("T000"), "the URL may be a secret: {e}");
    }

    #[tokio::test]
    async fn a_name_of_this_host_is_not_resolved() {
        let resolved = PublicOnly.resolve("localhost".parse().unwrap()).await;
        let e = resolved.map(|a| a.count()).unwrap_err().to_string();
        assert!(e.contains("own network"), "{e}");
    }
}
