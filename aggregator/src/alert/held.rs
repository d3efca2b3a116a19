//! What is engaged, and how much of it each script holds.

use std::collections::BTreeMap;
use std::ops::Deref;

use super::Engaged;
use super::key::{AsKey, Key};

/// How much may be engaged in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Alerts altogether.
    pub all: usize,
    /// Alerts of one script.
    pub of_script: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { all: 125_000, of_script: 100_000 }
    }
}

/// Engaged alerts in order. It reads as the map that it is.
#[derive(Debug, Default)]
pub(super) struct Held {
    alerts: BTreeMap<Key, Engaged>,
    by_script: BTreeMap<String, usize>,
}

impl Held {
    pub(super) fn insert(&mut self, key: Key, engaged: Engaged) {
        let script = key.script.clone();
        if self.alerts.insert(key, engaged).is_none() {
            *self.by_script.entry(script).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Engaged> {
        let engaged = self.alerts.remove(key)?;
        if let Some(held) = self.by_script.get_mut(&key.script) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.by_script.remove(&key.script);
            }
        }
        Some(engaged)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Key) -> bool) {
        let gone: Vec<Key> = self.alerts.keys().filter(|key| !keep(key)).cloned().collect();
        for key in gone {
            self.remove(&key);
        }
    }

    pub(super) fn get_mut(&mut self, key: &(dyn AsKey + '_)) -> Option<&mut Engaged> {
        self.alerts.get_mut(key)
    }

    /// How many are a script's.
    pub(super) fn of_script(&self, script: &str) -> usize {
        self.by_script.get(script).copied().unwrap_or_default()
    }
}

impl Deref for Held {
    type Target = BTreeMap<Key, Engaged>;

    fn deref(&self) -> &Self::Target {
        &self.alerts
    }
}

impl FromIterator<(Key, Engaged)> for Held {
    fn from_iter<I: IntoIterator<Item = (Key, Engaged)>>(alerts: I) -> Self {
        let mut held = Self::default();
        alerts.into_iter().for_each(|(key, engaged)| held.insert(key, engaged));
        held
    }
}
