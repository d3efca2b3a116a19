//! What is remembered of one exporter.
//!
//! An exporter is an IP address. Its source port does not count: exporters take a new one when they
//! restart, and some send from several. Within it, templates, sequence numbers and sampling belong to
//! a [`DomainKey`]: the version and the observation domain (IPFIX), source id (v9), engine (v5) or
//! agent (sFlow).

use std::collections::HashMap;

use shared::model::Timestamp;

use super::draft::Draft;
use super::names::Names;
use super::records::Records;
use super::sequence::{Arrival, Sequence};
use super::stats::ExportStats;
use super::template::{DomainKey, Templates};

/// Samplers, and interfaces with a rate of their own, kept per domain at most.
const MAX_SAMPLERS: usize = 1024;

/// An uptime this much lower than before is a restart, not reordering.
const UPTIME_BACK_MS: u32 = 5_000;

/// Around the wrap of the 32-bit uptime (after 49.7 days) a lower one is no restart.
const UPTIME_WRAP_MS: u32 = 3_600_000;

/// The times of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportClock {
    /// Event time: when it was exported, or received where the exporter's clock is not believed.
    pub event: Timestamp,
    /// The export time as the exporter says it.
    pub export: Timestamp,
    /// The exporter's uptime in ms at the export, where the format has it.
    pub uptime_ms: Option<u32>,
    /// What to add to the exporter's times, in ns; 0 while its clock is believed.
    pub shift_ns: i64,
}

impl ExportClock {
    /// The clock of a datagram that came at `received` and was exported then too.
    pub fn plain(received: Timestamp) -> Self {
        Self { event: received, export: received, uptime_ms: None, shift_ns: 0 }
    }

    /// The clock of a datagram that says it was exported at `export`. An export time that is more
    /// than `tolerance_ns` from `received` is not believed: then the time of arrival counts, and the
    /// exporter's other times move by the difference. Event time is never later than `received`.
    pub fn of(received: Timestamp, export: Timestamp, uptime_ms: Option<u32>, tolerance_ns: i64) -> Self {
        let skew = received.since(export);
        if skew.unsigned_abs() > tolerance_ns.unsigned_abs() {
            return Self { event: received, export, uptime_ms, shift_ns: skew };
        }
        Self { event: export.min(received), export, uptime_ms, shift_ns: 0 }
    }

    /// True when the exporter's clock is not believed.
    pub fn is_skewed(&self) -> bool {
        self.shift_ns != 0
    }

    /// The time at which the exporter had this uptime, by its own clock.
    pub fn at_uptime(&self, uptime_ms: u32) -> Option<i64> {
        // The difference is right over a wrap too; a flow may end a little after the header was made.
        let before = self.uptime_ms?.wrapping_sub(uptime_ms) as i32;
        Some(self.export.ns().saturating_sub(i64::from(before) * 1_000_000))
    }
}

/// Sequence, sampling and clock of one domain of an exporter.
#[derive(Clone, Debug, Default)]
pub struct Domain {
    /// Its sequence numbers.
    pub sequence: Sequence,
    /// When the exporter began, ms since the epoch, where an option tells.
    pub boot_ms: Option<i64>,
    uptime_ms: Option<u32>,
    /// Of IPFIX: the last sequence number with its message's records, and whether numbers count the
    /// message itself.
    number: Option<(u32, u32)>,
    counts_itself: bool,
    rate: Option<u32>,
    samplers: HashMap<u64, u32>,
    interfaces: HashMap<u32, u32>,
}

impl Domain {
    /// Takes the uptime of a datagram; true when it says that the exporter began anew.
    pub fn restarted(&mut self, uptime_ms: u32) -> bool {
        let Some(before) = self.uptime_ms else {
            self.uptime_ms = Some(uptime_ms);
            return false;
        };
        let wrapped = before > u32::MAX - UPTIME_WRAP_MS && uptime_ms < UPTIME_WRAP_MS;
        // A datagram from before the wrap, come late.
        let unwrapped = uptime_ms > u32::MAX - UPTIME_WRAP_MS && before < UPTIME_WRAP_MS;
        let restarted = !wrapped && uptime_ms < before && before - uptime_ms > UPTIME_BACK_MS;
        if wrapped || restarted || uptime_ms > before && !unwrapped {
            self.uptime_ms = Some(uptime_ms);
        }
        if restarted {
            *self = Self { uptime_ms: Some(uptime_ms), ..Self::default() };
        }
        restarted
    }

