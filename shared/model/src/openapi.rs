//! Schemas of what stands on the wire as text, or as another type than it is here.

use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::target::{AnsibleTarget, ConfigMgrTarget, IntuneTarget, JamfTarget};
use crate::{IntentKey, TraceParent};

/// What a manifest's `target` can be; which of them, its `plane` says.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AnyTarget {
    Intune(IntuneTarget),
    Jamf(JamfTarget),
    ConfigMgr(ConfigMgrTarget),
    Ansible(AnsibleTarget),
}

fn text(pattern: &str, description: &str, example: &str) -> RefOr<Schema> {
    let object = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
    Schema::Object(object.description(Some(description)).examples([example]).build()).into()
}

impl PartialSchema for IntentKey {
    fn schema() -> RefOr<Schema> {
        text("^[^/]+/.+$", "An intent's full name: TENANT/ID.", "acme/firefox")
    }
}
impl ToSchema for IntentKey {}

impl PartialSchema for TraceParent {
    fn schema() -> RefOr<Schema> {
        let example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        text("^[^\\r\\n]*$", "W3C `traceparent`.", example)
    }
}
impl ToSchema for TraceParent {}
