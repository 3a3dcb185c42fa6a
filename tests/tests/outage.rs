//! One plane goes away for half an hour; the others must not notice, and nothing may be used up by it.
//!
//! # Expected flow
//! A real fleet in this process (embedded Redis, the real runner, the fleet's broker) by a clock that runs 40 times as fast,
//! on simulated Intune, Jamf Pro and Configuration Manager. Half an hour in which nothing is wrong but a few drifts, then half an
//! hour in which Jamf Pro answers nothing useful, with as many drifts on the others; then what was missed is caught up with.
//!
//! # Guarantees
//! - Looks of the other planes begin and end no later than before: p99 within 10 %, or within what the tick itself may be
//!   late by (`settings.gather_ms`). Slots at which the host itself stood still, which is measured beside, are not judged.
//!   What drifts there is remediated and verified as soon as before.
//! - No attempt begins, fails or is refused on the plane that is away; no dead letter, no run given up.
//! - Once it is back, every intent there is in sync within the breaker's longest pause and the time that the connection's
//!   quota takes for the calls; no window holds more calls than the quota.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "outage/looks.rs"]
mod looks;
#[path = "outage/town.rs"]
mod town;

use trueup_model::{Condition, Duration, EventKind, PlaneKind, Time};
use trueup_simulators::jamf::{JamfPlanned, JamfTrouble};
use trueup_tests::fleet::sites::{ENDPOINT_PLANES, Wrong, key};
use trueup_tests::fleet::world_graph::TENANT;

use town::{EACH, Town};

const HALF: Duration = Duration::minutes(30);
/// A look may be late by as much: `settings.gather_ms`, by default.
const GATHER_S: f64 = 1.0;
/// The breaker's longest pause (`trueup_model::budget::health::LONGEST_OPEN_S`).
const LONGEST_OPEN: Duration = Duration::seconds(600);
/// Calls per minute through the connection to Jamf Pro.
const QUOTA: u32 = 24;
/// Drifts at the beginning of a half, on each plane.
const DRIFTS: usize = 4;
const OTHERS: [PlaneKind; 2] = [PlaneKind::Intune, PlaneKind::ConfigMgr];

