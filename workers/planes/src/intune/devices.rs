//! Which devices report an application, and how they are.
//!
//! # Expected flow
//! Two things are kept apart, because they age differently. The SET of devices behind a `detectedApp` costs a call per
//! application and changes slowly. The STATE of a device (compliance, check-in) is told by any page it is on: those sets,
//! and the list of all devices, a thousand on a page. A check joins them: sets that are not known are read one by one
//! (which brings their devices' states, for everybody); if states are old, either those sets are read again, or all
//! devices, whichever costs fewer calls.
//!
//! # Guarantees
//! - A set is kept for two to six hours (a quarter of the day in which a device's inventory is renewed; spread, so that a
//!   fleet's sets are not read again all at once) and only while the list gives the `deviceCount` it gave when the set
//!   was read, every member is among the devices, no action of ours touched the application, and the check demands
//!   nothing newer. The list is what dates such a set: it confirmed it.
//! - An answer is dated by the oldest state in it. States serve for the reuse time.
//! - One reader per lane at a time; who comes meanwhile uses what it brought.
//! - Memory: a number per membership, [`MAX_MEMBERSHIPS`] at most, and [`MAX_DEVICES`] devices. Past that everything is
//!   forgotten and read again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock};

use trueup_model::{Duration, Fault, Time};

use super::doubt::{Count, Doubt, Empty};
use super::graph::{Graph, ItemFault};
use super::loads::lists;
use super::parse::{Device, DeviceWire};
use super::request::{self, DEVICES_PER_PAGE, Request};
use super::snapshot::Stamp;
use super::weigh::Weigh;

const MAX_MEMBERSHIPS: usize = 8_000_000;
const MAX_DEVICES: usize = 1_000_000;
const SHORTEST_LIFE_S: i64 = 2 * 3600;
const LONGEST_LIFE_S: i64 = 6 * 3600;
/// Graph's page size behind a `detectedApp`, as far as it is known; only weighs one way of reading against another.
const SET_PER_PAGE: u64 = 100;

/// A `detectedApp` whose devices are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) id: String,
    /// `displayName`
    pub(crate) name: String,
    /// `deviceCount`, as the list has it now.
    pub(crate) count: i64,
    pub(crate) newer_than: Option<Time>,
}

/// Devices, each once and in order of their ids, with the time of the oldest read that says how they are.
pub(crate) type Group = (Time, Vec<Device>);
type Answers = HashMap<String, Result<Group, Fault>>;

#[derive(Debug)]
struct Set {
    stamp: Stamp,
    count: i64,
    members: Box<[u32]>,
}

#[derive(Debug)]
struct Known {
    /// By `detectedApp.id`.
    sets: HashMap<String, Set>,
    memberships: usize,
    /// Place in `devices`, by id.
    places: HashMap<Arc<str>, u32>,
    devices: Vec<(Device, Stamp)>,
    /// How many there were when all were read.
    all: usize,
    /// Sets of this name that were read before this turn do not count.
    touched: HashMap<String, u64>,
    weigh: Weigh,
    doubt: Doubt,
    turn: u64,
}

#[derive(Debug)]
pub(crate) struct Devices {
    known: RwLock<Known>,
    /// Of those who demand something newer, and of the others.
    flights: [tokio::sync::Mutex<()>; 2],
    reuse: Duration,
}

impl Devices {
    pub(crate) fn new(reuse: Duration) -> Self {
        let known = Known {
            sets: HashMap::new(),
            memberships: 0,
            places: HashMap::new(),
            devices: Vec::new(),
            all: 0,
            touched: HashMap::new(),
            weigh: Weigh::new(reuse),
            doubt: Doubt::default(),
            turn: 0,
        };
        Self { known: RwLock::new(known), flights: Default::default(), reuse }
    }

