//! The API as a process of its own, for tests that kill it and for the bench: serves the Redis of `API_REDIS` on a free port of
//! loopback and says where on standard output. Ends when its standard input ends, so that it never outlives who started it.

use std::sync::Arc;

use anyhow::Context;
use trueup_engine::{RedisOptions, RedisStore};
use trueup_model::SystemClock;
use trueup_server::{ApiState, serve};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::ERROR)
        .init();
    let url = std::env::var("API_REDIS").context("API_REDIS is not set")?;
    let clock = Arc::new(SystemClock);
    let store = Arc::new(RedisStore::connect(RedisOptions::new(url, clock.clone())).await?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0)
    });
    Ok(serve(listener, ApiState::new(store, clock), std::future::pending()).await?)
}
