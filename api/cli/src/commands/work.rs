//! `trueup work`: one process of the worker fleet.

use std::path::PathBuf;

use trueup_boot::config::ENV_PREFIX;
use trueup_boot::shutdown::Shutdown;
use trueup_model::PlaneKind;
use trueup_runner::WorkConfig;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::open;

const EXAMPLES: &str = "\
Examples:
  trueup work --config fleet.yaml
  trueup work --redis-url redis://127.0.0.1:6379 --planes ansible
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 trueup work --config fleet.yaml --log-format json

Start as many as you like, on as many hosts: they share the queues of one Redis. SIGTERM ends it gracefully.";

/// Work: drain the queues, as one process of a fleet
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Connections, policy and limits (YAML)
    #[arg(long, value_name = "FILE", env = "TRUEUP_CONFIG")]
    config: Option<PathBuf>,
    /// The Redis that holds the state; wins over the configuration
    #[arg(long, env = "TRUEUP_REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<String>,
    /// Serve only these planes; wins over the configuration
    #[arg(long, value_delimiter = ',', value_name = "PLANE,…")]
    planes: Option<Vec<PlaneKind>>,
    #[command(flatten)]
    log: crate::telemetry::LogArgs,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let _telemetry = self.log.init("trueup-worker")?;
        let mut config: WorkConfig = trueup_boot::config::load(self.config.as_deref(), ENV_PREFIX)
            .map_err(|e| Failure::usage(e.to_string()).at("the workers' configuration"))?;
        config.planes = self.planes.or(config.planes);
        let url = self.redis_url.or_else(|| config.redis_url.clone()).unwrap_or_else(|| "redis://127.0.0.1:6379".into());
        let opened = open::open_store(&url, config.partitions, Some(1)).await?;
        for warning in &opened.warnings {
            cx.note(&format!("warning: {warning}"));
        }
        let shutdown =
            Shutdown::on_signal().map_err(|e| Failure::new(Exit::Failed, format!("cannot listen to signals: {e}")))?;
        let failed = |e: trueup_runner::FleetError| Failure::new(Exit::Failed, e.to_string());
        let fleet = config.start(opened.store, opened.clock).await.map_err(failed)?;
        let stop = fleet.stop_switch();
        tokio::spawn(async move {
            shutdown.requested().await;
            stop.stop();
        });
        fleet.run().await.map_err(failed)?;
        Ok(Exit::Done)
    }
}
