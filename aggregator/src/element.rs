//! What is known about hosts, networks and interfaces. Pure.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use shared::model::{
    ContactKind, Granularity, HostCounters, InterfaceCounters, MonitorCounters, NetworkCounters,
    SystemCounters,
};

use shared::model::packed::Packed;
use shared::script::element::Counts;

use crate::snapshot;

pub mod contacts;
pub mod host;
pub mod hosts;
pub mod interface;
pub mod network;
pub mod watch;

pub use host::Host;
pub use hosts::Hosts;
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
    total: Packed,
    at_run: [Packed; Granularity::PERIODS.len()],
    /// Bit by period: a run of it has reached the element.
    reached: u8,
    /// Runs of each period in a row that did not reach it.
    missed: [u8; Granularity::PERIODS.len()],
    /// What was counted at the last sample of the series, where that was not at the last minute run.
    sampled: Option<Box<Packed>>,
    of: PhantomData<C>,
}

impl<C: Counters> Tally<C> {
    /// Counted since the element is known.
    pub fn total(&self) -> C {
        C::unpack(&self.total)
    }

    /// Adds a delta.
    pub fn add(&mut self, delta: &C) {
        self.change(|total| total.merge(delta));
    }

    /// Changes what was counted.
    pub fn change(&mut self, change: impl FnOnce(&mut C)) {
        let mut total = self.total();
        change(&mut total);
        self.total = total.pack();
    }

    /// To be kept somewhere.
    pub fn save(&self) -> snapshot::Tally {
        let bytes = |packed: &Packed| packed.bytes().to_vec();
        snapshot::Tally {
            total: bytes(&self.total),
            at_run: self.at_run.iter().map(bytes).collect(),
            reached: self.reached.into(),
            missed: self.missed.to_vec(),
            sampled: self.sampled.as_deref().map(bytes),
        }
    }

    /// What [`Tally::save`] gave.
    pub fn restore(saved: &snapshot::Tally) -> Self {
        let mut tally = Self { total: Packed::from_bytes(&saved.total), ..Self::default() };
        for (at_run, bytes) in tally.at_run.iter_mut().zip(&saved.at_run) {
            *at_run = Packed::from_bytes(bytes);
        }
        tally.reached = u8::try_from(saved.reached).unwrap_or_default();
        for (missed, saved) in tally.missed.iter_mut().zip(&saved.missed) {
            *missed = *saved;
        }
        tally.sampled = saved.sampled.as_deref().map(|bytes| Box::new(Packed::from_bytes(bytes)));
        tally
    }

    /// Growth since the last run of this period.
    pub fn since_run(&self, granularity: Granularity) -> C {
        place(granularity).map_or_else(|| self.total(), |place| self.total().growth(&self.at_run[place]))
    }

    /// Growth since the last sample of the series.
    pub fn since_sample(&self) -> C {
        match &self.sampled {
            Some(sampled) => self.total().growth(sampled),
            None => self.since_run(Granularity::Min),
        }
    }

    /// A sample of the series was taken outside a minute run, or in one that did not reach the element.
    pub fn sampled(&mut self) {
        self.sampled = Some(Box::new(self.total.clone()));
    }

    /// A run of this period took place and reached the element, or did not: then what it has counted is
    /// growth of the next one.
    pub fn ran(&mut self, granularity: Granularity, reached: bool) {
        let Some(place) = place(granularity) else { return };
        if reached {
            self.at_run[place] = self.total.clone();
            self.reached |= 1 << place;
            self.missed[place] = 0;
        } else {
            self.missed[place] = self.missed[place].saturating_add(1);
        }
        if granularity == Granularity::Min {
            match reached {
                true => self.sampled = None,
                false => self.sampled(),
            }
        }
    }

    /// True when no run of this period has reached the element so far.
    pub fn is_first(&self, granularity: Granularity) -> bool {
        place(granularity).is_some_and(|place| self.reached & 1 << place == 0)
    }

    /// Runs of this period in a row that did not reach the element.
    pub fn missed(&self, granularity: Granularity) -> u8 {
        place(granularity).map_or(0, |place| self.missed[place])
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
        tally.ran(Granularity::Min, true);
        tally.add(&delta);
        assert_eq!(tally.since_run(Granularity::Min).packets, 10);
        assert_eq!(tally.since_run(Granularity::Hour).packets, 20);
        assert_eq!(tally.total().packets, 20);
    }

    #[test]
    fn what_a_run_missed_is_growth_of_the_next_one_and_in_the_series_all_the_same() {
        let mut tally: Tally<InterfaceCounters> = Tally::default();
        let delta = InterfaceCounters { packets: 10, ..InterfaceCounters::default() };
        tally.add(&delta);
        assert!(tally.is_first(Granularity::Min));
        tally.ran(Granularity::Min, false);
        tally.add(&delta);
        let mut tally = Tally::<InterfaceCounters>::restore(&tally.save());
        assert_eq!((tally.since_run(Granularity::Min).packets, tally.since_sample().packets), (20, 10));
        assert_eq!((tally.missed(Granularity::Min), tally.is_first(Granularity::Min)), (1, true));
        tally.ran(Granularity::Min, true);
        assert_eq!((tally.missed(Granularity::Min), tally.is_first(Granularity::Min)), (0, false));
        tally.add(&delta);
        assert_eq!((tally.since_run(Granularity::Min).packets, tally.since_sample().packets), (10, 10));
        assert!(tally.is_first(Granularity::Hour));
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
