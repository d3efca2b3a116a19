//! Where a flow is: an open-addressed table of places, eight bytes a slot.
//!
//! A slot holds 32 bits of the key's hash and the flow's place, so that a look-up touches one line
//! here and one of the flow itself, and growing needs neither keys nor flows. Linear probing with
//! backward shift on removal; at most three quarters full.

use super::event::FlowIndex;
use super::pages::ask_for_large;
use super::prefetch::prefetch;

const SMALLEST: usize = 1024;

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tag: u32,
    /// Place plus one; 0 is empty.
    place: u32,
}

/// The table of places.
#[derive(Debug)]
pub(crate) struct Index {
    slots: Vec<Slot>,
    len: usize,
}

impl Index {
    pub(crate) fn new() -> Self {
        Self { slots: vec![Slot::default(); SMALLEST], len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// Asks for the slot of `hash` to be brought near.
    pub(crate) fn prefetch(&self, hash: u64) {
        prefetch(self.slots.as_ptr().wrapping_add(tag(hash) as usize & self.mask()));
    }

    /// Finds the first place with this hash, without asking whether it is the one.
    pub(crate) fn likely(&self, hash: u64) -> Option<FlowIndex> {
        self.find(hash, |_| true)
    }

    /// Finds the place with this hash that `is` the one.
    pub(crate) fn find(&self, hash: u64, mut is: impl FnMut(FlowIndex) -> bool) -> Option<FlowIndex> {
        let (tag, mask) = (tag(hash), self.mask());
        let mut at = tag as usize & mask;
        loop {
            let slot = self.slots[at];
            let place = slot.place.checked_sub(1)?;
            if slot.tag == tag && is(place) {
                return Some(place);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a place that is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, place: FlowIndex) {
        if (self.len + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.put(Slot { tag: tag(hash), place: place + 1 });
        self.len += 1;
    }

    fn put(&mut self, slot: Slot) {
        let mask = self.mask();
        let mut at = slot.tag as usize & mask;
        while self.slots[at].place != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
    }

    fn grow(&mut self) {
        let mut bigger = Vec::with_capacity(self.slots.len() * 2);
        ask_for_large(bigger.spare_capacity_mut());
        bigger.resize(self.slots.len() * 2, Slot::default());
        for slot in std::mem::replace(&mut self.slots, bigger) {
            if slot.place != 0 {
                self.put(slot);
            }
        }
    }

    /// Takes every place out; after a burst, gives most of its memory back.
    pub(crate) fn clear(&mut self) {
        if self.slots.len() > SMALLEST.max(self.len * 16) {
            self.slots = vec![Slot::default(); self.slots.len() / 4];
        } else {
            self.slots.fill(Slot::default());
        }
        self.len = 0;
    }

    /// Takes a place out.
    pub(super) fn remove(&mut self, hash: u64, place: FlowIndex) {
        let (tag, mask) = (tag(hash), self.mask());
        let mut at = tag as usize & mask;
        while self.slots[at].place != place + 1 {
            if self.slots[at].place == 0 {
                return;
            }
            at = (at + 1) & mask;
        }
        self.len -= 1;
        // Whoever was pushed on by the one that leaves comes back, so that no search ends too early.
        let mut next = at;
        loop {
            next = (next + 1) & mask;
            let slot = self.slots[next];
            if slot.place == 0 {
                break;
            }
            let home = slot.tag as usize & mask;
            if next.wrapping_sub(home) & mask >= next.wrapping_sub(at) & mask {
                self.slots[at] = slot;
                at = next;
            }
        }
        self.slots[at] = Slot::default();
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(steps in prop::collection::vec((0..40_u64, any::<bool>()), 1..4000)) {
            let mut index = Index::new();
            let mut map = BTreeMap::new();
            // Few homes, so that probes are long; the last ones wrap around.
            let hash = |key: u64| (u64::from(u32::MAX) - key % 5) << 32;
            for (key, add) in steps {
                if add && !map.contains_key(&key) {
                    index.insert(hash(key), key as u32);
                    map.insert(key, key as u32);
                } else if let Some(place) = map.remove(&key) {
                    index.remove(hash(key), place);
                }
                prop_assert_eq!(index.len(), map.len());
            }
            for key in 0..40 {
                let found = index.find(hash(key), |place| u64::from(place) == key);
                prop_assert_eq!(found, map.get(&key).copied());
            }
        }
    }

    #[test]
    fn what_was_cleared_is_gone_and_a_burst_is_forgotten() {
        let mut index = Index::new();
        let hash = |n: u32| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..100_000).for_each(|n| index.insert(hash(n), n));
        let most = index.slots.len();
        for _ in 0..8 {
            index.clear();
            assert!((0..100_000).all(|n| index.likely(hash(n)).is_none()));
            index.insert(hash(1), 1);
            assert_eq!((index.len(), index.likely(hash(1))), (1, Some(1)));
        }
        assert!(index.slots.len() < most / 16);
    }

    #[test]
    fn it_grows_and_keeps_everything() {
        let mut index = Index::new();
        let hash = |n: u32| u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for n in 0..10_000 {
            index.insert(hash(n), n);
        }
        assert!((0..10_000).all(|n| index.find(hash(n), |place| place == n) == Some(n)));
        for n in 0..9_999 {
            index.remove(hash(n), n);
        }
        assert_eq!((index.len(), index.likely(hash(9_999))), (1, Some(9_999)));
    }
}
