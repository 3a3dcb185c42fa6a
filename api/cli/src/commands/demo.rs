//! `trueup demo`: a sample fleet that breaks and heals while you watch.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use trueup_boot::shutdown::Shutdown;

use crate::context::Context;
use crate::demo::{self, DemoOptions};
use crate::dev::Speed;
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  trueup demo
  trueup demo --once
  trueup demo --clock 3600x --listen 127.0.0.1:0

600 intents of three simulated tenants, each with Intune, Jamf Pro and Configuration Manager, and a real folder on this
host under a real Ansible playbook. Once all is true, some of it is broken; the rest is Trueup's. Data goes below --dir and
is removed by the next demo.";

/// Run a sample fleet, break it, and watch it heal
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// End with the verdict as JSON, and status 0 only if the fleet ended as expected
    #[arg(long)]
    once: bool,
    /// How fast time runs
    #[arg(long, default_value = "720x", value_name = "SPEED")]
    clock: Speed,
    /// Where data is kept
    #[arg(long, default_value = ".trueup/demo", value_name = "DIR")]
    dir: PathBuf,
    /// Address and port of the API; 0 takes a free one
    #[arg(long, env = "TRUEUP_LISTEN", default_value = "127.0.0.1:7171", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Minutes (real ones) after which an unfinished demo has failed
    #[arg(long, default_value_t = 8, value_name = "N")]
    within_minutes: u64,
    #[command(flatten)]
    log: crate::telemetry::LogArgs,
}

impl Args {
    pub(crate) async fn run(self, cx: &Context) -> Result<Exit, Failure> {
        trueup_server::loopback_only(self.listen).map_err(|why| Failure::usage(why).at("--listen or TRUEUP_LISTEN"))?;
        let _telemetry = self.log.init_quiet("trueup-demo")?;
        let shutdown =
            Shutdown::on_signal().map_err(|e| Failure::new(Exit::Failed, format!("cannot listen to signals: {e}")))?;
        let options = DemoOptions {
            dir: self.dir,
            listen: self.listen,
            speed: self.clock,
            within: Duration::from_secs(self.within_minutes * 60),
        };
        let (mut dev, summary) = demo::run(options, &shutdown, &|line| cx.note(line)).await?;
        let json = serde_json::to_value(&summary).map_err(|e| Failure::new(Exit::Failed, e.to_string()))?;
        cx.write_json(&json);
        demo::table(&summary.planes).render(false).lines().for_each(|line| cx.note(line));
        let exit = if summary.as_expected { Exit::Done } else { Exit::Failed };
        if !summary.as_expected {
            cx.note("not as expected:");
            summary.missing.iter().for_each(|what| cx.note(&format!("  {what}")));
        }
        if !self.once {
            cx.note("the fleet goes on; look around, then ctrl-c:");
            for what in ["get findings --open", "get approvals", "causes", "planes", "blast ls", "queue ls"] {
                cx.note(&format!("  trueup --url {} {what}", dev.url));
            }
            let ran = dev.run_until(&shutdown).await;
            dev.end().await?;
            return ran.map(|()| exit);
        }
        dev.end().await?;
        Ok(exit)
    }
}
