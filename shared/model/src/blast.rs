//! Blast radius: how much may be remediated at once before people must look.
//!
//! Every automatic attempt takes a place, fleet-wide, before it begins. Beyond a cap the switch of that tenant and plane
//! trips: from then on everything is manual, until somebody rearms it.

use serde::{Deserialize, Serialize};

use crate::{PlaneKind, Time};

/// Caps on automatic attempts of one tenant on one plane. An absent one does not cap.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Caps {
    /// Within `window_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<u32>,
    /// Of the tenant's intents on the plane, within `window_s`; never fewer than `at_least`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    pub at_least: u32,
    /// Seconds.
    pub window_s: u32,
    /// Within any minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
}

impl Caps {
    /// The cap on attempts within the window, for a tenant with that many intents on the plane.
    pub fn within_window(&self, intents: u64) -> Option<u32> {
        let share = self.percent.map(|percent| {
            let share = (intents as f64 * percent / 100.0).floor().clamp(0.0, f64::from(u32::MAX));
            (share as u32).max(self.at_least)
        });
        match (self.actions, share) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
    pub fn is_none(&self) -> bool {
        self.actions.is_none() && self.percent.is_none() && self.per_minute.is_none()
    }
}

/// The answer to asking for a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reserved {
    Granted,
    /// Manual: the switch is tripped. `first`: this very ask tripped it, so it is the one that tells people. Asked again
    /// it hears the same, so a worker that dies loses nothing. Should the intent be changed or deleted before anybody runs
    /// the job again, nobody is sent a message of this trip; it holds all the same, and is listed with the trips and in the
    /// decision about each drift that it holds.
    Held {
        trip: Trip,
        first: bool,
    },
}

/// A switch that tripped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trip {
    pub tenant: String,
    pub plane: PlaneKind,
    pub at: Time,
    /// For people: which cap, and how much it allows.
    pub cap: String,
}
