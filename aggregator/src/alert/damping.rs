//! What keeps an alert from engaging and releasing all the time.

use std::collections::{BTreeMap, VecDeque};

use shared::model::Timestamp;
use shared::model::time::NS_PER_S;
use shared::script::ScriptMeta;

use super::{Key, MAX_WATCHED};
use crate::config::AlertsConfig;

/// How one script's alerts are damped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damping {
    /// Runs in a row that have to trigger an alert before it engages; 0 and 1 say at once.
    pub engage_after: u32,
    /// Seconds for which nothing may trigger it before it is released.
    pub hold_seconds: u32,
    /// An alert that engages more often than this within the window flaps; 0 never says so.
    pub flap_engages: u32,
    /// Length of the window in seconds; a flapping alert is held for as long.
    pub flap_window_s: u32,
}

impl Damping {
    /// What a script declares, and what the configuration says of all.
    pub fn of(meta: &ScriptMeta, config: &AlertsConfig) -> Self {
        Self {
            engage_after: meta.engage_after,
            hold_seconds: meta.hold_seconds,
            flap_engages: config.flap_engages,
            flap_window_s: config.flap_window_s,
        }
    }

    /// Seconds for which an alert is held.
    pub(super) fn hold_s(&self, flapping: bool) -> i64 {
        let of_flap = if flapping { self.flap_window_s } else { 0 };
        self.hold_seconds.max(of_flap).into()
    }
}

/// When alerts engaged of late.
#[derive(Debug, Default)]
pub(super) struct Flaps(pub(super) BTreeMap<Key, VecDeque<Timestamp>>);

impl Flaps {
    /// Notes that an alert engages, and tells whether it does so too often.
    pub(super) fn engaged(&mut self, key: &Key, now: Timestamp, damping: &Damping) -> bool {
        if damping.flap_engages == 0 {
            return false;
        }
        let old = |at: &Timestamp| now.since(*at) > i64::from(damping.flap_window_s) * NS_PER_S;
        if self.0.len() >= MAX_WATCHED {
            self.0.retain(|_, times| times.back().is_some_and(|at| !old(at)));
        }
        if self.0.len() >= MAX_WATCHED {
            // That many alerts at once say more than that one of them flaps.
            self.0.clear();
        }
        let times = self.0.entry(key.clone()).or_default();
        while times.front().is_some_and(old) || times.len() > damping.flap_engages as usize {
            times.pop_front();
        }
        times.push_back(now);
        times.len() > damping.flap_engages as usize
    }
}
