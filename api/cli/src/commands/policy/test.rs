//! `trueup policy test`.

use std::path::{Path, PathBuf};

use serde_json::json;
use trueup_runner::policy::Policy;
use trueup_runner::policy::check::{self, Expected, Tried};

use crate::args::Output;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::table::{Table, Tone, cell};
use crate::text::count;

pub(super) fn run(cx: &Context, file: &Path, more: &[PathBuf]) -> Result<Exit, Failure> {
    let text = super::text(file)?;
    let policy = Policy::parse(&text).map_err(|flaws| super::wrong(file, &flaws))?;
    let mut tried = attempt(&policy, file, &check::cases_in(&text));
    let beside = file.with_extension("cases.toml");
    let beside = (file != Path::new("-") && beside.is_file()).then_some(beside);
    for file in beside.iter().chain(more) {
        let cases = check::cases(&super::text(file)?).map_err(|flaws| super::wrong(file, &flaws))?;
        tried.extend(attempt(&policy, file, &cases));
    }
    if tried.is_empty() {
        let what = "there is no case to try";
        return Err(Failure::new(Exit::Failed, what)
            .at(super::shown(file))
            .advise("write some as [[case]]; `trueup policy show` has an example at its end"));
    }
    let failed = tried.iter().filter(|(_, t)| !t.differences.is_empty()).count();
    match cx.output {
        Output::Json => {
            let cases: Vec<_> = (tried.iter())
                .map(|(place, t)| {
                    json!({
                        "case": t.name, "place": place, "passed": t.differences.is_empty(), "got": t.got,
                        "differences": t.differences,
                    })
                })
                .collect();
            cx.write_json(&json!({"cases": cases, "failed": failed, "version": policy.digest()}));
        }
        Output::Name => {
            cx.write_names(
                tried.iter().filter(|(_, t)| !t.differences.is_empty()).map(|(_, t)| t.name.as_str()),
            );
        }
        Output::Table => {
            let mut table = Table::new(&["CASE", "RESULT", "DECIDED", "DIFFERENCE", "WHERE"]);
            for (place, t) in &tried {
                let passed = t.differences.is_empty();
                table.row([
                    t.name.as_str().into(),
                    if passed { cell("pass", Tone::Good) } else { cell("FAIL", Tone::Bad) },
                    t.got.verdict().into(),
                    t.differences.join("; ").into(),
                    place.as_str().into(),
                ]);
            }
            cx.write(&table.render(cx.colour));
            cx.note(&format!("{failed} of {} failed", count(tried.len(), "case")));
        }
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Unwell })
}

/// Each case's place, and what came of it.
fn attempt(policy: &Policy, file: &Path, cases: &[Expected]) -> Vec<(String, Tried)> {
    let place = |case: &Expected| format!("{}:{}", super::shown(file), case.place.line);
    cases.iter().map(|case| (place(case), case.run(policy))).collect()
}
