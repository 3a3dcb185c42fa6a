//! Requests that a web page could have made a browser send.
//!
//! # Guarantees
//! - A page of another origin is refused by its `Origin`, or by `Sec-Fetch-Site` where a browser sends that.
//! - Where the API serves without authentication, a name that an attacker's DNS points to 127.0.0.1 ("DNS rebinding") is
//!   refused by its `Host`. Where everybody proves who they are, such a page has nothing to prove it with.

use axum::http::{HeaderMap, StatusCode, Uri, header};

use crate::Problem;

/// Whether the host part of `Host` or `Origin` is this host.
fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Refuses what a foreign page could have made a browser send. `open`: who proves nothing is let in.
pub(crate) fn check(headers: &HeaderMap, uri: &Uri, open: bool) -> Result<(), Problem> {
    let text = |name: header::HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or("(not text)"));
    let refuse =
        |name: &str, title: &str, what: &str| Err(Problem::new(StatusCode::FORBIDDEN, name, title, what));
    // HTTP/2 has the host in the URI.
    let host = text(header::HOST).or_else(|| uri.authority().map(|a| a.as_str()));
    if open && host.is_some_and(|host| !is_local(host)) {
        return refuse(
            "not-local",
            "Only local requests",
            "the Host header does not name this host: without authentication, only programs on this host are answered; use \
             http://127.0.0.1 or http://localhost, or start with `serve --require-authentication`",
        );
    }
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    let foreign = match (text(header::ORIGIN), site) {
        (_, Some(b"cross-site")) => true,
        // What the browser itself says is not fooled by a proxy that changes the Host.
        (_, Some(b"same-origin")) | (None, _) => false,
        (Some(origin), _) => {
            let authority = origin.split_once("://").map_or("", |(_, rest)| rest);
            let same = host.is_some_and(|host| host.eq_ignore_ascii_case(authority));
            !(same || open && is_local(authority))
        }
    };
    if foreign {
        return refuse(
            "foreign-origin",
            "From a page of another origin",
            "the request comes from a web page of another origin, which this API does not answer; call it from a program, or \
             from its own pages",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_host_is_local() {
        let table = [
            ("127.0.0.1:7171", true),
            ("127.9.9.9", true),
            ("localhost:7171", true),
            ("LOCALHOST", true),
            ("[::1]:7171", true),
            ("[::1]", true),
            ("evil.example:7171", false),
            ("localhost.evil.example", false),
            ("10.0.0.1:7171", false),
            ("[2001:db8::1]:7171", false),
            ("", false),
            ("null", false),
        ];
        for (authority, expected) in table {
            assert_eq!(is_local(authority), expected, "{authority}");
        }
    }

    /// Headers; whether they are fine without authentication, and with it.
    #[test]
    fn foreign_pages_are_refused() {
        let table = [
            (vec![], true, true),
            (vec![("host", "localhost:7171")], true, true),
            (vec![("host", "rebind.example")], false, true),
            (vec![("host", "localhost:7171"), ("origin", "http://localhost:3000")], true, false),
            (vec![("host", "trueup.example"), ("origin", "https://trueup.example")], false, true),
            (vec![("host", "inside:7171"), ("origin", "https://trueup.example")], false, false),
            (
                vec![
                    ("host", "inside:7171"),
                    ("origin", "https://a.example"),
                    ("sec-fetch-site", "same-origin"),
                ],
                false,
                true,
            ),
            (vec![("origin", "https://evil.example")], false, false),
            (vec![("origin", "null")], false, false),
            (vec![("sec-fetch-site", "cross-site")], false, false),
            (vec![("sec-fetch-site", "same-origin")], true, true),
            (vec![("sec-fetch-site", "none")], true, true),
        ];
        for (headers, open, closed) in table {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.insert(*name, value.parse().unwrap());
            }
            let uri = Uri::from_static("/v1/intents");
            assert_eq!(check(&map, &uri, true).is_ok(), open, "open: {headers:?}");
            assert_eq!(check(&map, &uri, false).is_ok(), closed, "closed: {headers:?}");
        }
    }
}