fn away(trouble: &JamfTrouble) -> [JamfPlanned; 2] {
    // Also who asks for a token gets none.
    let only = Some("token".to_owned());
    [trouble.clone().into(), JamfPlanned { only, ..trouble.clone().into() }]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outage_of_one_plane_is_nobody_elses() {
    let town = Town::start(QUOTA).await;
    town.all_in_sync(&ENDPOINT_PLANES).await;
    let jamf = town.sites.jamf_of(TENANT);

    // Undisturbed.
    let calm = town.now();
    let began = jamf.counts().requests;
    println!("all in sync after {:.1} min and {began} calls", minutes(calm - town.began));
    town.go_wrong(&ENDPOINT_PLANES, 0..DRIFTS, Wrong::MissingAssignment).await;
    town.reach(calm + HALF).await;

    println!("{} calls to Jamf Pro in an undisturbed half hour", jamf.counts().requests - began);

    // Some attempts have acted and wait for the look that judges them; others are begun, and the plane takes no writes.
    town.go_wrong(&[PlaneKind::Jamf], 10..10 + DRIFTS, Wrong::MissingAssignment).await;
    town.started(PlaneKind::Jamf, 10..10 + DRIFTS, EventKind::RemediationApplied).await;
    jamf.trouble(JamfPlanned { only: Some("PUT ".into()), ..JamfTrouble::Status(503).into() });
    town.go_wrong(&[PlaneKind::Jamf], 20..20 + DRIFTS, Wrong::MissingAssignment).await;
    town.started(PlaneKind::Jamf, 20..20 + DRIFTS, EventKind::RemediationStarted).await;
    let before = town.attempts(PlaneKind::Jamf).await;
    let verified = town.count(PlaneKind::Jamf, EventKind::RemediationVerified).await;

    // Away: refused for the first half, broken off for the second.
    let outage = town.now();
    println!("away {:.1} min after that", minutes(outage - calm - HALF));
    away(&JamfTrouble::Status(503)).into_iter().for_each(|t| jamf.trouble(t));
    town.go_wrong(&OTHERS, 10..10 + DRIFTS, Wrong::MissingAssignment).await;
    town.reach(outage + HALF / 2).await;
    jamf.no_more_trouble();
    away(&JamfTrouble::Drop).into_iter().for_each(|t| jamf.trouble(t));
    town.reach(outage + HALF).await;
    assert_eq!(town.attempts(PlaneKind::Jamf).await, before, "attempts were used up");
    assert_eq!(
        town.count(PlaneKind::Jamf, EventKind::RemediationVerified).await,
        verified,
        "nobody could look"
    );
    let missed = town.not_looked_at_since(PlaneKind::Jamf, outage).len();
    assert!(missed > EACH * 9 / 10, "it was away: {missed} of {EACH} were not looked at");

    // Back.
    let back = town.now();
    let calls_before = jamf.counts().requests;
    jamf.no_more_trouble();
    let meter = town.meter();
    let caught_up = town.caught_up(PlaneKind::Jamf, back).await;
    let calls = jamf.counts().requests - calls_before;
    let needs = Duration::milliseconds((calls * 60_000) as i64 / (i64::from(QUOTA) * 9 / 10));
    println!(
        "caught up with {EACH} intents {:.1} min after the outage: {calls} calls, for which {:.1} min of the quota are needed",
        minutes(caught_up - back),
        minutes(needs)
    );
    town.all_in_sync(&ENDPOINT_PLANES).await;
    let samples = meter.samples();
    println!("calls in each minute after the outage, of {QUOTA}: {:?}", looks::per_minute(&samples, back));
    let five = looks::most_in(&samples, Duration::minutes(5));
    println!("most in any five minutes: {five} of {}", QUOTA * 5);
    assert!(five <= u64::from(QUOTA) * 5, "{five}");
    assert!(caught_up - back <= LONGEST_OPEN + needs + Duration::minutes(1), "{}", caught_up - back);

    let attempts = town.attempts(PlaneKind::Jamf).await;
    let made = |n: usize| attempts.get(&key(TENANT, PlaneKind::Jamf, n)).copied();
    for n in (10..10 + DRIFTS).chain(20..20 + DRIFTS) {
        let record = town.record(PlaneKind::Jamf, n).await;
        assert_eq!(record.state.condition, Condition::InSync, "{:?}", record.state);
        assert_eq!(made(n), Some(1), "one attempt, which was enough, of {n}");
    }
    let none = [
        EventKind::RemediationFailed,
        EventKind::RemediationRefused,
        EventKind::Escalated,
        EventKind::RunAbandoned,
        EventKind::JobDead,
    ];
    for kind in none {
        let events = town.events(kind).await;
        assert!(events.is_empty(), "{kind:?}: {events:#?}");
    }
    assert_eq!(town.dead().await, Vec::<String>::new());

    // The others.
    assert_as_before(&town, calm, outage).await;
    town.end().await;
}

/// Compares the half hour from `outage` on with that from `calm` on, of the other planes.
async fn assert_as_before(town: &Town, calm: Time, outage: Time) {
    let (idle_before, idle_during) = (town.idle(calm, calm + HALF), town.idle(outage, outage + HALF));
    println!(
        "the machine itself, product seconds: undisturbed {idle_before}, during the outage {idle_during}"
    );
    let mut wrong = Vec::new();
    for end in [looks::End::Asked, looks::End::Answered] {
        let before = town.late(&OTHERS, calm, calm + HALF, end).await;
        let during = town.late(&OTHERS, outage, outage + HALF, end).await;
        println!("{end:?} after the slot, product seconds: undisturbed {before}, during the outage {during}");
        println!("  p99 {:.2} of undisturbed", during.p99() / before.p99());
        assert!(before.is_judged() && during.is_judged(), "this host is too busy to say anything");
        if during.p99() > (before.p99() * 1.1).max(before.p99() + GATHER_S) {
            wrong.push(format!("{end:?}: {before} became {during}"));
        }
    }
    let mended = async |range: std::ops::Range<usize>| town.mended(&OTHERS, range).await;
    let (before, during) = (mended(0..DRIFTS).await, mended(10..10 + DRIFTS).await);
    println!("from drift to verified, product seconds: undisturbed {before}, during the outage {during}");
    if during.p99() > before.p99() * 1.1 + GATHER_S {
        wrong.push(format!("drift to verified: {before} became {during}"));
    }
    assert!(wrong.is_empty(), "others were delayed: {wrong:#?}");
}

fn minutes(d: Duration) -> f64 {
    d.num_milliseconds() as f64 / 60_000.0
}
