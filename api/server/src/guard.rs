//! Requests that a web page could have made a browser send.
//!
//! # Guarantees
//! - A page of another origin (scheme, host and port) is refused by its `Origin`, and by `Sec-Fetch-Site` where a browser sends
//!   that. Following a link to a page of ours is all that another site can make a browser do.
//! - Where the API serves without authentication, a name that an attacker's DNS points to 127.0.0.1 ("DNS rebinding") is
//!   refused by its `Host`. Where everybody proves who they are, such a page has nothing to prove it with.
//! - Over a connection, HTTP/1.1 says exactly one `Host`: no proxy before us can have read another one.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, Request, StatusCode, Version, header};

use crate::Problem;
use crate::serve::Arrived;

/// Whether the host part of `Host` is this host.
fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Host and port that an authority names, if it is one.
fn place(authority: &str, scheme: &str) -> Option<(String, u16)> {
    let read: Authority = authority.parse().ok().filter(|_| !authority.contains('@'))?;
    let host = read.host().to_ascii_lowercase();
    // One host, whichever of its names a page was opened by.
    let host = if matches!(host.as_str(), "127.0.0.1" | "[::1]") { "localhost".to_owned() } else { host };
    let port = match (read.port_u16(), scheme) {
        (Some(port), _) => port,
        (None, "https") => 443,
        (None, _) => 80,
    };
    Some((host, port))
}

/// Whether a page of this origin came from where the request goes to.
fn is_ours(origin: &str, host: Option<&str>, open: bool, tls: bool) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let fits = match scheme {
        "https" => tls || !open,
        // With authentication, and without TLS here, a proxy before us may speak it or not.
        "http" => !tls,
        _ => false,
    };
    let from = place(authority, scheme);
    fits && from.is_some() && from == host.and_then(|host| place(host, scheme))
}

/// Whether somebody followed a link to one of our pages.
fn opens_a_page<B>(request: &Request<B>) -> bool {
    let is = |name: &str, value: &str| {
        request.headers().get(name).is_some_and(|v| v.as_bytes() == value.as_bytes())
    };
    request.method() == Method::GET
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
        && !request.uri().path().starts_with("/v1/")
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).into_iter().map(|v| v.to_str().unwrap_or("(not text)"))
}

/// Refuses what a foreign page could have made a browser send. `open`: who proves nothing is let in. `tls`: only encrypted
/// connections are answered.
pub(crate) fn check<B>(request: &Request<B>, open: bool, tls: bool) -> Result<(), Problem> {
    let headers = request.headers();
    let refuse =
        |name: &str, title: &str, what: &str| Err(Problem::new(StatusCode::FORBIDDEN, name, title, what));
    let mut hosts = all(headers, header::HOST.as_str());
    let (first, second) = (hosts.next(), hosts.next());
    let arrived = request.extensions().get::<Arrived>().is_some();
    if second.is_some() || arrived && first.is_none() && request.version() == Version::HTTP_11 {
        return Err(Problem::unreadable(
            "HTTP/1.1 needs exactly one Host header; name the server that is asked in one",
        ));
    }
    // HTTP/2 has the host in the URI.
    let host = first.or_else(|| request.uri().authority().map(|a| a.as_str()));
    if open && host.is_some_and(|host| !is_local(host)) {
        return refuse(
            "not-local",
            "Only local requests",
            "the Host header does not name this host: without authentication, only programs on this host are answered; use \
             http://127.0.0.1 or http://localhost, or start with `serve --require-authentication`",
        );
    }
    let sites: Vec<&str> = all(headers, "sec-fetch-site").collect();
    let elsewhere = sites.iter().any(|site| !matches!(*site, "same-origin" | "none"));
    // What the browser itself says is not fooled by a proxy that changes the Host.
    let same = !sites.is_empty() && sites.iter().all(|site| *site == "same-origin");
    let foreign = elsewhere && !opens_a_page(request)
        || !same && !all(headers, header::ORIGIN.as_str()).all(|origin| is_ours(origin, host, open, tls));
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
mod tests;
