//! The configuration of a worker process, and what is made of it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use trueup_engine::{Archive, Store};
use trueup_model::{Ladder, PlaneKind, SharedClock};
use trueup_planes::channels::{ChannelConfig, Channels};
use trueup_planes::{Broker, ConnectionConfig, HostSecrets, Planes, Secrets};
use trueup_workflows::{Chain, Policy, Rules, Settings};

use crate::broker::FleetBroker;
use crate::fleet::{Fleet, FleetError};
use crate::options::{Options, Slots};

/// `trueup work --config FILE`. Every key can be left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkConfig {
    /// The Redis that holds the state. Default `redis://127.0.0.1:6379`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis_url: Option<String>,
    /// Partitions to create at the very first start: 16 for a fleet. Default: what is there, or 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u16>,
    /// One per tenant and plane.
    pub connections: Vec<ConnectionConfig>,
    /// A policy file (TOML). Default: the shipped policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// Timing and limits of the chain.
    pub settings: Settings,
    /// Who is told what. Default: the log, of what ends in people's hands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notifications: Option<Vec<ChannelConfig>>,
    /// Jobs worked on at the same time.
    pub slots: Slots,
    /// The planes this process serves. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planes: Option<Vec<PlaneKind>>,
    /// The folder to which events move from Redis: on one host of the fleet, or shared by several. Default: none, events
    /// stay in Redis.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<PathBuf>,
}

impl WorkConfig {
    fn channels(&self) -> Vec<ChannelConfig> {
        self.notifications.clone().unwrap_or_else(|| vec![ChannelConfig::log()])
    }

    fn chain(&self) -> Result<Chain, FleetError> {
        let policy = match &self.policy {
            None => Policy::default(),
            Some(path) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path).map_err(|e| {
                    FleetError::Config(format!("policy: cannot read {shown}: {e}; check the path"))
                })?;
                Policy::parse(&text).map_err(|e| FleetError::Config(format!("{shown}:{e}")))?
            }
        };
        Ok(Chain::new(Rules {
            settings: self.settings.clone(),
            policy,
            ladder: Ladder::default(),
            routes: self.channels().iter().map(ChannelConfig::route).collect(),
        }))
    }

    /// Starts this process's share of the fleet on an open store, with secrets from this host.
    pub async fn start(&self, store: Arc<dyn Store>, clock: SharedClock) -> Result<Fleet, FleetError> {
        self.start_with(store, clock, &HostSecrets).await
    }

    /// As [`WorkConfig::start`], with secrets from elsewhere.
    pub async fn start_with(
        &self,
        store: Arc<dyn Store>,
        clock: SharedClock,
        secrets: &dyn Secrets,
    ) -> Result<Fleet, FleetError> {
        let chain = self.chain()?;
        let broker = FleetBroker::start(store.clone(), clock.clone(), &self.connections);
        let broker: Arc<dyn Broker> = Arc::new(broker);
        let planes = Planes::connect(&self.connections, &clock, secrets, &broker)
            .map_err(|e| FleetError::Config(e.to_string()))?;
        let channels =
            Channels::open(&self.channels(), secrets).map_err(|e| FleetError::Config(e.to_string()))?;
        let archive = match &self.archive {
            Some(dir) => Some(Archive::open(dir).map_err(|e| FleetError::Config(e.to_string()))?),
            None => {
                tracing::warn!(
                    "no archive: all events stay in Redis, whose memory grows with them; set `archive: FOLDER` in the \
                     configuration of the workers of one host"
                );
                None
            }
        };
        let options = Options {
            slots: self.slots.clone(),
            planes: self.planes.clone().unwrap_or_else(|| PlaneKind::ALL.to_vec()),
            ..Options::default()
        };
        let mut fleet = Fleet::start(store.clone(), planes, channels, chain, clock, options).await?;
        if let Some(archive) = archive {
            fleet.archive(archive, store);
        }
        Ok(fleet)
    }
}