    /// Learns from an option record how packets are sampled: by a sampler, on an interface, or
    /// everywhere.
    pub fn learn_sampling(&mut self, draft: &Draft<'_>) {
        let Some(rate) = draft.rate() else { return };
        match (draft.sampler, draft.flow.input) {
            (Some(sampler), _) => bounded_insert(&mut self.samplers, sampler, rate),
            (None, 0) => self.rate = Some(rate),
            (None, interface) => bounded_insert(&mut self.interfaces, interface, rate),
        }
    }

    /// One packet of how many was looked at for a record: as the record says itself, its sampler,
    /// its interface, the whole domain, or the only sampler there is.
    pub fn rate_of(&self, draft: &Draft<'_>) -> u32 {
        if let Some(rate) = draft.rate() {
            return rate;
        }
        if self.rate.is_none() && self.samplers.is_empty() && self.interfaces.is_empty() {
            return 1;
        }
        let by_sampler = draft.sampler.and_then(|sampler| self.samplers.get(&sampler));
        let by_interface = || self.interfaces.get(&draft.flow.input);
        let only = || match (draft.sampler, self.samplers.len()) {
            (None, 1) => self.samplers.values().next(),
            _ => None,
        };
        by_sampler.or_else(by_interface).or(self.rate.as_ref()).or_else(only).copied().unwrap_or(1)
    }
}

fn bounded_insert<K: std::hash::Hash + Eq>(map: &mut HashMap<K, u32>, key: K, rate: u32) {
    if map.len() < MAX_SAMPLERS || map.contains_key(&key) {
        map.insert(key, rate);
    }
}

/// One exporter.
#[derive(Clone, Debug, Default)]
pub struct Exporter {
    /// What was counted.
    pub stats: ExportStats,
    /// Its domains.
    pub domains: HashMap<DomainKey, Domain>,
    /// Its templates.
    pub templates: Templates,
    /// What its numbers are called.
    pub names: Names,
    /// When it was last heard of.
    pub last_seen: Timestamp,
}

impl Exporter {
    /// The domain, made when there is room; `None` when the exporter has too many.
    pub fn domain(&mut self, key: DomainKey, max: usize) -> Option<&mut Domain> {
        if self.domains.len() >= max && !self.domains.contains_key(&key) {
            return None;
        }
        Some(self.domains.entry(key).or_default())
    }

    /// Takes the uptime of a datagram; after a restart nothing of the domain is believed any more.
    pub fn uptime(&mut self, key: DomainKey, uptime_ms: u32) {
        if self.domains.get_mut(&key).is_some_and(|domain| domain.restarted(uptime_ms)) {
            self.stats.restarts += 1;
            self.templates.remove_all(key, |_| true);
        }
    }

    /// Takes the sequence number of a datagram with so many units; `None` when they cannot be
    /// counted.
    pub fn sequence(&mut self, key: DomainKey, number: u32, units: Option<u32>, window: u32) {
        let Some(domain) = self.domains.get_mut(&key) else { return };
        match domain.sequence.arrive(number, units.unwrap_or(0), window) {
            Arrival::InOrder => {}
            Arrival::Lost(units) => self.stats.lost += u64::from(units),
            Arrival::Late(recovered) => {
                self.stats.out_of_order += 1;
                self.stats.lost = self.stats.lost.saturating_sub(recovered.into());
            }
            Arrival::Restarted => self.stats.restarts += 1,
        }
        if units.is_none() {
            domain.sequence.forget();
        }
    }

