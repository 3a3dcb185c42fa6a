//! `trueup logout`: forget a profile and its key.

use crate::context::Context;
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  trueup logout
  trueup logout --profile ops

It forgets the key on this host. `trueup key revoke ID` makes it worthless everywhere.";

/// Forget a profile and its key
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let (mut profiles, name) = (cx.profiles.clone(), &cx.reach.profile);
        if profiles.profiles.remove(name).is_none() {
            return Err(Failure::new(Exit::NotFound, format!("there is no profile '{name}'"))
                .advise("`trueup profile ls` shows those that are"));
        }
        if profiles.current() == name {
            profiles.current = None;
        }
        profiles.store()?;
        cx.note(&format!(
            "profile {name} is forgotten; its key still opens the API until it is revoked or expires"
        ));
        Ok(Exit::Done)
    }
}
