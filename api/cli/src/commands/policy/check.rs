//! `trueup policy check`.

use std::path::Path;

use serde_json::json;
use trueup_model::Time;
use trueup_runner::policy::check::check;

use crate::args::Output;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::Tone;
use crate::text::{clean, count};

pub(super) fn run(cx: &Context, file: &Path, now: Time) -> Result<Exit, Failure> {
    let checked = check(&super::text(file)?, now).map_err(|flaws| super::wrong(file, &flaws))?;
    let (shown, version) = (super::shown(file), checked.policy.digest());
    match cx.output {
        Output::Json => {
            let warnings: Vec<_> = (checked.warnings.iter())
                .map(|w| json!({"line": w.place.line, "column": w.place.column, "what": w.what}))
                .collect();
            cx.write_json(&json!({
                "file": shown, "version": version, "cases": checked.cases.len(), "warnings": warnings,
            }));
        }
        Output::Name => cx.write_names([version.as_str()]),
        Output::Table => {
            for warning in &checked.warnings {
                let label = Tone::Warn.paint("warning:", cx.colour);
                cx.write(&format!("{label} {}\n", clean(&format!("{shown}:{warning}"))));
            }
            let warnings = count(checked.warnings.len(), "warning");
            cx.write(&format!("{} is sound: {warnings}, version {version}\n", clean(&shown)));
            if !checked.cases.is_empty() {
                let cases = count(checked.cases.len(), "case");
                cx.note(&format!("it has {cases}: `trueup policy test {shown}`"));
            }
        }
    }
    Ok(Exit::Done)
}
