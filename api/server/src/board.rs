//! apalis's own board at `/board`, over our queues: `trueup serve --apalis-board`.
//!
//! # Guarantees
//! - It only shows. Only `GET` is routed to it, and behind that is [`trueup_engine::expose`], which takes no jobs.
//! - It stands behind the same authentication as the rest, and needs the permission to read the fleet. A browser is asked for an
//!   API key as a password.
//! - Its files are in this binary; the page loads nothing from elsewhere.
//!
//! # What is done to it
//! The page that `apalis-board-api` carries is built for the root of a host and for `/api/v1`, both fixed when its WebAssembly was
//! compiled. Its JavaScript, through which everything it does with paths passes, is served with [`adapted`] paths, so that it
//! lives below `/board`. A test fails if another version of it is not adapted in all places.

use std::sync::Arc;

use apalis_board_api::framework::{ApiBuilder, RegisterRoute as _};
use apalis_board_api::ui::ServeUI;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::get;
use tower::ServiceExt as _;
use trueup_engine::expose::Exposed;
use trueup_model::Queue;

use crate::{ApiState, Problem};

/// `on`: a path of the board as the browser shall see it. `off`: the other way round. `Answers` stands where the board listens to
/// the logs of its process, which we do not show: it says that the system is unhealthy when the queues cannot be read.
const PATHS: &str = "const on = (p) => p.startsWith('/') && p !== '/board' && !p.startsWith('/board/') ? '/board' + p : p;\n\
    const off = (p) => p === '/board' || p === '/board/' ? '/' : p.startsWith('/board/') ? p.slice(6) : p;\n\
    class Answers extends EventTarget {\n\
      constructor() { super(); this.readyState = 1; this.timer = setInterval(() => this.ask(), 10000); this.ask(); }\n\
      async ask() {\n\
        try { if ((await fetch('/board/api/v1/overview')).ok) return; } catch { /* said below */ }\n\
        this.close();\n\
        this.dispatchEvent(new Event('error'));\n\
      }\n\
      close() { clearInterval(this.timer); this.readyState = 2; }\n\
    }\n";

/// What is replaced, by what, and how often it stands there.
const REPLACED: [(&str, &str, usize); 6] = [
    ("const ret = arg1.pathname;", "const ret = off(arg1.pathname);", 2),
    (
        "arg4 === 0 ? undefined : getStringFromWasm0(arg4, arg5))",
        "arg4 === 0 ? undefined : on(getStringFromWasm0(arg4, arg5)))",
        2,
    ),
    ("new Request(getStringFromWasm0(arg0, arg1)", "new Request(on(getStringFromWasm0(arg0, arg1))", 2),
    ("new EventSource(getStringFromWasm0(arg0, arg1), arg2)", "new Answers()", 1),
    ("arg0.href = getStringFromWasm0(arg1, arg2)", "arg0.href = on(getStringFromWasm0(arg1, arg2))", 1),
    (
        "arg0.setAttribute(getStringFromWasm0(arg1, arg2), getStringFromWasm0(arg3, arg4))",
        "{ const name = getStringFromWasm0(arg1, arg2), value = getStringFromWasm0(arg3, arg4); \
         arg0.setAttribute(name, name === 'href' ? on(value) : value) }",
        1,
    ),
];

/// The script with paths below `/board`, or what in it is not as it was.
fn adapted(script: &str) -> Result<String, String> {
    let mut text = format!("{PATHS}{script}");
    for (old, new, times) in REPLACED {
        let found = text.matches(old).count();
        if found != times {
            return Err(format!("'{old}' stands {found} times in the board's script, expected {times}"));
        }
        text = text.replace(old, new);
    }
    Ok(text)
}

/// The board's own files, by what its page names.
struct Page {
    script: &'static str,
    wasm: &'static str,
    style: &'static str,
    class: &'static str,
}

fn page() -> Option<Page> {
    let html = ServeUI::get_file("index.html")?.contents_utf8()?;
    let named = |end: &str| html.split(['"', '\'']).find(|t| t.starts_with('/') && t.ends_with(end));
    let class = html.split_once("<body class=\"").and_then(|(_, rest)| rest.split_once('"'));
    Some(Page { script: named(".js")?, wasm: named(".wasm")?, style: named(".css")?, class: class?.0 })
}

