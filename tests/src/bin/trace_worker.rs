//! A fleet process for the test of traces: the real runner, with the telemetry that the product has.
//!
//! `trace_worker REDIS_URL GRAPH_ORIGIN`; `trace_worker REDIS_URL api` serves the API instead, on a port that it prints. Exports where the `OTEL_*` variables say; SIGTERM ends it gracefully.

use std::sync::Arc;

use anyhow::Context;
use trueup_boot::shutdown::Shutdown;
use trueup_boot::telemetry::{self, Format, TelemetryConfig};
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::SystemClock;
use trueup_runner::WorkConfig;
use trueup_tests::fleet::world_graph::{TENANT, connection, secrets};
use trueup_workflows::Settings;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let _telemetry = telemetry::init(&TelemetryConfig {
        format: Format::Human,
        service_name: "trueup-worker".into(),
        level: "info".parse()?,
        instance: format!("trace-worker-{}", std::process::id()),
    })?;
    let mut args = std::env::args().skip(1);
    let (redis, origin) = (args.next().context("no REDIS_URL")?, args.next().context("no GRAPH_ORIGIN")?);
    let clock = Arc::new(SystemClock);
    let store = Arc::new(RedisStore::connect(RedisOptions::new(redis, clock.clone())).await?);
    if origin == "api" {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let shutdown = Shutdown::on_signal()?;
        let router = trueup_server::router(trueup_server::ApiState::new(store, clock));
        let ended =
            axum::serve(listener, router).with_graceful_shutdown(async move { shutdown.requested().await });
        return Ok(ended.await?);
    }
    let config = WorkConfig {
        connections: vec![connection(TENANT, &origin)?],
        // A look soon after the action, and a tick that finds it.
        settings: Settings { verify_after_s: 1, tick_s: 1, ..Settings::default() },
        ..WorkConfig::default()
    };
    let shutdown = Shutdown::on_signal()?;
    let fleet = config.start_with(store, clock, &secrets()).await?;
    let stop = fleet.stop_switch();
    tokio::spawn(async move {
        shutdown.requested().await;
        stop.stop();
    });
    Ok(fleet.run().await?)
}
