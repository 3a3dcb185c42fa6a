//! `trueup`: the one binary. It parses, runs one command, and says how it ended.
//!
//! # Guarantees
//! - stdout carries the result and nothing else; messages go to stderr.
//! - An error says what, where and what to do, with the correlation id; the exit status is documented in `--help`.
//! - Text that came from outside is shown without control characters.
//!
//! To add a command: one file in `commands/`, one line in `commands/mod.rs`.

mod args;
mod client;
mod commands;
mod context;
mod demo;
mod dev;
mod failure;
mod manifests;
mod open;
mod profiles;
mod reach;
mod table;
mod telemetry;
mod text;
mod views;

use std::process::ExitCode;

use clap::FromArgMatches as _;

#[tokio::main]
async fn main() -> ExitCode {
    // Whoever speaks TLS in this process uses this one; it is the first to be installed, so it cannot fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(
                if e.use_stderr() { failure::Exit::Usage } else { failure::Exit::Done } as u8
            );
        }
    };
    let args = match args::Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(failure::Exit::Usage as u8);
        }
    };
    let ended = match context::Context::new(&args.global, &args.command) {
        Ok(cx) => args.command.run(&cx).await.and_then(|exit| cx.written().map(|()| exit)),
        Err(failure) => Err(failure),
    };
    match ended {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            failure.report();
            ExitCode::from(failure.exit as u8)
        }
    }
}
