//! `trueup dev`: everything in one process, on this host.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use trueup_boot::config::ENV_PREFIX;
use trueup_boot::shutdown::Shutdown;
use trueup_model::PlaneKind;

use crate::context::Context;
use crate::dev::{Dev, DevOptions, PLANES, Speed, TENANTS};
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  trueup dev
  trueup dev --clock 720x
  trueup dev --dir /tmp/try --listen 127.0.0.1:0 --config fleet.yaml

Starts a private Redis (redis-server or valkey-server must be installed), the simulated tenants contoso, fabrikam and
tailspin, each with Intune, Jamf Pro and Configuration Manager, the API and the workers; ends them all on ctrl-c. State is kept below --dir: the next
start goes on where this one stopped. The simulated tenants begin anew.";

/// Run everything on this host: Redis, simulated planes, API, workers
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where state is kept
    #[arg(long, default_value = ".trueup", value_name = "DIR")]
    dir: PathBuf,
    /// Address and port of the API; 0 takes a free one
    #[arg(long, env = "TRUEUP_LISTEN", default_value = "127.0.0.1:7171", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// How fast time runs: 720x lives an hour in five seconds. Without it: as before, or real time
    #[arg(long, value_name = "SPEED")]
    clock: Option<Speed>,
    /// More connections, policy and limits (YAML), as for `trueup work`
    #[arg(long, value_name = "FILE", env = "TRUEUP_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    log: crate::telemetry::LogArgs,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        trueup_server::loopback_only(self.listen).map_err(|why| Failure::usage(why).at("--listen or TRUEUP_LISTEN"))?;
        let _telemetry = self.log.init("trueup-dev")?;
        let config = trueup_boot::config::load(self.config.as_deref(), ENV_PREFIX)
            .map_err(|e| Failure::usage(e.to_string()).at("--config"))?;
        let shutdown =
            Shutdown::on_signal().map_err(|e| Failure::new(Exit::Failed, format!("cannot listen to signals: {e}")))?;
        let samples = self.dir.join("samples");
        let options = DevOptions { dir: self.dir, listen: self.listen, speed: self.clock, config, apps: 200 };
        let mut dev = Dev::start(options).await?;
        write_samples(&samples)?;
        cx.note(&format!("API       {}   (everybody on this host may do everything)", dev.url));
        cx.note(&format!("Redis     {}", trueup_engine::shown(&dev.redis_url)));
        cx.note(&format!("tenants   {} (simulated), each with {}", TENANTS.join(", "), PLANES.map(PlaneKind::as_str).join(", ")));
        cx.note(&format!("Try       trueup --url {} apply -f {}", dev.url, samples.display()));
        cx.note(&format!("          trueup --url {} planes        ctrl-c stops everything", dev.url));
        let ran = dev.run_until(&shutdown).await;
        dev.end().await?;
        ran.map(|()| Exit::Done)
    }
}

/// One manifest for each simulated plane.
fn write_samples(dir: &Path) -> Result<(), Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write the samples: {e}")).at(dir.display().to_string())
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    for intent in crate::demo::samples() {
        let text = serde_json::to_string_pretty(&intent).map_err(|e| failed(e.into()))?;
        std::fs::write(dir.join(format!("{}.json", intent.plane())), text + "\n").map_err(failed)?;
    }
    Ok(())
}
