//! What is read once serves many checks, for as long as it may.

use trueup_model::target::IntuneTarget;
use trueup_model::{Action, Duration, Target};
use trueup_planes::Plane;
use trueup_simulators::*;

use crate::rig::{Rig, Setup, TENANT, check, check_of, key, start, target};

#[tokio::test]
async fn many_checks_share_few_calls() {
    let seed = Seed { apps: 450, devices: 100, devices_per_app: 3, ..Seed::default() };
    let rig = Rig::with(Setup { seed, ..Setup::default() }).await;
    let plain = |n: usize| {
        check_of(Target::Intune(IntuneTarget {
            app_id: app_id(TENANT, n),
            app_name: app_name(n),
            replaces: Vec::new(),
        }))
    };
    let checks: Vec<_> = (0..4500).map(|i| plain(i % 450)).collect();
    assert!(rig.observe(&checks).await.iter().all(Result::is_ok));
    let first = rig.sim.counts();
    // 5 pages of applications, 1 of detected ones, 23 batches for the devices behind them.
    assert_eq!((first.requests, first.app_calls, first.device_calls, first.tokens), (29, 5, 451, 1));
    rig.clock.advance(Duration::seconds(225));
    assert!(rig.observe(&checks).await.iter().all(Result::is_ok));
    assert_eq!(rig.sim.counts().requests, 29, "the second time nothing is asked");
    rig.clock.advance(Duration::seconds(1));
    rig.observe(&checks).await;
    let then = rig.sim.counts();
    // 5 pages, 1 page, and one with the state of all devices: which devices report what is known.
    assert_eq!((then.app_calls - first.app_calls, then.device_calls - first.device_calls), (5, 2));
}

#[tokio::test]
async fn a_lone_check_reads_what_it_needs() {
    let seed = Seed { apps: 2500, devices: 30, devices_per_app: 3, ..Seed::default() };
    let rig = Rig::with(Setup { seed, ..Setup::default() }).await;
    for n in 0..3 {
        rig.look(n).await.unwrap();
    }
    // Per look: two applications by id, one name, one set of devices.
    let counts = rig.sim.counts();
    assert_eq!((counts.app_calls, counts.device_calls), (6, 6));
}

#[tokio::test]
async fn newer_answers_are_fetched_when_demanded() {
    let rig = Rig::new().await;
    rig.look(1).await.unwrap();
    rig.clock.advance(Duration::seconds(5));
    rig.sim.mischief(&Mischief::RemoveAssignments { app: app_id(TENANT, 1) }).unwrap();
    rig.sim.mischief(&Mischief::BreakCompliance { app: app_id(TENANT, 1), devices: 2 }).unwrap();
    let seen = rig.look(1).await.unwrap();
    assert_eq!(seen.assignments.unwrap().here.len(), 1, "an answer of 5 s ago may serve");
    assert_eq!(seen.at, start(), "and says how old it is");
    let mut demanding = check(1);
    demanding.newer_than = Some(start() + Duration::seconds(1));
    let seen = rig.observe(&[demanding]).await.remove(0).unwrap();
    assert!(seen.assignments.unwrap().here.is_empty());
    assert_eq!(seen.compliance.unwrap().noncompliant, 2);
    assert_eq!(seen.at, start() + Duration::seconds(5));
}

/// Thirty applications are looked at, and again half an hour later: calls about devices that the second look costs.
async fn device_calls(between: impl AsyncFnOnce(&Rig)) -> u64 {
    let rig = Rig::new().await;
    let all: Vec<_> = (0..30).map(check).collect();
    assert!(rig.observe(&all).await.iter().all(Result::is_ok));
    rig.pass(30);
    between(&rig).await;
    let before = rig.sim.counts().device_calls;
    for seen in rig.observe(&all).await {
        let seen = seen.unwrap();
        assert!(seen.at >= start() + Duration::minutes(30));
        assert_eq!(seen.compliance.unwrap().devices, 4);
    }
    rig.sim.counts().device_calls - before
}

/// The versions of all applications, and the state of all devices: a page each.
const KNOWN: u64 = 2;

#[tokio::test]
async fn which_devices_report_an_application_is_known_for_hours() {
    assert_eq!(device_calls(async |_| {}).await, KNOWN);
    assert_eq!(device_calls(async |rig| rig.pass(80)).await, KNOWN);
}

#[tokio::test]
async fn which_devices_report_it_is_read_again_when_their_number_changes() {
    let change = Mischief::ChangeVersion { app: app_id(TENANT, 1), version: "0.5".into(), devices: 1 };
    let calls = device_calls(async |rig| rig.sim.mischief(&change).unwrap()).await;
    assert_eq!(calls, KNOWN + 2, "the devices of each of its two versions");
}

#[tokio::test]
async fn which_devices_report_it_is_read_again_when_one_of_them_is_gone() {
    let hide = Mischief::Hide { list: List::ManagedDevices, keep: 39 };
    let calls = device_calls(async |rig| rig.sim.mischief(&hide).unwrap()).await;
    assert_eq!(calls, KNOWN + 3, "three applications are on the last of the forty devices");
}

#[tokio::test]
async fn which_devices_report_it_is_read_again_after_an_action_of_ours() {
    let act = async |rig: &Rig| {
        let action = Action::Comply { devices: vec![device_id(TENANT, 4)] };
        assert!(rig.plane.apply(&target(1), &action, &key()).await.unwrap().changed);
    };
    assert_eq!(device_calls(act).await, KNOWN + 1);
}

#[tokio::test]
async fn which_devices_report_it_is_read_again_after_six_hours() {
    assert_eq!(device_calls(async |rig| rig.pass(331)).await, 31, "and their states come with it");
}