    /// One answer for each `detectedApp`, by id.
    pub(crate) async fn get(&self, graph: &Graph, wanted: Vec<Wanted>) -> Answers {
        let asked = self.write().next_turn();
        let mut answers = Answers::with_capacity(wanted.len());
        let now = || graph.http.clock().now();
        let pick = |open: Vec<Wanted>, answers: &mut Answers| {
            self.read().pick(open, asked, now(), self.reuse, answers)
        };
        if pick(wanted.clone(), &mut answers).is_empty() {
            return answers;
        }
        let demands = wanted.iter().any(|w| w.newer_than.is_some());
        let _one = self.flights[usize::from(!demands)].lock().await;
        let open = pick(wanted, &mut answers);
        let is_kept = |w: &Wanted| self.read().kept(w, asked, now()).is_some();
        let (kept, unread): (Vec<_>, Vec<_>) = open.into_iter().partition(is_kept);
        self.read_sets(graph, unread, &mut answers).await;
        let old = pick(kept, &mut answers);
        if old.is_empty() {
            return answers;
        }
        match self.everything(&old, now()) {
            Ok(false) => {}
            Ok(true) => {
                if let Err(fault) = self.read_all(graph).await {
                    refuse(old, &fault, &mut answers);
                    return answers;
                }
            }
            Err(fault) => {
                refuse(old, &fault, &mut answers);
                return answers;
            }
        }
        // What all devices do not tell either: a member is gone, so the set is another by now.
        let old = pick(old, &mut answers);
        self.read_sets(graph, old, &mut answers).await;
        answers
    }

    /// An action of ours may change which devices report this name.
    pub(crate) fn touch(&self, name: &str) {
        let mut known = self.write();
        let turn = known.next_turn();
        if known.touched.len() >= request::MAX_BATCH * 1_000 {
            known.forget();
        }
        known.touched.insert(name.to_owned(), turn);
    }

    fn everything(&self, old: &[Wanted], now: Time) -> Result<bool, Fault> {
        let pages =
            |w: &Wanted| w.count.clamp(1, MAX_DEVICES as i64).unsigned_abs().div_ceil(SET_PER_PAGE) as usize;
        let singles = old.iter().map(pages).sum();
        let mut known = self.write();
        let fleet = known.all.max(known.devices.len());
        known.weigh.learn(fleet.div_ceil(DEVICES_PER_PAGE));
        match known.doubt.waits(now) {
            Some(fault) => Err(fault),
            None => Ok(known.doubt.is_open() || known.weigh.everything(singles, now)),
        }
    }

    async fn read_all(&self, graph: &Graph) -> Result<(), Fault> {
        let stamp = Stamp { at: graph.http.clock().now(), turn: self.write().next_turn() };
        let wire: Vec<DeviceWire> = graph.list(&request::devices()).await?;
        let now = graph.http.clock().now();
        let mut known = self.write();
        known.doubt.judge(&[Count { what: "devices", n: wire.len(), empty: Empty::AtFirst }], stamp.at)?;
        known.all = wire.len();
        for device in wire {
            known.place(device.read(now), stamp);
        }
        let longest = Duration::seconds(LONGEST_LIFE_S);
        known.sets.retain(|_, set| now - set.stamp.at <= longest);
        known.memberships = known.sets.values().map(|s| s.members.len()).sum();
        let oldest = known.sets.values().map(|s| s.stamp.turn).min().unwrap_or(stamp.turn);
        known.touched.retain(|_, turn| *turn > oldest);
        Ok(())
    }

