//! `trueup serve`: the API as a process of its own.

use std::net::SocketAddr;

use trueup_server::ApiState;

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::open;

const EXAMPLES: &str = "\
Examples:
  trueup serve
  trueup serve --redis-url redis://127.0.0.1:6379 --listen 127.0.0.1:7171
  TRUEUP_REDIS_URL=redis+unix:///run/redis.sock trueup serve

This version has no authentication, so it serves on loopback addresses only.";

/// Serve the API on this host
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The Redis that holds the state
    #[arg(long, env = "TRUEUP_REDIS_URL", hide_env_values = true, default_value = "redis://127.0.0.1:6379", value_name = "URL")]
    redis_url: String,
    /// Address and port; 0 takes a free one
    #[arg(long, env = "TRUEUP_LISTEN", default_value = "127.0.0.1:7171", value_name = "ADDRESS")]
    listen: SocketAddr,
    #[command(flatten)]
    log: crate::telemetry::LogArgs,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        trueup_server::loopback_only(self.listen).map_err(|why| Failure::usage(why).at("--listen or TRUEUP_LISTEN"))?;
        let _telemetry = self.log.init("trueup-api")?;
        let opened = open::open_store(&self.redis_url, None, None).await?;
        for warning in &opened.warnings {
            cx.note(&format!("warning: {warning}"));
        }
        let listener = tokio::net::TcpListener::bind(self.listen).await.map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot listen: {e}"))
                .at(self.listen.to_string())
                .advise("see what listens there already (`ss -ltnp`), or take another port with --listen")
        })?;
        let shutdown = trueup_boot::shutdown::Shutdown::on_signal()
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot listen to signals: {e}")))?;
        if let Ok(addr) = listener.local_addr() {
            cx.note(&format!("serving on http://{addr}"));
        }
        let state = ApiState::new(opened.store, opened.clock).with_warnings(opened.warnings);
        let ended = trueup_server::serve(listener, state, async move { shutdown.requested().await }).await;
        ended.map_err(|e| Failure::new(Exit::Failed, format!("serving ended: {e}")).at(self.listen.to_string()))?;
        Ok(Exit::Done)
    }
}
