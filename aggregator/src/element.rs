//! What is known about hosts, networks and interfaces. Pure.

use std::collections::BTreeMap;

use shared::model::{
    ContactKind, Granularity, HostCounters, InterfaceCounters, MonitorCounters, NetworkCounters,
    SystemCounters,
};

use shared::model::packed::Packed;
use shared::script::element::Counts;

use crate::snapshot;

pub mod contacts;
pub mod host;
pub mod interface;
pub mod network;
pub mod watch;

pub use host::{Host, Hosts};
pub use interface::Interface;
pub use network::Network;
pub use watch::Watch;

/// A set of counters, named.
pub trait Counters: Copy + Default {
    /// Adds every counter of `other`.
    fn merge(&mut self, other: &Self);
    /// The values in few bytes.
    fn pack(&self) -> Packed;
    /// Those that were packed.
    fn unpack(packed: &Packed) -> Self;
    /// What this has more than `earlier`.
    fn growth(&self, earlier: &Packed) -> Self;
    /// The counters with their names, and the sums `bytes` and `packets` where they make sense.
    fn counts(&self) -> Counts;
    /// The same by name.
    fn named(&self) -> BTreeMap<String, u64> {
        self.counts().into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }
}

macro_rules! pack {
    () => {
        fn pack(&self) -> Packed {
            Packed::new(&self.values())
        }

        fn unpack(packed: &Packed) -> Self {
            let mut counters = Self::default();
            for (place, value) in packed.values() {
                if let Some(slot) = counters.slot(place) {
                    *slot = value;
                }
            }
            counters
        }

        fn growth(&self, earlier: &Packed) -> Self {
            self.since(&Self::unpack(earlier))
        }
    };
}

macro_rules! counters {
    ($type:ty, $bytes:expr, $packets:expr) => {
        impl Counters for $type {
            fn merge(&mut self, other: &Self) {
                self.add(other);
            }

            pack!();

            fn counts(&self) -> Counts {
                // Room for what the element knows besides.
                let mut counts = Vec::with_capacity(Self::NAMES.len() + 2 + ContactKind::ALL.len());
                counts.extend(Self::NAMES.iter().copied().zip(self.values()));
                let sums: [(&str, fn(&Self) -> u64); 2] = [("bytes", $bytes), ("packets", $packets)];
                for (name, sum) in sums {
                    if !Self::NAMES.contains(&name) {
                        counts.push((name, sum(self)));
                    }
                }
                counts
            }
        }
    };
}

counters!(HostCounters, |c| sum(&[c.bytes_sent, c.bytes_rcvd]), |c| sum(&[c.packets_sent, c.packets_rcvd]));
counters!(InterfaceCounters, |c| c.bytes, |c| c.packets);
counters!(NetworkCounters, |c| sum(&[c.bytes_ingress, c.bytes_egress, c.bytes_inner]), |c| sum(&[
    c.packets_ingress,
    c.packets_egress,
    c.packets_inner
]));

macro_rules! plain_counters {
    ($type:ty) => {
        impl Counters for $type {
            fn merge(&mut self, other: &Self) {
                self.add(other);
            }

            pack!();

            fn counts(&self) -> Counts {
                Self::NAMES.iter().copied().zip(self.values()).collect()
            }
        }
    };
}

plain_counters!(SystemCounters);
plain_counters!(MonitorCounters);

/// Counters come from the wire, so a sum may not fit.
fn sum(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
}

/// Totals, and what they were at the last run of each period.
#[derive(Clone, Debug, Default)]
pub struct Tally<C> {
    /// Counted since the element is known.
    pub total: C,
    at_run: [Packed; Granularity::PERIODS.len()],
}

impl<C: Counters> Tally<C> {
    /// Adds a delta.
    pub fn add(&mut self, delta: &C) {
        self.total.merge(delta);
    }

    /// To be kept somewhere.
    pub fn save(&self) -> snapshot::Tally {
        let bytes = |packed: &Packed| packed.bytes().to_vec();
        snapshot::Tally { total: bytes(&self.total.pack()), at_run: self.at_run.iter().map(bytes).collect() }
    }

    /// What [`Tally::save`] gave.
    pub fn restore(saved: &snapshot::Tally) -> Self {
        let mut tally = Self { total: C::unpack(&Packed::from_bytes(&saved.total)), ..Self::default() };
        for (at_run, bytes) in tally.at_run.iter_mut().zip(&saved.at_run) {
            *at_run = Packed::from_bytes(bytes);
        }
        tally
    }

    /// Growth since the last run of this period.
    pub fn since_run(&self, granularity: Granularity) -> C {
        place(granularity).map_or(self.total, |place| self.total.growth(&self.at_run[place]))
    }

    /// A run of this period took place.
    pub fn ran(&mut self, granularity: Granularity) {
        if let Some(place) = place(granularity) {
            self.at_run[place] = self.total.pack();
        }
    }
}

fn place(granularity: Granularity) -> Option<usize> {
    Granularity::PERIODS.iter().position(|g| *g == granularity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_period_has_its_own_growth() {
        let mut tally: Tally<InterfaceCounters> = Tally::default();
        let delta = InterfaceCounters { packets: 10, ..InterfaceCounters::default() };
        tally.add(&delta);
        tally.ran(Granularity::Min);
        tally.add(&delta);
        assert_eq!(tally.since_run(Granularity::Min).packets, 10);
        assert_eq!(tally.since_run(Granularity::Hour).packets, 20);
        assert_eq!(tally.total.packets, 20);
    }

    #[test]
    fn sums_are_named_beside_the_counters() {
        let counters = HostCounters { bytes_sent: 3, bytes_rcvd: 4, ..HostCounters::default() };
        let named = counters.named();
        assert_eq!((named["bytes"], named["bytes_sent"], named["packets"]), (7, 3, 0));
        let endless = HostCounters { bytes_sent: u64::MAX, ..counters };
        assert_eq!(endless.named()["bytes"], u64::MAX);
    }
}
