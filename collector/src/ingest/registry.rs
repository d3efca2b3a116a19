//! All exporters of a listener: one datagram in, flows out.

use std::collections::HashMap;
use std::net::IpAddr;

use shared::model::Timestamp;

use super::exporter::{ExportClock, Exporter};
use super::pending::Pending;
use super::stats::ExportStats;
use super::template::DomainKey;
use super::{CollectedFlow, IngestError, be16, be32, ipfix, netflow5, netflow9, sflow};
use crate::decode::Decoder;

/// A record that ended this long before its export has times of another clock. The longest active
/// timeouts are hours.
pub const MAX_RECORD_AGE_NS: i64 = 24 * 3600 * 1_000_000_000;

/// What may be remembered, and what is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Exporters at most. A new one takes the place of the one silent for longest, if that has been
    /// silent for [`Limits::exporter_idle_ns`]; else its datagrams are refused and counted, so that
    /// invented senders cannot push out real ones.
    pub exporters: usize,
    /// See `exporters`.
    pub exporter_idle_ns: i64,
    /// Domains of one exporter at most; data of others is still read, without sequence and sampling.
    pub domains: usize,
    /// Templates of one exporter at most; the longest unused goes first.
    pub templates: usize,
    /// Fields of all templates of one exporter at most.
    pub template_fields: usize,
    /// Bytes of data that may wait for templates.
    pub pending_bytes: usize,
    /// How long it may wait.
    pub pending_age_ns: i64,
    /// How far an exporter's clock may be from ours.
    pub clock_skew_ns: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            exporters: 1024,
            exporter_idle_ns: 600_000_000_000,
            domains: 64,
            templates: 512,
            template_fields: 16_384,
            pending_bytes: 4 << 20,
            pending_age_ns: 300_000_000_000,
            clock_skew_ns: 30_000_000_000,
        }
    }
}

/// What a decoder works with: one exporter, one datagram.
#[derive(Debug)]
pub struct Session<'s> {
    /// The exporter.
    pub exporter: &'s mut Exporter,
    /// Data that waits for templates.
    pub pending: &'s mut Pending,
    /// What makes packets of sampled headers.
    pub decoder: &'s mut Decoder,
    /// The limits.
    pub limits: &'s Limits,
    /// Who sent the datagram.
    pub from: IpAddr,
    /// When it came.
    pub received: Timestamp,
}

impl Session<'_> {
    /// The times of the datagram; counts a clock that is not believed.
    pub fn clock(&mut self, export: Timestamp, uptime_ms: Option<u32>) -> ExportClock {
        let clock = ExportClock::of(self.received, export, uptime_ms, self.limits.clock_skew_ns);
        self.exporter.stats.clock_skew += u64::from(clock.is_skewed());
        clock
    }

    /// Makes sure that the domain is known; false when the exporter has too many.
    pub fn domain(&mut self, key: DomainKey) -> bool {
        self.exporter.domain(key, self.limits.domains).is_some()
    }

    /// Hands over a flow whose fields are complete.
    pub fn accept(
        &mut self,
        flow: CollectedFlow,
        clock: &ExportClock,
        oldest_ns: i64,
        out: &mut Vec<CollectedFlow>,
    ) {
        accept(flow, clock, oldest_ns, &mut self.exporter.stats, out);
    }
}

/// Settles what is common to all formats, counts the record and hands it over.
pub(super) fn accept(
    mut flow: CollectedFlow,
    clock: &ExportClock,
    oldest_ns: i64,
    stats: &mut ExportStats,
    out: &mut Vec<CollectedFlow>,
) {
    flow.settle_icmp();
    flow.settle_addresses();
    stats.implausible += u64::from(!flow.settle_counters());
    stats.stale_times += u64::from(!flow.settle_times(clock.event, oldest_ns));
    stats.records += 1;
    stats.packets = stats.packets.saturating_add(flow.forward.packets).saturating_add(flow.reverse.packets);
    stats.flow_bytes = stats.flow_bytes.saturating_add(flow.forward.bytes).saturating_add(flow.reverse.bytes);
    out.push(flow);
}

/// After so long a silence an exporter is taken for one that was taken away.
const REMEMBERED_NS: i64 = 86_400 * shared::model::time::NS_PER_S;

/// All exporters.
#[derive(Debug)]
pub struct Exporters {
    limits: Limits,
    decoder: Decoder,
    known: HashMap<IpAddr, Exporter>,
    pending: Pending,
    refused: u64,
    /// No exporter becomes old enough to make room before this time.
    full_until: Timestamp,
    forgotten: ExportStats,
}

