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

fn asked(method: Method, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Headers; whether they are fine without authentication, and with it.
#[test]
fn foreign_pages_are_refused() {
    let (local, away) = (("host", "localhost:7171"), ("host", "trueup.example"));
    let table = [
        (vec![], true, true),
        (vec![local], true, true),
        (vec![("host", "rebind.example")], false, true),
        // Another port is another origin, and so is another scheme.
        (vec![local, ("origin", "http://localhost:3000")], false, false),
        (vec![local, ("origin", "http://localhost")], false, false),
        (vec![local, ("origin", "https://localhost:7171")], false, true),
        (vec![local, ("origin", "http://localhost:7171")], true, true),
        (vec![local, ("origin", "http://127.0.0.1:7171")], true, true),
        (vec![local, ("origin", "http://[::1]:7171")], true, true),
        (vec![("host", "[::1]:7171"), ("origin", "http://LOCALHOST:7171")], true, true),
        (vec![local, ("origin", "http://127.0.0.2:7171")], false, false),
        (vec![local, ("origin", "http://localhost:7171@evil.example")], false, false),
        (vec![local, ("origin", "http://evil@localhost:7171")], false, false),
        (vec![local, ("origin", "file://localhost:7171")], false, false),
        (vec![local, ("origin", "http://localhost:7171"), ("origin", "http://evil.example")], false, false),
        (vec![("host", "localhost"), ("origin", "http://localhost:80")], true, true),
        (vec![local, ("origin", "http://localhost:7171"), ("sec-fetch-site", "same-site")], false, false),
        (vec![local, ("sec-fetch-site", "same-site")], false, false),
        (vec![away, ("origin", "https://trueup.example")], false, true),
        (vec![away, ("origin", "https://trueup.example:8443")], false, false),
        (vec![("host", "inside:7171"), ("origin", "https://trueup.example")], false, false),
        (
            vec![("host", "inside:7171"), ("origin", "https://a.example"), ("sec-fetch-site", "same-origin")],
            false,
            true,
        ),
        (vec![("origin", "https://evil.example")], false, false),
        (vec![("origin", "http://localhost:7171")], false, false),
        (vec![("origin", "null")], false, false),
        (vec![("sec-fetch-site", "cross-site")], false, false),
        (vec![("sec-fetch-site", "same-origin")], true, true),
        (vec![("sec-fetch-site", "none")], true, true),
        (vec![("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")], false, false),
    ];
    for (headers, open, closed) in table {
        let request = asked(Method::POST, "/v1/queues/notify/pause", &headers);
        assert_eq!(check(&request, true, false).is_ok(), open, "open: {headers:?}");
        assert_eq!(check(&request, false, false).is_ok(), closed, "closed: {headers:?}");
    }
    for (origin, fine) in [("https://trueup.example", true), ("http://trueup.example", false)] {
        let request = asked(Method::POST, "/v1/intents", &[away, ("origin", origin)]);
        assert_eq!(check(&request, false, true).is_ok(), fine, "over TLS: {origin}");
    }
}

#[test]
fn another_site_can_only_link_to_pages() {
    let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let frame = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
    let image = [("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    for (method, path, how, fine) in [
        (Method::GET, "/docs", link, true),
        (Method::GET, "/board", link, true),
        (Method::GET, "/docs", frame, false),
        (Method::GET, "/docs", image, false),
        (Method::GET, "/v1/intents", link, false),
        (Method::POST, "/docs", link, false),
    ] {
        for site in ["same-site", "cross-site"] {
            let headers = [("host", "localhost:7171"), ("sec-fetch-site", site), how[0], how[1]];
            for (open, tls) in [(true, false), (false, false), (false, true)] {
                let request = asked(method.clone(), path, &headers);
                assert_eq!(check(&request, open, tls).is_ok(), fine, "{method} {path} {headers:?}");
            }
        }
    }
}

#[test]
fn a_host_is_said_once() {
    let two = [("host", "localhost"), ("host", "localhost")];
    for (version, headers, fine) in [
        (Version::HTTP_11, &two[..1], true),
        (Version::HTTP_11, &two[..0], false),
        (Version::HTTP_10, &two[..0], true),
        (Version::HTTP_2, &two[..0], true),
        (Version::HTTP_11, &two[..], false),
        (Version::HTTP_10, &two[..], false),
    ] {
        let mut request = asked(Method::GET, "/healthz", headers);
        *request.version_mut() = version;
        request.extensions_mut().insert(Arrived { tls: false });
        let checked = check(&request, true, false);
        assert_eq!(checked.is_ok(), fine, "{version:?} {headers:?}");
        assert!(checked.is_err_and(|problem| problem.status == 400) != fine);
    }
}
