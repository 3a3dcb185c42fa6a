//! Starting what brings devices into compliance: a script on each, or a client operation for all of them.
//!
//! # Guarantees
//! A script that was started on a device under an effect key is not started on it again under the same key by this
//! process. Acceptance is not success: the receipt names the operations, only a later observation tells.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use trueup_model::target::{ConfigMgrCompliance, ConfigMgrRemedy};
use trueup_model::{EffectKey, Fault, Receipt};

use super::parse::Operation;
use super::request;
use super::service::Service;

/// Devices of one action.
const MAX_DEVICES: usize = 200;
/// Effect keys remembered, at most.
const MAX_KEYS: usize = 256;

/// Where a script was started already, by effect key.
#[derive(Debug, Default)]
pub(crate) struct Begun(Mutex<HashMap<String, BTreeSet<u32>>>);

impl Begun {
    fn has(&self, key: &EffectKey, device: u32) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key.as_str()).is_some_and(|devices| devices.contains(&device))
    }

    fn note(&self, key: &EffectKey, device: u32) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_KEYS && !all.contains_key(key.as_str()) {
            all.clear();
        }
        all.entry(key.as_str().to_owned()).or_default().insert(device);
    }
}

pub(crate) async fn comply(
    service: &Service,
    begun: &Begun,
    meant: &ConfigMgrCompliance,
    devices: &[String],
    key: &EffectKey,
) -> Result<Receipt, Fault> {
    if devices.is_empty() {
        return Ok(Receipt { note: "no devices named, nothing started".into(), changed: false });
    }
    if devices.len() > MAX_DEVICES {
        return Err(Fault::permanent(format!(
            "{} devices in one action, at most {MAX_DEVICES}",
            devices.len()
        )));
    }
    let ids: Result<Vec<u32>, Fault> = devices
        .iter()
        .map(|d| d.parse().map_err(|_| Fault::bug(format!("'{}' is not a ResourceID", d.escape_default()))))
        .collect();
    let ids = ids?;
    match &meant.remedy {
        ConfigMgrRemedy::Script(guid) => run_script(service, begun, guid, &ids, key).await,
        ConfigMgrRemedy::ClientOperation { kind, collection } => {
            let request = request::client_operation(*kind, collection, &ids);
            let answer = service.send_once(&request, key).await?;
            let status = answer.status;
            let operation: Operation = service.read(&request, answer)?;
            let id = operation.value.map_or("without an id".into(), |id| id.to_string());
            let note = format!(
                "{status}: client operation {id} of type {kind} for {} devices of {collection}",
                ids.len()
            );
            Ok(Receipt { note, changed: true })
        }
    }
}

async fn run_script(
    service: &Service,
    begun: &Begun,
    guid: &str,
    devices: &[u32],
    key: &EffectKey,
) -> Result<Receipt, Fault> {
    let (mut started, mut gone, mut before) = (Vec::new(), 0, 0);
    for device in devices {
        if begun.has(key, *device) {
            before += 1;
            continue;
        }
        let request = request::run_script(*device, guid);
        let answer = service.send_once(&request, key).await?;
        match answer.status {
            404 => gone += 1,
            403 => {
                return Err(Fault::permanent(format!(
                    "the site refuses to run the script {guid} (403): approve it in Configuration Manager, and check that the connection's account may run scripts"
                )));
            }
            _ => {
                let operation: Operation = service.read(&request, answer)?;
                begun.note(key, *device);
                started.extend(operation.value);
            }
        }
    }
    if started.is_empty() && before == 0 {
        return Err(Fault::permanent("none of the devices exists any more"));
    }
    let shown: Vec<String> = started.iter().take(5).map(ToString::to_string).collect();
    let more = if started.len() > 5 { ", …" } else { "" };
    let note = format!(
        "script {guid} started on {} devices ({gone} no longer exist, {before} started before), operations {}{more}",
        started.len(),
        shown.join(", ")
    );
    Ok(Receipt { note, changed: true })
}