    /// The same for IPFIX, where the units are data records: `number` says how many came before
    /// (RFC 7011 §3.1). Some exporters, softflowd 1.1 among them, say how many flows there are with
    /// the message's own; two messages in a row tell which it is.
    pub fn record_sequence(&mut self, key: DomainKey, number: u32, records: Option<Records>, window: u32) {
        let Some(domain) = self.domains.get_mut(&key) else { return };
        let Some(records) = records else {
            domain.number = None;
            return self.sequence(key, number, None, window);
        };
        let all = records.flows.saturating_add(records.options);
        let own = if domain.counts_itself { records.flows } else { 0 };
        if let Some((last, last_all)) = domain.number.replace((number, all))
            && !domain.sequence.expects(number.wrapping_sub(own))
        {
            let other = if domain.counts_itself { last_all } else { records.flows };
            if number == last.wrapping_add(other) {
                domain.counts_itself = !domain.counts_itself;
                domain.sequence.forget();
            }
        }
        match domain.counts_itself {
            true => self.sequence(key, number.wrapping_sub(records.flows), Some(records.flows), window),
            false => self.sequence(key, number, Some(all), window),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::ingest::CollectedFlow;
    use crate::ingest::field::Field;

    const S: i64 = 1_000_000_000;

    #[test]
    fn a_wrong_clock_is_not_believed() {
        let received = Timestamp::from_secs(1000);
        let clock = |export| ExportClock::of(received, Timestamp::from_secs(export), None, 30 * S);
        assert_eq!((clock(999).event.secs(), clock(999).shift_ns), (999, 0));
        assert_eq!(clock(1020).event, received, "nothing comes from the future");
        assert!(!clock(1020).is_skewed());
        assert_eq!((clock(5000).event, clock(5000).shift_ns), (received, -4000 * S));
        assert_eq!((clock(100).event, clock(100).shift_ns), (received, 900 * S));
    }

    #[test]
    fn uptimes_become_times_over_the_wrap_too() {
        let mut clock = ExportClock::plain(Timestamp::from_secs(1000));
        clock.uptime_ms = Some(5_000);
        assert_eq!(clock.at_uptime(2_000), Some(997 * S));
        assert_eq!(clock.at_uptime(6_000), Some(1001 * S));
        assert_eq!(clock.at_uptime(u32::MAX - 4_999), Some(990 * S));
    }

    #[test]
    fn a_lower_uptime_is_a_restart_but_not_at_the_wrap() {
        let mut domain = Domain::default();
        let uptimes = [
            (100_000, false),
            (99_000, false),
            (200_000, false),
            (10_000, true),
            (5_000_000, false),
            (u32::MAX - 10, false),
            (50, false),
            (u32::MAX - 5, false),
            (60, false),
        ];
        for (uptime, restarted) in uptimes {
            assert_eq!(domain.restarted(uptime), restarted, "at {uptime} ms");
        }
    }

    #[test]
    fn the_nearest_sampling_rate_counts() {
        let draft = |fields: &[(Field, &'static [u8])]| {
            let mut draft = Draft::new(CollectedFlow::of(IpAddr::from([127, 0, 0, 1]), 0));
            fields.iter().for_each(|(field, raw)| draft.set(*field, raw));
            draft
        };
        let mut domain = Domain::default();
        assert_eq!(domain.rate_of(&draft(&[])), 1);
        domain.learn_sampling(&draft(&[(Field::Sampler, &[3]), (Field::SamplingInterval, &[30])]));
        assert_eq!(domain.rate_of(&draft(&[])), 30, "the only sampler");
        domain.learn_sampling(&draft(&[(Field::SamplingInterval, &[10])]));
        domain.learn_sampling(&draft(&[(Field::Input, &[7]), (Field::SamplingInterval, &[70])]));
        assert_eq!(domain.rate_of(&draft(&[])), 10);
        assert_eq!(domain.rate_of(&draft(&[(Field::Input, &[7])])), 70);
        assert_eq!(domain.rate_of(&draft(&[(Field::Input, &[7]), (Field::Sampler, &[3])])), 30);
        assert_eq!(domain.rate_of(&draft(&[(Field::SamplingInterval, &[2]), (Field::Sampler, &[3])])), 2);
    }
}