fn embedded(name: &'static str) -> Body {
    ServeUI::get_file(name).map_or_else(Body::empty, |file| Body::from(file.contents()))
}

/// What is served, made once.
struct Board {
    api: Router,
    html: String,
    start: String,
    script: String,
    names: Page,
}

impl Board {
    fn new(state: &ApiState) -> Result<Self, String> {
        let names = page().ok_or("the board has no page that we know")?;
        let script = ServeUI::get_file(names.script).and_then(|f| f.contents_utf8()).unwrap_or_default();
        let Page { script: js, wasm, style, class } = &names;
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Queues</title>\
             <link rel=\"stylesheet\" href=\"/board{style}\"><script type=\"module\" src=\"/board/start.js\"></script></head>\
             <body class=\"{class}\"></body></html>\n"
        );
        let start = format!(
            "import init, * as bindings from '/board{js}';\n\
             window.wasmBindings = bindings;\nawait init({{ module_or_path: '/board{wasm}' }});\n"
        );
        let mut api = ApiBuilder::new(Router::new());
        for queue in Queue::all().into_iter().rev() {
            let exposed = Exposed::new(state.store.clone(), state.clock.clone(), queue);
            api = api.register(&queue.to_string(), exposed);
        }
        Ok(Self { api: api.build(), html, start, script: adapted(script)?, names })
    }

    /// What stands at a path below `/board`; the page, where nothing does, since it finds its way itself.
    fn file(&self, path: &str) -> Response {
        let (kind, body) = match path {
            "/start.js" => ("text/javascript", Body::from(self.start.clone())),
            _ if path == self.names.script => ("text/javascript", Body::from(self.script.clone())),
            _ if path == self.names.style => ("text/css", embedded(self.names.style)),
            _ if path == self.names.wasm => ("application/wasm", embedded(self.names.wasm)),
            _ => ("text/html; charset=utf-8", Body::from(self.html.clone())),
        };
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    async fn ask(&self, path: &str, query: Option<&str>) -> Result<Response, Problem> {
        let path = format!("/{path}{}", query.map(|q| format!("?{q}")).unwrap_or_default());
        let uri: Uri = path.parse().map_err(|_| Problem::not_found("page of the board", &path))?;
        let request = Request::get(uri).body(Body::empty());
        let request = request.map_err(|_| Problem::not_found("page of the board", &path))?;
        let response = match self.api.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        if status.is_server_error() {
            let bytes = axum::body::to_bytes(response.into_body(), 16 * 1024).await.unwrap_or_default();
            tracing::warn!(said = %bytes.escape_ascii(), "the board got no answer");
            let detail = "the queues could not be read; see `trueup doctor`, and ask again after the time in Retry-After";
            let unavailable = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Problem::new(unavailable, "store-unavailable", "The store is not available", detail));
        }
        if status.is_client_error() {
            return Err(Problem::not_found("page of the board", &path));
        }
        Ok(response)
    }
}

/// The board's routes; without a board that we can adapt, none, and a line in the log that says why.
pub(crate) fn routes(state: &ApiState) -> Router<ApiState> {
    let board = match Board::new(state) {
        Ok(board) => Arc::new(board),
        Err(why) => {
            tracing::error!("no board: {why}");
            return Router::new();
        }
    };
    let home = board.clone();
    let below = move |Path(path): Path<String>, uri: Uri| {
        let board = board.clone();
        async move {
            match path.strip_prefix("api/v1/") {
                Some(asked) => board.ask(asked, uri.query()).await,
                None => Ok(board.file(&format!("/{path}"))),
            }
        }
    };
    Router::new()
        .route("/board", get(move || std::future::ready(home.file("/"))))
        .route("/board/{*rest}", get(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_board_of_this_version_can_be_adapted() {
        let names = page().unwrap();
        let script = ServeUI::get_file(names.script).unwrap().contents_utf8().unwrap();
        let adapted = adapted(script).unwrap();
        assert!(adapted.starts_with("const on"));
        assert!(!adapted.contains("const ret = arg1.pathname;"));
        assert!(super::adapted("another script").is_err());
        for file in [names.wasm, names.style] {
            assert!(ServeUI::get_file(file).is_some(), "{file}");
        }
    }
}
