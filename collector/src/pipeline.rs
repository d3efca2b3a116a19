//! The collector's core: packets and time in, items for the bus out. Pure.
//!
//! One pipeline per interface, on that interface's thread. Event time moves in steps of a second:
//! timers fire, then the summary of that second is closed, then the packet is counted. A replay
//! therefore gives the same items in the same order every time.

use std::collections::BTreeMap;

use shared::model::{Alert, FlowEnd, LocalNetworks, Timestamp};
use shared::script::ScriptError;
use shared::script::registry::{ScriptInfo, ScriptSetup};
use shared::wire::delta::Delta;
use shared::wire::flow_batch::{FlowBatchWriter, WrittenBatch};
use shared::wire::proto::HttpPost;

use crate::capture::{Batch, PacketDesc};
use crate::decode::arp;
use crate::decode::{DecodeError, Decoded, Decoder};
use crate::flow::{FlowEvent, FlowTable, Lookup, RecordContext};
use crate::flow_alert::Place;
use crate::hooks::{Asked, HookRunner};
use crate::ingest::CollectedFlow;
use crate::ingest::feed::Feed;
use crate::l7::ProtocolId;
use crate::report::{CollectorReport, Drops};
use crate::summary::Summary;

mod collected;
mod effects;
mod flow_events;
mod flush;
mod overdue;
mod query;
mod told;

/// Packets looked up ahead together: enough to hide the time that memory takes, few enough to stay
/// in the nearest cache.
const AHEAD: usize = 32;

/// Items handed over at once while everything ends.
const ITEMS_AT_ONCE: usize = 16;

/// Ended flows in one batch at most.
const FLOWS_PER_BATCH: usize = 500;

/// Bytes of text in one batch of flows at most: hostile names must not make a message too large.
const TEXT_PER_BATCH: usize = 512 * 1024;

/// Hosts in one delta at most: about 100 bytes each.
pub(crate) const HOSTS_PER_DELTA: usize = 1000;

/// Something for the bus.
#[derive(Debug)]
pub enum Item {
    /// A summary.
    Delta(Box<Delta>),
    /// Ended flows.
    Flows(WrittenBatch),
    /// A flow alert.
    Alert(Box<Alert>),
    /// A script's HTTP post.
    Post(HttpPost),
    /// A script's own message.
    Publish {
        /// The rest of the subject after `sc.v1.<site>.`.
        subject: String,
        /// What.
        payload: String,
    },
}

/// Gives the trace context of the work under way; called only when something is to be traced.
pub type TraceSource<'a> = dyn FnMut() -> Option<String> + 'a;

/// What a pipeline is made of.
pub struct PipelineParts {
    /// Where it captures.
    pub place: Place,
    /// Distinguishes runs of this producer; larger is later.
    pub epoch: u64,
    /// Local networks.
    pub networks: std::sync::Arc<LocalNetworks>,
    /// What makes packets of frames.
    pub decoder: Decoder,
    /// Takes export datagrams out of the packets, when the interface collects flows instead of
    /// counting packets.
    pub feed: Option<Feed>,
    /// The flow table.
    pub table: FlowTable,
    /// The scripts.
    pub hooks: HookRunner,
    /// Seconds of event time between summaries.
    pub summary_interval_s: u32,
    /// Whether there is anybody who reads summaries.
    pub summaries: bool,
    /// Whether there is anybody who reads alerts; where there is nobody they are counted all the same.
    pub alerts: bool,
}

impl PipelineParts {
    fn record_context(&self) -> RecordContext<'_> {
        RecordContext { ifid: self.place.ifid, networks: &self.networks }
    }
}

/// A packet that was decoded and looked up ahead of its turn.
struct Ahead<'a> {
    desc: &'a PacketDesc,
    frame: &'a [u8],
    decoded: Result<Decoded<'a>, DecodeError>,
    /// Where a packet's flow is; `None` for what is not IP.
    lookup: Option<Lookup>,
}

/// The core of one interface.
pub struct Pipeline {
    parts: PipelineParts,
    summary: Summary,
    events: Vec<FlowEvent>,
    /// Events under way; swapped with `events`, so that both keep their memory.
    handling: Vec<FlowEvent>,
    /// Flows that have ended, as they go out.
    ended: FlowBatchWriter,
    /// Begin of the open summary; `None` before the first packet.
    open_from: Option<Timestamp>,
    /// Nothing is due before.
    quiet_until: Timestamp,
    delta_sequence: u64,
    flow_sequence: u64,
    posts: u64,
    evicted_told: u64,
    refused_told: u64,
    /// Ended flows by number of the name.
    ended_by_name: Vec<u64>,
    /// Ended flows with something malformed, by protocol.
    malformed: BTreeMap<ProtocolId, u64>,
    report: CollectorReport,
    /// Collected flows under way; kept for its memory.
    collected: Vec<CollectedFlow>,
    /// Of how many flows one has its hooks told as events; 0 is of none.
    event_every: u32,
    /// Skip `periodicUpdate`: the interface cannot keep up.
    pub overloaded: bool,
}

