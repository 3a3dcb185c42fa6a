//! Who may ask, while there is no authentication: somebody on this host, not a web page in their browser.
//!
//! # Guarantees
//! - A name that an attacker's DNS points to 127.0.0.1 ("DNS rebinding") is refused by its `Host`.
//! - A page of another origin is refused by its `Origin`, or by `Sec-Fetch-Site` where a browser sends that.

use axum::http::{HeaderMap, StatusCode, header};

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

/// Refuses what a foreign page could have made a browser send.
pub(crate) fn check(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: header::HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or("(not text)"));
    let refuse = |what: &str| {
        let detail = format!(
            "{what}: this version has no authentication and answers only to programs on this host; \
             use http://127.0.0.1 or http://localhost"
        );
        Err(Problem::new(StatusCode::FORBIDDEN, "not-local", "Only local requests", detail))
    };
    if text(header::HOST).is_some_and(|host| !is_local(host)) {
        return refuse("the Host header does not name this host");
    }
    if let Some(origin) = text(header::ORIGIN) {
        let authority = origin.split_once("://").map_or("", |(_, rest)| rest);
        if !is_local(authority) {
            return refuse("the request comes from a page of another origin");
        }
    }
    if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
        return refuse("the request comes from a page of another site");
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

    #[test]
    fn foreign_pages_are_refused() {
        let table = [
            (vec![], true),
            (vec![("host", "localhost:7171")], true),
            (vec![("host", "rebind.example")], false),
            (vec![("origin", "http://localhost:3000")], true),
            (vec![("origin", "https://evil.example")], false),
            (vec![("origin", "null")], false),
            (vec![("sec-fetch-site", "cross-site")], false),
            (vec![("sec-fetch-site", "same-origin")], true),
        ];
        for (headers, fine) in table {
            let mut map = HeaderMap::new();
            for (name, value) in &headers {
                map.insert(*name, value.parse().unwrap());
            }
            assert_eq!(check(&map).is_ok(), fine, "{headers:?}");
        }
    }
}
