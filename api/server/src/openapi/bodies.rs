//! Bodies that are not simply a type of ours.

use trueup_model::intent::Manifest;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

/// One manifest, or many.
pub(crate) struct OneOrMany;

impl PartialSchema for OneOrMany {
    fn schema() -> RefOr<Schema> {
        let one = || Ref::from_schema_name(Manifest::name());
        let many = ArrayBuilder::new().items(one()).min_items(Some(1)).max_items(Some(20_000)).build();
        Schema::from(OneOfBuilder::new().item(one()).item(many).build()).into()
    }
}

impl ToSchema for OneOrMany {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((Manifest::name().into(), Manifest::schema()));
        Manifest::schemas(schemas);
    }
}

/// The fields of a manifest that are to be changed.
pub(crate) struct ManifestPart;

impl PartialSchema for ManifestPart {
    fn schema() -> RefOr<Schema> {
        let part = ObjectBuilder::new()
            .description(Some("Any fields of a manifest. In a merge patch, null removes a field."))
            .examples([serde_json::json!({"desired": {"version": "127.0"}})]);
        Schema::Object(part.build()).into()
    }
}

impl ToSchema for ManifestPart {}