impl Pipeline {
    /// A pipeline before its first packet.
    pub fn new(mut parts: PipelineParts) -> Self {
        parts.table.set_growth(parts.summaries);
        Self {
            summary: Summary::new(parts.summaries, parts.hooks.geo()),
            parts,
            events: Vec::new(),
            handling: Vec::new(),
            ended: FlowBatchWriter::default(),
            open_from: None,
            quiet_until: Timestamp::ZERO,
            delta_sequence: 0,
            flow_sequence: 0,
            posts: 0,
            evicted_told: 0,
            refused_told: 0,
            ended_by_name: Vec::new(),
            malformed: BTreeMap::new(),
            report: CollectorReport::default(),
            collected: Vec::new(),
            event_every: 0,
            overloaded: false,
        }
    }

    /// What has been done so far.
    pub fn report(&self) -> CollectorReport {
        let mut report = self.report.clone();
        let names = self.parts.table.names().all().iter();
        for (name, flows) in names.zip(&self.ended_by_name).filter(|(_, flows)| **flows > 0) {
            *report.flows_by_protocol.entry(name.text.to_string()).or_default() += flows;
        }
        for (protocol, flows) in &self.malformed {
            report.error(&format!("malformed.{}", protocol.name()), *flows);
        }
        report.hooks = self.parts.hooks.total_calls();
        for (script, counts) in self.parts.hooks.script_counts() {
            report.error(&format!("script.{script}"), counts.errors);
            report.scripts.insert(script.to_owned(), counts);
        }
        let decoder = self.parts.decoder.stats();
        report.error("fragments_orphaned", decoder.fragments_orphaned);
        report.error("fragments_evicted", decoder.fragments_evicted);
        report
    }

    /// Loaded scripts.
    pub fn scripts(&self) -> Vec<ScriptInfo> {
        self.parts.hooks.infos()
    }

    /// Counts errors that happened around the pipeline, such as a truncated file.
    pub fn count_error(&mut self, kind: &str, count: u64) {
        self.report.error(kind, count);
    }

    /// Packets dropped before they came here, since the last time.
    pub fn count_drops(&mut self, drops: &Drops) {
        let counters = self.summary.counters();
        counters.drops += drops.sum();
        counters.drops_interface += drops.interface;
        counters.drops_own += drops.own;
        self.report.drops.add(drops);
    }

    /// Event time before which every summary has been made; `None` before the first packet.
    pub fn closed_until(&self) -> Option<Timestamp> {
        self.open_from
    }

    /// How many flows live.
    pub fn live(&self) -> usize {
        self.parts.table.len()
    }

    /// Carries out what scripts asked for in their `setup`.
    pub fn started(&mut self, asked: Vec<Asked>, now: Timestamp, out: &mut Vec<Item>) {
        self.carry_out_without_flow(asked, now, &mut || None, out);
    }

    /// Loads other scripts in place of those that there are; returns what is wrong with them. Only who
    /// speaks for the interface carries out what those that come ask for in `setup`.
    pub fn reload_scripts(
        &mut self,
        setup: &ScriptSetup,
        speaks: bool,
        now: Timestamp,
        out: &mut Vec<Item>,
    ) -> Vec<ScriptError> {
        let now = now.max(self.parts.table.now());
        let (last_words, errors, asked) = self.parts.hooks.reload(setup, now);
        self.carry_out_last_words(last_words, now, out);
        if speaks {
            self.carry_out_without_flow(asked, now, &mut || None, out);
        }
        self.parts.table.set_periodic(self.parts.hooks.periodic_s());
        self.summary.geo.set(self.parts.hooks.geo());
        errors
    }

    /// Opens the first summary at `now` and tells that the interface is there, before it has seen a
    /// packet: so that it is listed, and its silence is noticed.
    pub fn announce(&mut self, now: Timestamp, out: &mut Vec<Item>) {
        let interval = i64::from(self.parts.summary_interval_s);
        let from = Timestamp::from_secs(now.secs().div_euclid(interval) * interval);
        self.open_from = Some(from);
        self.flush(from, false, out);
    }

