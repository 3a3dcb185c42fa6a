//! `trueup policy`: look at a policy file before it decides anything.

mod archive;
mod check;
mod replay;
mod test;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use trueup_model::{Clock as _, SystemClock, Time};
use trueup_runner::policy::{Flaws, MAX_BYTES};

use crate::context::Context;
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  trueup policy show > policy.toml                the shipped policy, to start from
  trueup policy check policy.toml                 is it sound, and is there anything odd about it
  trueup policy test policy.toml                  does it decide its table of cases as expected
  trueup policy replay policy.toml --since 30d    what it would have decided otherwise so far
  trueup policy replay policy.toml --archive /var/lib/trueup/archive --output json";

/// Check, test and replay a policy file, or show the shipped one
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Is the file sound; exit status 1 if not. Warnings (a rule that can never match, a lease that is over) are listed
    Check {
        /// A policy (TOML); - is stdin
        file: PathBuf,
        /// As of this time, like 2026-01-06T00:00:00Z [default: now]
        #[arg(long, value_name = "TIME")]
        at: Option<Time>,
    },
    /// Try its cases: [[case]] in the file, in NAME.cases.toml beside it, and in --cases; exit status 5 if one fails
    Test {
        /// A policy (TOML); - is stdin
        file: PathBuf,
        /// More cases (TOML)
        #[arg(long, value_name = "FILE")]
        cases: Vec<PathBuf>,
    },
    /// The shipped policy, with its comments
    Show,
    /// Decide recorded drift again, each case at its recorded time, and show which decisions would change
    Replay(replay::Args),
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        match self.what {
            What::Check { file, at } => check::run(cx, &file, at.unwrap_or_else(|| SystemClock.now())),
            What::Test { file, cases } => test::run(cx, &file, &cases),
            What::Show => {
                cx.write(trueup_runner::DEFAULT_POLICY);
                Ok(Exit::Done)
            }
            What::Replay(args) => args.run(cx).await,
        }
    }
}

/// The text of a file, no longer than a policy may be.
fn text(file: &Path) -> Result<String, Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot read the policy: {e}"))
            .at(shown(file))
            .advise("check the path")
    };
    let mut bytes = Vec::new();
    // One more than allowed, so that what is too long is told apart.
    let most = MAX_BYTES as u64 + 1;
    if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        std::fs::File::open(file).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Failure::new(Exit::Failed, format!("the policy is no UTF-8 text (byte {at})")).at(shown(file))
    })
}

/// As places in a file begin.
fn shown(file: &Path) -> String {
    if file == Path::new("-") { "stdin".into() } else { file.display().to_string() }
}

/// Everything that is wrong with a file, each with its place.
fn wrong(file: &Path, flaws: &Flaws) -> Failure {
    let count = crate::text::count(flaws.list().len(), "mistake");
    let mut failure = Failure::new(Exit::Failed, format!("the policy has {count}, so it is not used"));
    for flaw in flaws.list() {
        failure = failure.at(format!("{}:{flaw}", shown(file)));
    }
    failure
        .advise("mend each, then check again; `trueup policy show` is the shipped policy with all there is")
}