    async fn read_sets(&self, graph: &Graph, sets: Vec<Wanted>, answers: &mut Answers) {
        if sets.is_empty() {
            return;
        }
        let stamp = Stamp { at: graph.http.clock().now(), turn: self.write().next_turn() };
        let items: Vec<Request> = sets.iter().map(|w| request::devices_of(&w.id)).collect();
        let read = lists::<DeviceWire>(graph, &items).await;
        let now = graph.http.clock().now();
        for (wanted, answer) in sets.into_iter().zip(read) {
            let answer = match answer {
                Ok(devices) => {
                    let mut devices: Vec<Device> = devices.into_iter().map(|d| d.read(now)).collect();
                    devices.sort_by(|a, b| a.id.cmp(&b.id));
                    devices.dedup_by(|a, b| a.id == b.id);
                    self.write().keep(&wanted, &devices, stamp);
                    Ok((stamp.at, devices))
                }
                // No device reports it any more since the list was read.
                Err(ItemFault::Absent(_)) => Ok((stamp.at, Vec::new())),
                Err(ItemFault::Other(fault)) => Err(fault),
            };
            answers.insert(wanted.id, answer);
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refuse(wanted: Vec<Wanted>, fault: &Fault, answers: &mut Answers) {
    answers.extend(wanted.into_iter().map(|w| (w.id, Err(fault.clone()))));
}

/// How long a set is kept, the same each time for the same one.
fn life(id: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let spread = (LONGEST_LIFE_S - SHORTEST_LIFE_S).unsigned_abs();
    Duration::seconds(SHORTEST_LIFE_S + (hasher.finish() % spread) as i64)
}

impl Known {
    fn next_turn(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// Answers what may be answered; gives the rest.
    fn pick(
        &self,
        wanted: Vec<Wanted>,
        asked: u64,
        now: Time,
        reuse: Duration,
        answers: &mut Answers,
    ) -> Vec<Wanted> {
        let mut open = Vec::new();
        for wanted in wanted {
            if answers.contains_key(&wanted.id) {
                continue;
            }
            match self.kept(&wanted, asked, now).and_then(|set| self.join(set, &wanted, asked, now, reuse)) {
                Some(group) => {
                    answers.insert(wanted.id, Ok(group));
                }
                None => open.push(wanted),
            }
        }
        open
    }

    /// The set, if it still counts.
    fn kept(&self, wanted: &Wanted, asked: u64, now: Time) -> Option<&Set> {
        let set = self.sets.get(&wanted.id)?;
        let untouched = self.touched.get(&wanted.name).is_none_or(|turn| set.stamp.turn > *turn);
        let confirmed = set.count == wanted.count
            && now - set.stamp.at <= life(&wanted.id)
            && wanted.newer_than.is_none_or(|t| set.stamp.at > t);
        (untouched && (set.stamp.turn > asked || confirmed)).then_some(set)
    }

    /// Its devices, if how they are is known well enough.
    fn join(&self, set: &Set, wanted: &Wanted, asked: u64, now: Time, reuse: Duration) -> Option<Group> {
        let fresh = |stamp: &Stamp| {
            stamp.turn > asked || (now - stamp.at <= reuse && wanted.newer_than.is_none_or(|t| stamp.at > t))
        };
        let mut at = now;
        let mut devices = Vec::with_capacity(set.members.len());
        for place in &set.members {
            let (device, stamp) = self.devices.get(*place as usize)?;
            if !fresh(stamp) {
                return None;
            }
            at = at.min(stamp.at);
            devices.push(device.clone());
        }
        Some((at, devices))
    }

    /// Where the device is, with what is known of it now.
    fn place(&mut self, device: Device, stamp: Stamp) -> u32 {
        if let Some(place) = self.places.get(&device.id) {
            let known = &mut self.devices[*place as usize];
            if known.1.turn > stamp.turn {
                return *place;
            }
            let id = known.0.id.clone();
            *known = (Device { id, ..device }, stamp);
            return *place;
        }
        if self.devices.len() >= MAX_DEVICES {
            self.forget();
        }
        let place = self.devices.len() as u32;
        self.places.insert(device.id.clone(), place);
        self.devices.push((device, stamp));
        place
    }

    fn keep(&mut self, wanted: &Wanted, devices: &[Device], stamp: Stamp) {
        if self.memberships + devices.len() > MAX_MEMBERSHIPS
            || self.devices.len() + devices.len() > MAX_DEVICES
        {
            self.forget();
        }
        let newer = self.sets.get(&wanted.id).is_some_and(|set| set.stamp.turn > stamp.turn);
        if newer || devices.len() > MAX_DEVICES {
            return;
        }
        let members: Box<[u32]> = devices.iter().map(|d| self.place(d.clone(), stamp)).collect();
        self.memberships += members.len();
        let before = self.sets.insert(wanted.id.clone(), Set { stamp, count: wanted.count, members });
        self.memberships -= before.map_or(0, |set| set.members.len());
    }

    fn forget(&mut self) {
        self.sets.clear();
        self.memberships = 0;
        self.places.clear();
        self.devices.clear();
        self.touched.clear();
    }
}
