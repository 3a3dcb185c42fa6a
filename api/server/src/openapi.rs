//! The OpenAPI 3.1 document: what is common to all routes. The rest stands beside each handler (`#[utoipa::path]`).
//!
//! # Guarantees
//! Every operation names all statuses it can end with; every one from 400 on is a problem document, and every answer
//! carries the correlation id.

mod bodies;

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ArrayItems, ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr,
    Required, Response,
};
use utoipa::{PartialSchema as _, ToSchema as _};
use utoipa_axum::router::OpenApiRouter;

pub(crate) use bodies::{ManifestPart, OneOrMany};

use crate::{ApiState, CORRELATION_HEADER, Problem, TIME_HEADER, idempotency, problem};

/// What each tag is about, in the order in which the reference page shows them.
const TAGS: [(&str, &str); 12] = [
    ("intents", "What was meant: manifests, and the state that is kept beside them"),
    ("reconciliations", "Asking for a look now, and waiting for it"),
    ("runs", "Looks at intents, and what followed from them"),
    ("findings", "Drift, now and over time, and what caused it"),
    ("approvals", "What waits for people"),
    ("events", "What happened"),
    ("blast-radius", "Switches that stop remediation when it would be too much at once"),
    ("planes", "Connections, their budgets and who waits for them"),
    ("queues", "Queues and jobs"),
    ("workers", "Who drains the queues"),
    ("identity", "Who may do what"),
    ("health", "Whether it is well, and counts"),
];

const ABOUT: &str = "Keeps what is running true to what was meant.\n\n\
    Every answer carries `x-correlation-id`: send your own (at most 64 letters, digits, `-` and `_`) to link a request with \
    everything that it causes. Every error is a problem document (RFC 9457) that says what to do. Times are UTC, RFC 3339. \
    Lists are pages: pass `next` of one answer as `cursor` of the next request. A parameter that is unknown, empty or given \
    twice is refused.";

/// Statuses from 400 on, and when an operation ends so.
const COMMON: [(u16, &str); 5] = [
    (400, "The request cannot be read, or a parameter is wrong"),
    (401, "Who asks is not known: send `Authorization: Bearer …`"),
    (403, "Who asks may not; the detail names the missing permission"),
    (500, "A bug, or the store refused for good; the detail says what to do"),
    (503, "The store is away or too slow; ask again after `Retry-After`"),
];
const WITH_BODY: [(u16, &str); 3] = [
    (413, "The body is too large"),
    (415, "The body's media type is not one of those named here"),
    (422, "The body can be read, and is not valid; `errors` names the fields"),
];
const REPEATED: [(u16, &str); 2] = [
    (409, "It cannot be done now, or a request with this idempotency key is being answered"),
    (422, "The idempotency key was used for another request"),
];
const WITH_NAME: (u16, &str) = (404, "There is no such thing, or not for who asks");

/// A router whose document knows who we are and how one is let in.
pub(crate) fn described() -> OpenApiRouter<ApiState> {
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let licence = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    let info = InfoBuilder::new()
        .title("Trueup")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(ABOUT))
        .license(Some(licence))
        .build();
    let tags = TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    let base = OpenApiBuilder::new()
        .info(info)
        .tags(Some(tags))
        .components(Some(ComponentsBuilder::new().security_scheme("bearer", bearer).build()))
        // A key or token; nothing where the API serves this host alone.
        .security(Some([
            SecurityRequirement::new("bearer", Vec::<String>::new()),
            SecurityRequirement::default(),
        ]))
        .build();
    OpenApiRouter::with_openapi(base)
}

/// Adds to every operation what all have in common.
pub(crate) fn completed(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_default();
    let mut schemas = vec![("Problem".to_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    name_items(&mut components.schemas);
    for (path, item) in &mut document.paths.paths {
        if let Some(post) = &mut item.post
            && !idempotency::SECRET.contains(&path.as_str())
        {
            asks_once(post);
        }
        for operation in operations(item) {
            complete(operation, path);
        }
    }
    document
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// utoipa writes the items of `Page<T>` on the spot; they have a name.
fn name_items(schemas: &mut std::collections::BTreeMap<String, RefOr<Schema>>) {
    let known: Vec<String> = schemas.keys().cloned().collect();
    for (name, page) in schemas {
        let Some(of) = name.strip_prefix("Page_").filter(|of| known.iter().any(|k| k == of)) else {
            continue;
        };
        if let RefOr::T(Schema::Object(page)) = page
            && let Some(RefOr::T(Schema::Array(items))) = page.properties.get_mut("items")
        {
            items.items = ArrayItems::RefOrSchema(Box::new(Ref::from_schema_name(of).into()));
        }
    }
}

/// Every POST may carry an `Idempotency-Key`, but those whose answers nobody may keep (`idempotency`).
fn asks_once(post: &mut Operation) {
    let parameters = post.parameters.get_or_insert_default();
    if !parameters.iter().any(|p| matches!(p, RefOr::T(p) if p.name == "Idempotency-Key")) {
        let key =
            ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[!#-\\[\\]-~]{1,255}$")).build();
        let parameter = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some("The same key asks once"))
            .schema(Some(key))
            .build();
        parameters.push(parameter.into());
    }
    for (status, when) in REPEATED {
        post.responses.responses.entry(status.to_string()).or_insert_with(|| Response::new(when).into());
    }
}

fn complete(operation: &mut Operation, path: &str) {
    let mut may_end = COMMON.to_vec();
    if operation.request_body.is_some() {
        may_end.extend(WITH_BODY);
    }
    if path.contains('{') {
        may_end.push(WITH_NAME);
    }
    let responses = &mut operation.responses.responses;
    for (status, when) in may_end {
        responses.entry(status.to_string()).or_insert_with(|| Response::new(when).into());
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        if status.as_bytes()[0] >= b'4' && response.content.is_empty() {
            let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
            response.content.insert(problem::CONTENT_TYPE.into(), body.into());
        }
        if status == "503" {
            with_header(response, "Retry-After", Type::Integer, "Seconds after which to ask again");
        }
        with_header(response, CORRELATION_HEADER, Type::String, "Links the request with all it caused");
        with_header(response, TIME_HEADER, Type::String, "The time by the clock that decisions use");
    }
}

fn with_header(response: &mut Response, name: &str, kind: Type, about: &str) {
    let header = HeaderBuilder::new()
        .schema(Some(ObjectBuilder::new().schema_type(kind).build()))
        .description(Some(about))
        .build();
    response.headers.entry(name.to_owned()).or_insert(header.into());
}