impl Exporters {
    /// Nobody is known yet. `decoder` reads the packet headers that sFlow samples.
    pub fn new(limits: Limits, decoder: Decoder) -> Self {
        Self {
            limits,
            decoder,
            known: HashMap::new(),
            pending: Pending::new(limits.pending_bytes, limits.pending_age_ns),
            refused: 0,
            full_until: Timestamp::ZERO,
            forgotten: ExportStats::default(),
        }
    }

    /// Reads one datagram that `from` sent and that came at `received`, and appends its flows to
    /// `out`. Returns the datagram's event time.
    ///
    /// # Errors
    /// What is wrong with it; it is counted, and the flows before the damage are in `out`.
    pub fn datagram(
        &mut self,
        from: IpAddr,
        received: Timestamp,
        bytes: &[u8],
        out: &mut Vec<CollectedFlow>,
    ) -> Result<Timestamp, IngestError> {
        // On a socket for both versions, IPv4 senders come as ::ffff:a.b.c.d.
        let from = from.to_canonical();
        self.pending.expire(received);
        if !self.make_room(from, received) {
            self.refused += 1;
            return Ok(received);
        }
        let exporter = self.known.entry(from).or_default();
        exporter.last_seen = received;
        exporter.stats.datagrams += 1;
        exporter.stats.bytes += bytes.len() as u64;
        let limits = &self.limits;
        let (pending, decoder) = (&mut self.pending, &mut self.decoder);
        let mut session = Session { exporter, pending, decoder, limits, from, received };
        let read = match (be16(bytes, 0), be32(bytes, 0)) {
            (Some(5), _) => netflow5::decode(bytes, &mut session, out),
            (Some(9), _) => netflow9::decode(bytes, &mut session, out),
            (Some(10), _) => ipfix::decode(bytes, &mut session, out),
            (_, Some(5)) => sflow::decode(bytes, &mut session, out),
            _ => Err(IngestError::Version),
        };
        session.exporter.stats.malformed += u64::from(read.is_err());
        for exporter in self.pending.take_dropped() {
            if let Some(exporter) = self.known.get_mut(&exporter) {
                exporter.stats.unknown_template_dropped += 1;
            }
        }
        read.map(|clock| clock.event)
    }

    /// Counters by exporter, in order of address.
    pub fn stats(&self) -> Vec<(IpAddr, ExportStats)> {
        let mut all: Vec<_> = self.known.iter().map(|(ip, exporter)| (*ip, exporter.stats)).collect();
        all.sort_unstable_by_key(|(ip, _)| *ip);
        all
    }

    /// Exporters that were heard of within [`REMEMBERED_NS`] before `now`, but not for `patience_s`.
    pub fn silent(&self, now: Timestamp, patience_s: i64) -> u64 {
        let quiet = |exporter: &&Exporter| {
            let last = exporter.last_seen;
            last.plus_secs(patience_s) < now && now < last.plus_ns(REMEMBERED_NS)
        };
        self.known.values().filter(quiet).count() as u64
    }

    /// Counters of all exporters, those forgotten included.
    pub fn total(&self) -> ExportStats {
        let mut total = self.forgotten;
        self.known.values().for_each(|exporter| total.add(&exporter.stats));
        total
    }

    /// Datagrams of exporters that were too many.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What an exporter calls an interface.
    pub fn interface_name(&self, exporter: IpAddr, index: u32) -> Option<&str> {
        self.known.get(&exporter)?.names.interface(index).map(|name| &**name)
    }

    /// False when the exporter is new and there is no room for it.
    fn make_room(&mut self, from: IpAddr, now: Timestamp) -> bool {
        if self.known.len() < self.limits.exporters || self.known.contains_key(&from) {
            return true;
        }
        if now < self.full_until {
            return false;
        }
        let oldest =
            self.known.iter().min_by_key(|(ip, e)| (e.last_seen, **ip)).map(|(ip, e)| (*ip, e.last_seen));
        let Some((oldest, last_seen)) = oldest else { return false };
        let free = last_seen.plus_ns(self.limits.exporter_idle_ns);
        if now < free {
            self.full_until = free;
            return false;
        }
        if let Some(gone) = self.known.remove(&oldest) {
            self.forgotten.add(&gone.stats);
        }
        true
    }
}

#[cfg(test)]
mod tests;
