//! A method of `Client` for each operation, named by its `operationId`.

use std::error::Error;

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use serde_json::Value;

use crate::types::{BY_HAND, OF_THE_MODEL};

const METHODS: &[&str] = &["get", "put", "post", "delete", "patch"];

pub(crate) fn of(document: &Value) -> Result<TokenStream, Box<dyn Error>> {
    let (mut methods, mut parameters) = (Vec::new(), Vec::new());
    for (path, item) in document["paths"].as_object().ok_or("the document has no paths")? {
        for verb in METHODS {
            let Some(operation) = item.get(verb) else { continue };
            let operation = Operation::read(verb, path, operation)?;
            methods.push(operation.method());
            parameters.extend(operation.parameters());
        }
    }
    Ok(quote! {
        #(#parameters)*
        impl Client { #(#methods)* }
    })
}

/// A parameter of the query or a header; those of the path are arguments.
struct Parameter {
    name: String,
    about: String,
    kind: TokenStream,
    header: bool,
}

impl Parameter {
    fn field(&self) -> Ident {
        match self.name.as_str() {
            "type" => format_ident!("kind"),
            name => format_ident!("{}", name.to_lowercase().replace('-', "_")),
        }
    }
}

enum Answer {
    Json(TokenStream),
    Text,
    Stream,
}

struct Operation<'a> {
    id: String,
    about: String,
    verb: &'a str,
    path: &'a str,
    optional: Vec<Parameter>,
    /// The body's type, and whether it may be left out; the media type where it is not plain JSON.
    body: Option<(TokenStream, bool, Option<String>)>,
    answer: Answer,
}

