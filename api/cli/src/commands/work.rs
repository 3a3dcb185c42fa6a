//! `trueup work`: one process of the worker fleet.

use std::net::SocketAddr;
use std::path::PathBuf;

use trueup_boot::config::ENV_PREFIX;
use trueup_boot::shutdown::Shutdown;
use trueup_model::PlaneKind;
use tokio::net::TcpListener;
use trueup_runner::WorkConfig;
use trueup_server::identity::{Identity, Policies};
use trueup_server::{ApiState, Serving, Tls, TlsFiles};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::open;

const EXAMPLES: &str = "\
Examples:
  trueup work --config fleet.yaml
  trueup work --redis-url redis://127.0.0.1:6379 --planes ansible
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 trueup work --config fleet.yaml --log-format json
  trueup work --config fleet.yaml --metrics-listen 127.0.0.1:9464

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
    /// Serve this process' metrics (Prometheus text) at http://ADDRESS/metrics; port 0 takes a free one
    #[arg(long, env = "TRUEUP_METRICS_LISTEN", value_name = "ADDRESS")]
    metrics_listen: Option<SocketAddr>,
    /// Certificate with its chain (PEM) for the metrics, where other hosts read them; they send an API key
    #[arg(long, env = "TRUEUP_METRICS_TLS_CERT", value_name = "FILE", requires_all = ["metrics_listen", "metrics_tls_key"])]
    metrics_tls_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, env = "TRUEUP_METRICS_TLS_KEY", value_name = "FILE", requires = "metrics_tls_cert")]
    metrics_tls_key: Option<PathBuf>,
    /// Let other hosts read the metrics without TLS: a proxy before this process speaks it
    #[arg(long, env = "TRUEUP_METRICS_PLAIN_HTTP", requires = "metrics_listen", conflicts_with = "metrics_tls_cert")]
    metrics_plain_http: bool,
    #[command(flatten)]
    log: crate::telemetry::LogArgs,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        let _telemetry = self.log.init("trueup-worker")?;
        let metrics = match self.metrics_listen {
            Some(addr) => Some(self.metrics(addr, cx).await?),
            None => None,
        };
        let mut config: WorkConfig = trueup_boot::config::load(self.config.as_deref(), ENV_PREFIX)
            .map_err(|e| Failure::usage(e.to_string()).at("the workers' configuration"))?;
        config.planes = self.planes.or(config.planes);
        let url = self
            .redis_url
            .or_else(|| config.redis_url.clone())
            .unwrap_or_else(|| "redis://127.0.0.1:6379".into());
        let opened = open::open_store(&url, config.partitions, Some(1)).await?;
        for warning in &opened.warnings {
            cx.note(&format!("warning: {warning}"));
        }
        let shutdown = Shutdown::on_signal()
            .map_err(|e| Failure::new(Exit::Failed, format!("cannot listen to signals: {e}")))?;
        let failed = |e: trueup_runner::FleetError| Failure::new(Exit::Failed, e.to_string());
        let mut state = ApiState::new(opened.store.clone(), opened.clock.clone());
        if self.metrics_listen.is_some_and(|addr| !addr.ip().to_canonical().is_loopback()) {
            state = state.with_identity(Identity::required(Policies::shipped()));
        }
        let fleet = config.start(opened.store, opened.clock).await.map_err(failed)?;
        let stop = fleet.stop_switch();
        let metrics = metrics.map(|(listener, serving)| {
            let shutdown = shutdown.clone();
            let until = async move { shutdown.requested().await };
            tokio::spawn(trueup_server::serve_metrics(listener, state, serving, until))
        });
        tokio::spawn(async move {
            shutdown.requested().await;
            stop.stop();
        });
        let ended = fleet.run().await.map_err(failed);
        // A scraper that keeps its connection open must not keep us.
        metrics.iter().for_each(tokio::task::JoinHandle::abort);
        ended.map(|()| Exit::Done)
    }

    /// Takes the address before anything begins, so that a wrong one is told at once.
    async fn metrics(&self, addr: SocketAddr, cx: &Context) -> Result<(TcpListener, Serving), Failure> {
        let place = "--metrics-listen or TRUEUP_METRICS_LISTEN";
        let tls = match (&self.metrics_tls_cert, &self.metrics_tls_key) {
            (Some(certificate), Some(key)) => {
                let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
                let place = "--metrics-tls-cert, --metrics-tls-key";
                Some(Tls::load(files).map_err(|why| Failure::usage(why).at(place))?)
            }
            _ => None,
        };
        let local = addr.ip().to_canonical().is_loopback();
        if !local && tls.is_none() && !self.metrics_plain_http {
            let port = addr.port();
            return Err(Failure::usage(format!(
                "{addr} can be reached from other hosts, and the keys that scrapers send would go there unencrypted"
            ))
            .at(place)
            .advise(format!(
                "add --metrics-tls-cert and --metrics-tls-key, or --metrics-plain-http if a proxy before it speaks TLS; or \
                 listen on 127.0.0.1:{port}"
            )));
        }
        let listener = TcpListener::bind(addr).await.map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot listen: {e}")).at(addr.to_string()).advise(
                "see what listens there already (`ss -ltnp`), or take another port with --metrics-listen",
            )
        })?;
        if let Ok(addr) = listener.local_addr() {
            let scheme = if tls.is_some() { "https" } else { "http" };
            cx.note(&format!("metrics on {scheme}://{addr}/metrics"));
            if !local {
                cx.note("a scraper sends a key of `trueup key create --grant '*:viewer'` as its bearer token");
            }
        }
        Ok((listener, Serving { tls, plain_http: self.metrics_plain_http, ..Serving::default() }))
    }
}
