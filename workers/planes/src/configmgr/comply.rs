//! Starting what brings devices into compliance: a script on each, or a client operation for all of them.
//!
//! # Guarantees
//! What was sent to a device under an effect key is not sent to it again under the same key by this process: it counts as
//! begun before it is sent, and no answer counts as "maybe started". Once anything may have started, a fault ends the action
//! with a receipt of what was done, not with a repetition: the next observation names who still fails. Acceptance is not
//! success: the receipt names the operations, only a later observation tells.

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

/// Where a remedy was sent already, by effect key.
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

    /// It certainly did not start.
    fn forget(&self, key: &EffectKey, device: u32) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(devices) = all.get_mut(key.as_str()) {
            devices.remove(&device);
        }
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
    service.signed_in().await?;
    match &meant.remedy {
        ConfigMgrRemedy::Script(guid) => run_script(service, begun, guid, &ids, key).await,
        ConfigMgrRemedy::ClientOperation { kind, collection } => {
            let what = format!("of type {kind} for devices of {collection}");
            let request = |ids: &[u32]| request::client_operation(*kind, collection, ids);
            client_operation(service, begun, &what, request, &ids, key).await
        }
    }
}

async fn client_operation(
    service: &Service,
    begun: &Begun,
    what: &str,
    request: impl Fn(&[u32]) -> request::Request,
    devices: &[u32],
    key: &EffectKey,
) -> Result<Receipt, Fault> {
    let new: Vec<u32> = devices.iter().copied().filter(|d| !begun.has(key, *d)).collect();
    let (n, before) = (new.len(), devices.len() - new.len());
    if new.is_empty() {
        let note = format!("client operation {what}: {before} devices, started before");
        return Ok(Receipt { note, changed: true });
    }
    let request = request(&new);
    new.iter().for_each(|device| begun.note(key, *device));
    let sent = service.send_once(&request, key).await;
    if let Some(why) = service.unclear::<Operation>(&request, &sent) {
        let note = format!("client operation {what}: maybe started on {n} devices, no answer tells ({why})");
        return Ok(Receipt { note, changed: true });
    }
    let accepted = sent.and_then(|answer| {
        let status = answer.status;
        service.read::<Operation>(&request, answer).map(|operation| (status, operation))
    });
    let (status, operation) =
        accepted.inspect_err(|_| new.iter().for_each(|device| begun.forget(key, *device)))?;
    let id = operation.value.map_or("without an id".into(), |id| id.to_string());
    let note = format!("{status}: client operation {id} {what}, {n} of them ({before} started before)");
    Ok(Receipt { note, changed: true })
}

/// What came of one script on one device.
enum Run {
    Started(Option<u64>),
    /// It may have arrived.
    Maybe(Fault),
    Gone,
}

async fn run_on(service: &Service, guid: &str, device: u32, key: &EffectKey) -> Result<Run, Fault> {
    let request = request::run_script(device, guid);
    let sent = service.send_once(&request, key).await;
    if let Some(why) = service.unclear::<Operation>(&request, &sent) {
        return Ok(Run::Maybe(why));
    }
    let answer = sent?;
    match answer.status {
        404 => Ok(Run::Gone),
        403 => Err(Fault::permanent(format!(
            "the site refuses to run the script {guid} (403): approve it in Configuration Manager, and check that the connection's account may run scripts"
        ))),
        _ => service.read::<Operation>(&request, answer).map(|operation| Run::Started(operation.value)),
    }
}

async fn run_script(
    service: &Service,
    begun: &Begun,
    guid: &str,
    devices: &[u32],
    key: &EffectKey,
) -> Result<Receipt, Fault> {
    let (mut started, mut operations, mut gone, mut before) = (0, Vec::new(), 0, 0);
    let mut end = String::new();
    for device in devices {
        if begun.has(key, *device) {
            before += 1;
            continue;
        }
        begun.note(key, *device);
        let left = devices.len() - started - gone - before - 1;
        match run_on(service, guid, *device, key).await {
            Ok(Run::Started(operation)) => {
                started += 1;
                operations.extend(operation);
            }
            Ok(Run::Gone) => {
                begun.forget(key, *device);
                gone += 1;
            }
            // A site that does not answer is not asked for the rest of them.
            Ok(Run::Maybe(why)) => {
                end = format!("; maybe started on {device}, no answer tells ({why}); {left} more not tried");
                break;
            }
            Err(fault) => {
                begun.forget(key, *device);
                if started + before == 0 {
                    return Err(fault);
                }
                end = format!("; not on {device} ({fault}), and {left} more not tried");
                break;
            }
        }
    }
    if started + before == 0 && end.is_empty() {
        return Err(Fault::permanent("none of the devices exists any more"));
    }
    let shown: Vec<String> = operations.iter().take(5).map(ToString::to_string).collect();
    let more = if operations.len() > 5 { ", …" } else { "" };
    let note = format!(
        "script {guid} started on {started} devices ({gone} no longer exist, {before} started before), operations {}{more}{end}",
        shown.join(", ")
    );
    Ok(Receipt { note, changed: true })
}
