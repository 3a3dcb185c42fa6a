//! The commands. To add one: a file here with `pub(crate) struct Args` (its doc comment is its help) and
//! `Args::run(self, &Context)`, and one line below, in its group.

use clap::Subcommand;

use crate::args::Global;
use crate::context::Context;
use crate::failure::{Exit, Failure};

macro_rules! commands {
    ($($group:literal: { $($variant:ident = $module:ident),* $(,)? })*) => {
        $($(mod $module;)*)*

        #[derive(Debug, Subcommand)]
        pub(crate) enum Command {
            $($($variant($module::Args),)*)*
        }

        /// As the first page of help shows them.
        pub(crate) const GROUPS: &[(&str, &[&str])] = &[$(($group, &[$(stringify!($variant)),*])),*];

        impl Command {
            pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
                match self {
                    $($(Self::$variant(args) => args.run(cx).await,)*)*
                }
            }
        }
    };
}

commands! {
    "State": {
        Apply = apply,
        Get = get,
        Delete = delete,
    }
    "Drift": {
        Check = check,
        Reconcile = reconcile,
        Explain = explain,
        Policy = policy,
        Causes = causes,
    }
    "Operation": {
        Queue = queue,
        Worker = worker,
        Planes = planes,
        Blast = blast,
        Doctor = doctor,
    }
    "Access": {
        Login = login,
        Logout = logout,
        Profile = profile,
        Whoami = whoami,
        Key = key,
    }
    "Processes": {
        Demo = demo,
        Dev = dev,
        Work = work,
        Serve = serve,
    }
    "Shell": {
        Completion = completion,
        Man = man,
    }
}

impl Command {
    /// It makes or changes profiles, so it must run where the one that is named is missing.
    pub(crate) fn changes_profiles(&self) -> bool {
        matches!(self, Self::Login(_) | Self::Logout(_) | Self::Profile(_))
    }

    /// Whether it cannot do without what profiles say: it asks the API of one, or changes them.
    pub(crate) fn needs_profiles(&self, global: &Global) -> bool {
        match self {
            Self::Demo(_)
            | Self::Dev(_)
            | Self::Work(_)
            | Self::Serve(_)
            | Self::Completion(_)
            | Self::Man(_) => false,
            _ => self.changes_profiles() || global.url.is_none() || global.profile.is_some(),
        }
    }
}
