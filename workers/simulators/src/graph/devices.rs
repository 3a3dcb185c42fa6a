//! `/deviceManagement/detectedApps` and `/deviceManagement/managedDevices`.

use serde_json::Value;
use trueup_model::{Duration, Time};

use super::odata::{Options, page, project};
use super::vocabulary::{DETECTED_APP, MANAGED_DEVICE};
use super::{Asked, Reply, bad_request, not_found};
use crate::mischief::List;
use crate::state::{Detected, State};
use crate::tenant::Tenant;

const DETECTED_PAGE: usize = 50;
const DEVICE_PAGE: usize = 100;

pub(super) fn detected(tenant: &Tenant, asked: &Asked<'_>, options: &Options) -> Reply {
    let allowed = options.allow(true, Some(&DETECTED_APP), &[], true).and_then(|()| options.display_name());
    let name = match allowed {
        Ok(name) => name,
        Err(why) => return bad_request(&why),
    };
    let size = options.top.unwrap_or(DETECTED_PAGE);
    tenant.with_state(|state, _| {
        // A name is looked up, not searched for.
        let all: Vec<usize> = match &name {
            None => (options.skip..state.detected.len().min(state.shown(List::DetectedApps))).collect(),
            Some(name) => {
                let product = state.product_at.get(name);
                let found = product.map_or(&[][..], |at| &state.products[*at].detected);
                found.iter().copied().filter(|at| *at >= options.skip).collect()
            }
        };
        let mut there = all.into_iter().filter(|at| !state.detected[*at].devices.is_empty());
        let value: Vec<Value> =
            there.by_ref().take(size).map(|at| object(state, &state.detected[at], options)).collect();
        Reply::json(200, page(asked, "deviceManagement/detectedApps", options, value, there.next()))
    })
}

pub(super) fn of_detected(tenant: &Tenant, asked: &Asked<'_>, id: &str, options: &Options) -> Reply {
    if let Err(why) = options.allow(true, Some(&MANAGED_DEVICE), &[], false) {
        return bad_request(&why);
    }
    let size = options.top.unwrap_or(DEVICE_PAGE);
    tenant.with_state(|state, now| match state.detected_at.get(id) {
        None => not_found("detectedApp", id),
        Some(at) => {
            let mut devices = state.detected[*at].devices.iter().skip(options.skip);
            let value: Vec<Value> =
                devices.by_ref().take(size).map(|d| device(state, *d as usize, now, options)).collect();
            let next = devices.next().map(|_| options.skip + size);
            let context = format!("deviceManagement/detectedApps('{id}')/managedDevices");
            Reply::json(200, page(asked, &context, options, value, next))
        }
    })
}

pub(super) fn list(tenant: &Tenant, asked: &Asked<'_>, options: &Options) -> Reply {
    if let Err(why) = options.allow(true, Some(&MANAGED_DEVICE), &[], false) {
        return bad_request(&why);
    }
    let size = options.top.unwrap_or(DEVICE_PAGE);
    tenant.with_state(|state, now| {
        let all = state.devices.len().min(state.shown(List::ManagedDevices));
        let end = options.skip.saturating_add(size).min(all);
        let value: Vec<Value> = (options.skip..end).map(|d| device(state, d, now, options)).collect();
        let next = (end < all).then_some(end);
        Reply::json(200, page(asked, "deviceManagement/managedDevices", options, value, next))
    })
}

pub(super) fn one(tenant: &Tenant, id: &str, options: &Options) -> Reply {
    if let Err(why) = options.allow(false, Some(&MANAGED_DEVICE), &[], false) {
        return bad_request(&why);
    }
    tenant.with_state(|state, now| match state.device_at.get(id).copied() {
        None => not_found("managedDevice", id),
        Some(at) => Reply::json(200, device(state, at, now, options)),
    })
}

pub(super) fn sync(tenant: &Tenant, asked: &Asked<'_>, id: &str, options: &Options) -> Reply {
    if *options != Options::default() {
        return bad_request("An action takes no query options.");
    }
    if !asked.body.is_empty() {
        return bad_request("Action 'syncDevice' takes no body.");
    }
    let delay = Duration::seconds(i64::from(tenant.options.sync_delay_seconds));
    let reply = tenant.with_state(|state, now| match state.device_at.get(id).copied() {
        None => not_found("managedDevice", id),
        Some(at) => {
            state.ask_to_sync(at, now, delay);
            Reply::no_content()
        }
    });
    if reply.status == 204 {
        tenant.note_write(asked.path, asked.key);
    }
    reply
}

fn object(state: &State, detected: &Detected, options: &Options) -> Value {
    let fields: [(&str, Value); 7] = [
        ("id", detected.id.as_str().into()),
        ("displayName", state.products[detected.product].name.as_str().into()),
        ("version", detected.version.as_str().into()),
        ("sizeInByte", 0.into()),
        ("deviceCount", detected.devices.len().into()),
        ("publisher", "Contoso".into()),
        ("platform", "windows".into()),
    ];
    Value::Object(project(options, fields))
}

fn device(state: &State, at: usize, now: Time, options: &Options) -> Value {
    let device = &state.devices[at];
    // Most requests want three properties; the others are not made for them.
    let made = |name: &str| -> Value {
        match name {
            "id" => device.id.as_str().into(),
            "deviceName" => format!("DEVICE-{at:06}").into(),
            "managedDeviceOwnerType" => "company".into(),
            "enrolledDateTime" => "2026-01-01T00:00:00Z".into(),
            "lastSyncDateTime" => {
                (state.last_sync(at, now) + device.ahead).format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into()
            }
            "operatingSystem" => "Windows".into(),
            "complianceState" => device.compliance.into(),
            "osVersion" => "10.0.26100.1".into(),
            "userPrincipalName" => format!("user{at}@contoso.example").into(),
            "serialNumber" => format!("SN{at:08}").into(),
            _ => Value::Null,
        }
    };
    let wanted = MANAGED_DEVICE.iter().filter(|f| options.wants(f));
    Value::Object(wanted.map(|f| ((*f).to_owned(), made(f))).collect())
}