/// The type of what `schema` refers to; any JSON where it is written on the spot.
fn type_of(schema: &Value) -> TokenStream {
    let of_null = |s: &Value| s["type"] == "null";
    let alternatives = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    let schema = alternatives.iter().find(|s| !of_null(s)).unwrap_or(schema);
    let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) else {
        return quote!(serde_json::Value);
    };
    // As typify writes names.
    let ident = format_ident!("{}", name.replace('_', ""));
    match name {
        _ if BY_HAND.contains(&name) => quote!(crate::#ident),
        _ if OF_THE_MODEL.contains(&name) => quote!(trueup_model::#ident),
        _ => quote!(crate::types::#ident),
    }
}

impl<'a> Operation<'a> {
    fn read(verb: &'a str, path: &'a str, operation: &Value) -> Result<Self, Box<dyn Error>> {
        let id =
            operation["operationId"].as_str().ok_or_else(|| format!("{verb} {path} has no operationId"))?;
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let about = match (text(&operation["summary"]), text(&operation["description"])) {
            (summary, more) if more.is_empty() => summary,
            (summary, more) => format!("{summary}\n\n{more}"),
        };
        let all = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let optional = all.iter().filter(|p| p["in"] != "path").map(|p| Parameter {
            name: text(&p["name"]),
            about: text(&p["description"]),
            kind: scalar(&p["schema"]),
            header: p["in"] == "header",
        });
        let body = operation.get("requestBody").map(|body| {
            let (media, content) = body["content"]
                .as_object()
                .and_then(|all| {
                    all.iter().find(|(media, _)| media.ends_with("json") && !media.ends_with("ndjson"))
                })
                .ok_or_else(|| format!("{id} takes no JSON"))?;
            let schema = &content["schema"];
            let optional = schema["oneOf"].as_array().is_some_and(|s| s.iter().any(|s| s["type"] == "null"))
                || body["required"] == false;
            let media = (media != "application/json").then(|| media.clone());
            Ok::<_, String>((type_of(schema), optional, media))
        });
        let answers = operation["responses"].as_object().ok_or_else(|| format!("{id} has no answers"))?;
        let (_, done) = answers
            .iter()
            .find(|(status, _)| status.starts_with('2'))
            .ok_or_else(|| format!("{id} never ends well"))?;
        let answer = match done["content"].as_object().and_then(|all| all.iter().next()) {
            Some((media, content)) if media == "application/json" => {
                Answer::Json(type_of(&content["schema"]))
            }
            Some((media, _)) if media == "text/event-stream" => Answer::Stream,
            _ => Answer::Text,
        };
        Ok(Self {
            id: id.to_owned(),
            about,
            verb,
            path,
            optional: optional.collect(),
            body: body.transpose()?,
            answer,
        })
    }

    /// `ListIntents`, for what may be given to `list_intents`.
    fn parameters_name(&self) -> Ident {
        let words = self.id.split('_').map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_uppercase() + rest
        });
        format_ident!("{}", words.collect::<String>())
    }

    fn parameters(&self) -> Option<TokenStream> {
        if self.optional.is_empty() {
            return None;
        }
        let name = self.parameters_name();
        let about = format!("What may be given to [`Client::{}`].", self.id);
        let fields = self.optional.iter().map(|p| {
            let (field, kind, about) = (p.field(), &p.kind, &p.about);
            let about = if about.is_empty() { format!("`{}`", p.name) } else { about.clone() };
            quote! { #[doc = #about] pub #field: Option<#kind>, }
        });
        let pairs = |header: bool| {
            let of = self.optional.iter().filter(move |p| p.header == header).map(|p| {
                let (field, name) = (p.field(), &p.name);
                quote! { self.#field.as_ref().map(|value| (#name, value.to_string())) }
            });
            let of: Vec<_> = of.collect();
            let many = of.len();
            quote! {
                let all: [Option<(&'static str, String)>; #many] = [#(#of),*];
                all.into_iter().flatten().collect()
            }
        };
        let (query, headers) = (pairs(false), pairs(true));
        Some(quote! {
            #[doc = #about]
            #[derive(Debug, Clone, Default, PartialEq)]
            pub struct #name { #(#fields)* }

            impl #name {
                fn query(&self) -> Vec<(&'static str, String)> { #query }
                fn headers(&self) -> Vec<(&'static str, String)> { #headers }
            }
        })
    }

    fn method(&self) -> TokenStream {
        let (id, about) = (format_ident!("{}", self.id), &self.about);
        let verb = format_ident!("{}", self.verb.to_uppercase());
        let (mut segments, mut arguments) = (Vec::new(), Vec::new());
        for segment in self.path.split('/').skip(1) {
            match segment.strip_prefix('{').and_then(|s| s.strip_suffix('}')) {
                None => segments.push(quote!(#segment)),
                Some(name) => {
                    let name = format_ident!("{name}");
                    arguments.push(quote!(#name: &str));
                    segments.push(quote!(#name));
                }
            }
        }
        let mut request = quote!(self.request(reqwest::Method::#verb, &[#(#segments),*]));
        if let Some((body, optional, media)) = &self.body {
            if *optional {
                arguments.push(quote!(body: Option<&#body>));
                request = quote!(#request.optional_json(body));
            } else {
                arguments.push(quote!(body: &#body));
                request = quote!(#request.json(body));
            }
            if let Some(media) = media {
                request = quote!(#request.media_type(#media));
            }
        }
        if !self.optional.is_empty() {
            let name = self.parameters_name();
            arguments.push(quote!(with: &#name));
            request = quote!(#request.query(with.query()).headers(with.headers()));
        }
        let (answer, end) = match &self.answer {
            Answer::Json(kind) => (quote!(crate::Answer<#kind>), quote!(send().await)),
            Answer::Text => (quote!(crate::Answer<String>), quote!(text().await)),
            Answer::Stream => (quote!(crate::EventStream), quote!(stream().await)),
        };
        quote! {
            #[doc = #about]
            pub async fn #id(&self, #(#arguments),*) -> Result<#answer, crate::Error> { #request.#end }
        }
    }
}

/// The type of a parameter.
fn scalar(schema: &Value) -> TokenStream {
    let is = |name: &str| match &schema["type"] {
        Value::String(kind) => kind == name,
        Value::Array(kinds) => kinds.iter().any(|k| k == name),
        _ => false,
    };
    match () {
        () if is("integer") => quote!(u64),
        () if is("boolean") => quote!(bool),
        () => quote!(String),
    }
}
