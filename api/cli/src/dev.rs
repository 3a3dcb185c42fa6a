//! A whole Trueup in one process: private Redis, simulated planes, API and workers. What `dev` and `demo` run.
//!
//! # Guarantees
//! Everything it starts ends with it. A second start on the same directory goes on where the first stopped, time
//! included.

mod clock;
mod planes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;
use trueup_boot::embedded;
use trueup_boot::shutdown::Shutdown;
use trueup_engine::{RedisOptions, RedisStore, Stop, Store};
use trueup_model::SharedClock;
use trueup_runner::{FleetError, WorkConfig};
use trueup_server::ApiState;

use crate::failure::{Exit, Failure};
use planes::Simulated;

pub(crate) use clock::{Speed, keep as keep_clock};
pub(crate) use planes::{PLANES, Simulators, TENANTS};

/// What to run.
#[derive(Debug)]
pub(crate) struct DevOptions {
    /// Everything that must survive is below it.
    pub(crate) dir: PathBuf,
    pub(crate) listen: SocketAddr,
    /// `None`: as it was, or real time.
    pub(crate) speed: Option<Speed>,
    /// The user's own connections and settings; simulated tenants are added.
    pub(crate) config: WorkConfig,
    /// Applications of each simulated tenant on each plane.
    pub(crate) apps: usize,
}

/// It runs.
pub(crate) struct Dev {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: SharedClock,
    pub(crate) simulators: Simulators,
    /// Of the API.
    pub(crate) url: String,
    /// Of Redis, for `trueup work` beside it.
    pub(crate) redis_url: String,
    redis: embedded::Redis,
    stop: Stop,
    fleet: JoinHandle<Result<(), FleetError>>,
    servers: Vec<JoinHandle<std::io::Result<()>>>,
    ending: Shutdown,
    keeper: JoinHandle<()>,
}

fn failed(what: &str) -> impl Fn(&dyn std::fmt::Display) -> Failure + '_ {
    move |e| Failure::new(Exit::Failed, format!("{what}: {e}"))
}

impl Dev {
    pub(crate) async fn start(options: DevOptions) -> Result<Self, Failure> {
        let api = tokio::net::TcpListener::bind(options.listen).await.map_err(|e| {
            failed("cannot listen")(&e)
                .at(options.listen.to_string())
                .advise("is another `trueup dev` running? Take another port with --listen 127.0.0.1:0")
        })?;
        let redis = embedded::Redis::start(&options.dir.join("redis"), embedded::Options::default())
            .await
            .map_err(|e| failed("cannot start the private Redis")(&e))?;
        let redis_url = redis.url();
        let (clock, speed) = clock::open(&redis_url, options.speed).await?;
        let store: Arc<dyn Store> = Arc::new(
            RedisStore::connect(RedisOptions::new(&redis_url, clock.clone()))
                .await
                .map_err(|e| failed("cannot open the store")(&e))?,
        );

        let ending = Shutdown::new();
        let Simulated { simulators, mut servers, config, secrets } =
            planes::simulate(&options, &clock, speed, &ending).await?;
        let archive = config.archive.clone().unwrap_or_else(|| options.dir.join("archive"));
        let config = WorkConfig { archive: Some(archive), ..config };
        let fleet = config
            .start_with(store.clone(), clock.clone(), &secrets)
            .await
            .map_err(|e| failed("cannot start the workers")(&e))?;
        let stop = fleet.stop_switch();
        let fleet = tokio::spawn(fleet.run());

        let address = api.local_addr().map_err(|e| failed("cannot listen")(&e))?;
        let warnings = store.preflight().await.map(|p| p.warnings).unwrap_or_default();
        let state = ApiState::new(store.clone(), clock.clone()).with_warnings(warnings);
        let end = ending.clone();
        servers.push(tokio::spawn(trueup_server::serve(api, state, async move { end.requested().await })));
        let keeper = tokio::spawn(keep_clock(redis_url.clone(), clock.clone()));
        Ok(Self {
            store,
            clock,
            simulators,
            url: format!("http://{address}"),
            redis_url,
            redis,
            stop,
            fleet,
            servers,
            ending,
            keeper,
        })
    }

    /// Works until `shutdown`; an end of the workers by themselves is an error.
    pub(crate) async fn run_until(&mut self, shutdown: &Shutdown) -> Result<(), Failure> {
        let mut looks = tokio::time::interval(std::time::Duration::from_secs(1));
        let redis = &mut self.redis;
        let redis_ended = async {
            while redis.is_running() {
                looks.tick().await;
            }
        };
        tokio::select! {
            () = shutdown.requested() => Ok(()),
            () = redis_ended => Err(Failure::new(Exit::Failed, "the private Redis ended by itself")
                .advise("its log is redis.log in the redis folder; start again, nothing that was committed is lost")),
            ended = &mut self.fleet => Err(match ended {
                Ok(Err(e)) => failed("the workers ended")(&e),
                Ok(Ok(())) => Failure::new(Exit::Failed, "the workers ended by themselves"),
                Err(e) => failed("the workers ended")(&e),
            }),
        }
    }

    /// Stops everything, in the order in which nothing is lost.
    pub(crate) async fn end(mut self) -> Result<(), Failure> {
        self.stop.stop();
        let ended = if self.fleet.is_finished() { None } else { Some((&mut self.fleet).await) };
        self.ending.request();
        for server in self.servers {
            // A client that keeps its connection open must not keep us.
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), server).await;
        }
        self.keeper.abort();
        clock::save(&self.redis_url, &self.clock).await?;
        drop(self.store);
        self.redis.stop().await;
        match ended {
            Some(Ok(Err(e))) => Err(failed("the workers did not stop cleanly")(&e)),
            Some(Err(e)) => Err(failed("the workers did not stop cleanly")(&e)),
            _ => Ok(()),
        }
    }
}
