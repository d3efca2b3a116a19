//! What tells one engaged alert from another.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;

use shared::model::{Alert, Entity, Granularity};

use super::Place;

/// The key of an engaged alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub site: String,
    pub ifid: u32,
    pub entity: Entity,
    pub value: String,
    pub alert_type: String,
    pub script: String,
    pub granularity: Granularity,
}

impl Key {
    pub fn of(alert: &Alert) -> Self {
        Self {
            site: alert.site.clone(),
            ifid: alert.ifid,
            entity: alert.entity,
            value: alert.entity_value.clone(),
            alert_type: alert.alert_type.clone(),
            script: alert.script.clone(),
            granularity: alert.granularity.unwrap_or(Granularity::Aperiodic),
        }
    }

    pub fn is_at(&self, place: Place<'_>) -> bool {
        self.ifid == place.ifid && self.site == place.site
    }
}

/// The same, borrowed: an alert that is triggered again and again is found without a key being made.
/// Its fields stand in the order of [`Key`]'s, so that both sort alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyRef<'a> {
    pub site: &'a str,
    pub ifid: u32,
    pub entity: Entity,
    pub value: &'a str,
    pub alert_type: &'a str,
    pub script: &'a str,
    pub granularity: Granularity,
}

impl<'a> KeyRef<'a> {
    /// Where the alerts of an element begin.
    pub fn first_of(place: Place<'a>, entity: Entity, value: &'a str) -> Self {
        let Place { site, ifid } = place;
        Self { site, ifid, entity, value, alert_type: "", script: "", granularity: Granularity::Aperiodic }
    }

    fn is_of_same_element(&self, other: &KeyRef<'_>) -> bool {
        let element = |key: &KeyRef<'_>| (key.ifid, key.entity);
        element(self) == element(other) && self.value == other.value && self.site == other.site
    }
}

/// What a map has of the element whose alerts begin at `first`.
pub(super) fn range_of<'a, T>(
    map: &'a BTreeMap<Key, T>,
    first: KeyRef<'a>,
) -> impl Iterator<Item = (&'a Key, &'a T)> {
    let from: &(dyn AsKey + 'a) = &first;
    let range = map.range::<dyn AsKey + 'a, _>((Bound::Included(from), Bound::Unbounded));
    range.take_while(move |(key, _)| key.as_key().is_of_same_element(&first))
}

/// The keys of these.
pub(super) fn of_element<T>(map: &BTreeMap<Key, T>, first: KeyRef<'_>) -> Vec<Key> {
    range_of(map, first).map(|(key, _)| key.clone()).collect()
}

/// A key, owned or borrowed.
pub(super) trait AsKey {
    fn as_key(&self) -> KeyRef<'_>;
}

impl AsKey for Key {
    fn as_key(&self) -> KeyRef<'_> {
        KeyRef {
            site: &self.site,
            ifid: self.ifid,
            entity: self.entity,
            value: &self.value,
            alert_type: &self.alert_type,
            script: &self.script,
            granularity: self.granularity,
        }
    }
}

impl AsKey for KeyRef<'_> {
    fn as_key(&self) -> KeyRef<'_> {
        *self
    }
}

impl<'a> Borrow<dyn AsKey + 'a> for Key {
    fn borrow(&self) -> &(dyn AsKey + 'a) {
        self
    }
}

impl PartialEq for dyn AsKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.as_key() == other.as_key()
    }
}

impl Eq for dyn AsKey + '_ {}

impl PartialOrd for dyn AsKey + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn AsKey + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_key().cmp(&other.as_key())
    }
}
