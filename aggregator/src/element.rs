//! What is known about hosts, networks and interfaces. Pure.

use std::collections::BTreeMap;

use shared::model::{Granularity, HostCounters, InterfaceCounters, NetworkCounters};

pub mod host;
pub mod interface;
pub mod network;

pub use host::{Host, Hosts};
pub use interface::Interface;
pub use network::Network;

/// A set of counters, named.
pub trait Counters: Copy + Default {
    /// Adds every counter of `other`.
    fn merge(&mut self, other: &Self);
    /// What this has more than `earlier`.
    fn growth(&self, earlier: &Self) -> Self;
    /// The counters by name, with the sums `bytes` and `packets`.
    fn named(&self) -> BTreeMap<String, u64>;
}

macro_rules! counters {
    ($type:ty, $bytes:expr, $packets:expr) => {
        impl Counters for $type {
            fn merge(&mut self, other: &Self) {
                self.add(other);
            }

            fn growth(&self, earlier: &Self) -> Self {
                self.since(earlier)
            }

            fn named(&self) -> BTreeMap<String, u64> {
                let names = Self::NAMES.iter().map(|name| (*name).to_owned());
                let mut named: BTreeMap<String, u64> = names.zip(self.values()).collect();
                let (bytes, packets): (fn(&Self) -> u64, fn(&Self) -> u64) = ($bytes, $packets);
                named.insert("bytes".to_owned(), bytes(self));
                named.insert("packets".to_owned(), packets(self));
                named
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

/// Counters come from the wire, so a sum may not fit.
fn sum(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |sum, part| sum.saturating_add(*part))
}

/// Totals, and what they were at the last run of each period.
#[derive(Clone, Debug, Default)]
pub struct Tally<C> {
    /// Counted since the element is known.
    pub total: C,
    at_run: [C; Granularity::PERIODS.len()],
}

impl<C: Counters> Tally<C> {
    /// Adds a delta.
    pub fn add(&mut self, delta: &C) {
        self.total.merge(delta);
    }

    /// Growth since the last run of this period.
    pub fn since_run(&self, granularity: Granularity) -> C {
        place(granularity).map_or(self.total, |place| self.total.growth(&self.at_run[place]))
    }

    /// A run of this period took place.
    pub fn ran(&mut self, granularity: Granularity) {
        if let Some(place) = place(granularity) {
            self.at_run[place] = self.total;
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