    /// Takes a batch of packets.
    pub fn packets(&mut self, batch: &Batch, trace: &mut TraceSource<'_>, out: &mut Vec<Item>) {
        if self.parts.feed.is_some() {
            return self.datagrams(batch, trace, out);
        }
        let mut packets = batch.iter();
        let mut ahead: [Option<Ahead<'_>>; AHEAD] = [const { None }; AHEAD];
        loop {
            // What a packet needs lies anywhere in memory: ask for it some packets ahead.
            let mut count = 0;
            for (place, (desc, frame)) in ahead.iter_mut().zip(packets.by_ref()) {
                let decoded = self.parts.decoder.decode(desc, frame);
                let lookup = match &decoded {
                    Ok(Decoded::Packet(packet)) => Some(self.parts.table.look_ahead(packet)),
                    _ => None,
                };
                *place = Some(Ahead { desc, frame, decoded, lookup });
                count += 1;
            }
            for next in ahead.iter().take(count).flatten() {
                next.lookup.iter().for_each(|lookup| self.parts.table.bring_near(lookup));
            }
            for next in ahead.iter().take(count).flatten() {
                self.packet(next, trace, out);
            }
            self.overdue(trace, out);
            if count < AHEAD {
                return;
            }
        }
    }

    fn packet(&mut self, next: &Ahead<'_>, trace: &mut TraceSource<'_>, out: &mut Vec<Item>) {
        let PacketDesc { ts, length, .. } = *next.desc;
        self.advance(ts, trace, out);
        self.summary.packet(length);
        self.report.packets += 1;
        self.report.bytes += u64::from(length);
        match (&next.decoded, &next.lookup) {
            (Ok(Decoded::Packet(packet)), Some(lookup)) => {
                if let Some(flaw) = packet.flaw {
                    self.summary.counters().decode_errors += 1;
                    self.report.error(flaw.name(), 1);
                }
                self.parts.table.on_looked_up(packet, lookup, &mut self.events);
                if !self.events.is_empty() {
                    self.handle_events(packet.ts, trace, out);
                }
            }
            (Ok(Decoded::NotIp(arp::ARP)), _) => {
                if let Some(arp) = arp::read(next.desc, next.frame) {
                    self.summary.arp(&arp, next.desc.ts, &self.parts.networks);
                }
            }
            (Ok(_), _) => {}
            (Err(error), _) => {
                self.summary.counters().decode_errors += 1;
                self.report.error(error.name(), 1);
            }
        }
    }

    /// Moves event time on without a packet: the wire is silent.
    pub fn tick(&mut self, now: Timestamp, trace: &mut TraceSource<'_>, out: &mut Vec<Item>) {
        self.advance(now, trace, out);
    }

    /// Ends every flow and closes the summary. `end_of_stream` says that no more will ever come.
    /// What comes out is handed over piece by piece, so that a million flows do not end in memory.
    pub fn finish(
        &mut self,
        reason: FlowEnd,
        end_of_stream: bool,
        trace: &mut TraceSource<'_>,
        out: &mut Vec<Item>,
        hand_over: &mut dyn FnMut(&mut Vec<Item>),
    ) {
        let now = self.parts.table.now();
        self.parts.decoder.sweep(now, true);
        self.overdue(trace, out);
        for place in self.parts.table.places_by_id() {
            self.parts.table.end_one(place, reason, &mut self.events);
            self.handle_events(now, trace, out);
            if out.len() >= ITEMS_AT_ONCE {
                hand_over(out);
            }
        }
        let asked = self.parts.hooks.teardown(now);
        self.carry_out_without_flow(asked, now, trace, out);
        if self.open_from.is_some() {
            // The last second is not over, but nothing more comes: it ends after its last packet.
            self.flush(now.plus_ns(1), end_of_stream, out);
        }
        self.flush_flows(out);
        hand_over(out);
    }

    /// Moves event time to `to`, second by second where something is to do.
    fn advance(&mut self, to: Timestamp, trace: &mut TraceSource<'_>, out: &mut Vec<Item>) {
        let interval = i64::from(self.parts.summary_interval_s);
        // Within one second no timer fires and no summary ends.
        if self.open_from.is_some() && to < self.quiet_until {
            return;
        }
        let floor = |at: Timestamp| Timestamp::from_secs(at.secs().div_euclid(interval) * interval);
        self.quiet_until = Timestamp::from_secs(to.secs() + 1);
        let Some(mut from) = self.open_from else {
            self.open_from = Some(floor(to));
            self.parts.table.advance(to, &mut self.events);
            return;
        };
        self.parts.decoder.sweep(to, false);
        while to >= from.plus_secs(interval) {
            let end = from.plus_secs(interval);
            while self.parts.table.advance(end.plus_ns(-1), &mut self.events) {
                self.handle_events(end.plus_ns(-1), trace, out);
            }
            let counted = self.parts.table.has_grown() || !self.summary.is_empty();
            // Nothing lives and nothing was counted: jump over the silence.
            let next = if counted || !self.parts.table.is_empty() { end } else { floor(to) };
            if counted || end.secs() % 60 == 0 {
                self.flush(end, false, out);
            }
            from = next;
            self.open_from = Some(from);
        }
        while self.parts.table.advance(to, &mut self.events) {
            self.handle_events(to, trace, out);
        }
    }
}

#[cfg(test)]
mod tests;
