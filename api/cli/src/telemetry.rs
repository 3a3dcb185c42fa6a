//! Logs and traces of the commands that run processes.

use tracing::Level;
use trueup_boot::telemetry::{Format, Guard, TelemetryConfig};

use crate::failure::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Form of the log lines on stderr: human or json
    #[arg(long, env = "TRUEUP_LOG_FORMAT", default_value = "human", value_name = "FORM")]
    log_format: Format,
}

impl LogArgs {
    /// As [`LogArgs::init`], but only errors are logged unless `RUST_LOG` says otherwise: the command has a story to tell.
    pub(crate) fn init_quiet(&self, service: &str) -> Result<Guard, Failure> {
        self.init_at(service, Level::ERROR)
    }

    /// Keep what it gives until the end of the command.
    pub(crate) fn init(&self, service: &str) -> Result<Guard, Failure> {
        self.init_at(service, Level::INFO)
    }

    fn init_at(&self, service: &str, level: Level) -> Result<Guard, Failure> {
        let config = TelemetryConfig {
            level,
            format: self.log_format,
            service_name: service.to_owned(),
            instance: format!("{service}-{}", std::process::id()),
        };
        trueup_boot::telemetry::init(&config).map_err(|e| Failure::new(Exit::Failed, e.to_string()))
    }
}
