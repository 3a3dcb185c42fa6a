//! What an operator (or fate) does behind Trueup's back. Each takes effect, and is reported, at once.

use serde::{Deserialize, Serialize};
use trueup_model::{Duration, Time};

use crate::state::{Assignment, Reach, State};

/// What a plane with a bad day shows less of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum List {
    /// `mobileApps`; each of them is still found by its id.
    Applications,
    /// The expanded assignments of `mobileApps`.
    Assignments,
    /// Whether `mobileApps` is expanded at all: with none shown, the property is absent.
    Expansion,
    DetectedApps,
    ManagedDevices,
}

/// `app` is the id of a `mobileApp`; `devices` how many of those that report the application, from the first on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mischief {
    /// Drift: missing assignment.
    RemoveAssignments {
        app: String,
    },
    /// Drift: scope mismatch (`required`, to one more group).
    AddGroup {
        app: String,
        group: String,
    },
    /// Replaces one group by another.
    SwapGroup {
        app: String,
        from: String,
        to: String,
    },
    /// Drift: version mismatch. Assignments move to another `mobileApp` of the same product, and its devices report that
    /// one's version.
    MoveAssignments {
        from: String,
        to: String,
    },
    /// Drift: version mismatch, on devices only.
    ChangeVersion {
        app: String,
        version: String,
        devices: u32,
    },
    /// Drift: compliance.
    BreakCompliance {
        app: String,
        devices: u32,
    },
    /// Devices check in and stay as they are, from now on.
    Stubborn {
        app: String,
        devices: u32,
    },
    /// Devices do not hear `syncDevice` before their next check-in.
    Deaf {
        app: String,
        devices: u32,
    },
    /// `assign` is accepted; after this many seconds the assignments are as they were before.
    Stick {
        app: String,
        after_seconds: u32,
    },
    Unstick {
        app: String,
    },
    /// The `mobileApp` is deleted.
    DeleteApp {
        app: String,
    },
    /// The directory group is deleted. What is assigned to it stays assigned, to a group that is found nowhere.
    DeleteGroup {
        group: String,
    },
    /// The list shows only its first entries, with a 200.
    Hide {
        list: List,
        keep: usize,
    },
    /// All lists are whole again.
    Show,
    /// Clocks of devices are ahead, and so is what they report.
    ClockAhead {
        app: String,
        devices: u32,
        seconds: u32,
    },
    /// Devices report a `complianceState` that the schema does not have.
    StrangeCompliance {
        app: String,
        devices: u32,
    },
    /// The assignments have an `intent` that the schema does not have.
    StrangeIntent {
        app: String,
    },
    /// One more assignment, to a kind of target that the schema does not have.
    StrangeTarget {
        app: String,
    },
}

impl State {
    pub(crate) fn mischief(&mut self, what: &Mischief, now: Time) -> Result<(), String> {
        let find =
            |s: &Self, id: &str| s.app_at.get(id).copied().ok_or_else(|| format!("no mobileApp '{id}'"));
        match what {
            Mischief::RemoveAssignments { app } => {
                let app = find(self, app)?;
                self.apps[app].assignments.clear();
            }
            Mischief::AddGroup { app, group } => {
                let app = find(self, app)?;
                let group = Assignment::required(group.clone());
                if !self.apps[app].assignments.contains(&group) {
                    self.apps[app].assignments.push(group);
                }
            }
            Mischief::SwapGroup { app, from, to } => {
                let app = find(self, app)?;
                for assignment in &mut self.apps[app].assignments {
                    if assignment.reach == Reach::Group(from.clone()) {
                        assignment.reach = Reach::Group(to.clone());
                    }
                }
            }
            Mischief::MoveAssignments { from, to } => {
                let (from, to) = (find(self, from)?, find(self, to)?);
                let moved = std::mem::take(&mut self.apps[from].assignments);
                self.apps[to].assignments.extend(moved);
                let (product, version) = (self.apps[to].product, self.apps[to].version.clone());
                for device in self.reached(&self.apps[to].assignments) {
                    self.carry(device, product, Some(&version));
                    self.devices[device as usize].extra_sync = Some(now);
                }
            }
            Mischief::ChangeVersion { app, version, devices } => {
                let product = self.apps[find(self, app)?].product;
                for device in self.some(app, *devices)? {
                    self.carry(device, product, Some(version));
                    self.devices[device as usize].extra_sync = Some(now);
                }
            }
            Mischief::BreakCompliance { app, devices } => {
                for device in self.some(app, *devices)? {
                    let device = &mut self.devices[device as usize];
                    device.compliance = "noncompliant";
                    device.extra_sync = Some(now);
                }
            }
            Mischief::Stubborn { app, devices } => {
                for device in self.some(app, *devices)? {
                    self.devices[device as usize].stubborn = true;
                }
            }
            Mischief::Deaf { app, devices } => {
                for device in self.some(app, *devices)? {
                    self.devices[device as usize].deaf = true;
                }
            }
            Mischief::Stick { app, after_seconds } => {
                let app = find(self, app)?;
                self.apps[app].stuck = Some(Duration::seconds(i64::from(*after_seconds)));
            }
            Mischief::Unstick { app } => {
                let app = find(self, app)?;
                self.apps[app].stuck = None;
            }
            Mischief::DeleteApp { app } => {
                let at = find(self, app)?;
                self.app_at.remove(app);
                self.apps[at].assignments.clear();
            }
            Mischief::DeleteGroup { group } => {
                for device in self.members.remove(group).unwrap_or_default() {
                    self.devices[device as usize].groups.remove(group);
                }
                self.deleted_groups.insert(group.clone());
            }
            Mischief::Hide { list, keep } => {
                self.shown.insert(*list, *keep);
            }
            Mischief::Show => self.shown.clear(),
            Mischief::ClockAhead { app, devices, seconds } => {
                for device in self.some(app, *devices)? {
                    self.devices[device as usize].ahead = Duration::seconds(i64::from(*seconds));
                }
            }
            Mischief::StrangeCompliance { app, devices } => {
                for device in self.some(app, *devices)? {
                    self.devices[device as usize].compliance = "quarantined";
                }
            }
            Mischief::StrangeIntent { app } => {
                let app = find(self, app)?;
                for assignment in &mut self.apps[app].assignments {
                    assignment.intent = "requiredLater".into();
                }
            }
            Mischief::StrangeTarget { app } => {
                let app = find(self, app)?;
                let target = serde_json::json!({
                    "@odata.type": "#microsoft.graph.tagAssignmentTarget", "tagId": "t-1", "depth": {"of": [1, 2]},
                });
                let (intent, settings) = ("available".to_owned(), serde_json::Value::Null);
                self.apps[app].assignments.push(Assignment { intent, reach: Reach::Other(target), settings });
            }
        }
        Ok(())
    }

    /// The first devices that report an application.
    fn some(&self, app: &str, count: u32) -> Result<Vec<u32>, String> {
        let at = self.app_at.get(app).ok_or_else(|| format!("no mobileApp '{app}'"))?;
        Ok(self.carriers(self.apps[*at].product).into_iter().take(count as usize).collect())
    }
}
