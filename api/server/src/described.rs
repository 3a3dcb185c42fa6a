//! Parameters that several routes have, as the OpenAPI document describes them. `params` and `routes::name` enforce the same.
#![expect(dead_code, reason = "the fields are read by the macro alone")]

use trueup_model::IntentKey;
use utoipa::IntoParams;

/// Which part of a list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Most items of one answer.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<usize>,
    /// `next` of the answer before. Leave it out for the first page.
    #[param(pattern = "^[0-9]{1,18}:[!-~]{0,256}$", example = "0:acme/firefox")]
    cursor: Option<String>,
}

/// Only what is of one tenant.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfTenant {
    /// Only what is of this tenant.
    #[param(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$")]
    tenant: Option<String>,
}

/// Only what is about one intent.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfIntent {
    /// Only what is about this intent: TENANT/ID.
    #[param(value_type = Option<String>, pattern = "^[a-z0-9][a-z0-9._-]{0,127}/[a-z0-9][a-z0-9._-]{0,127}$", example = "acme/firefox")]
    intent: Option<IntentKey>,
}

/// An intent, in the path.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct IntentPath {
    #[param(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$", example = "acme")]
    tenant: String,
    #[param(pattern = "^[a-z0-9][a-z0-9._-]{0,127}$", example = "firefox")]
    id: String,
}

/// How manifests are written.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Writing {
    /// Who writes. The fields written belong to them from then on.
    #[param(pattern = "^[A-Za-z0-9_.@/:-]{1,64}$", example = "release-pipeline")]
    field_manager: Option<String>,
    /// Takes fields that belong to others.
    #[param(default = false)]
    force: Option<bool>,
    /// Stores nothing, and answers with what would change.
    #[param(default = false)]
    dry_run: Option<bool>,
}
