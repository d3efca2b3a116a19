//! All live flows of one interface.

use std::sync::Arc;

use shared::model::{FlowEnd, FlowRecord, L4, Timestamp};

use super::detection::Detection;
use super::event::{FlowEvent, FlowIndex};
use super::expiry::Wheel;
use super::growth::Touched;
use super::holes::Holes;
use super::index::Index;
use super::key::FlowKey;
use super::macs::Macs;
use super::marks::Marks;
use super::names::Names;
use super::pages::ask_for_large;
use super::prefetch::prefetch_all;
use super::record::RecordContext;
use super::remarks;
use super::state::Flow;
use super::tcp;
use crate::decode::Packet;
use crate::l7::apps::AppTable;

/// Timeouts and limits, in seconds of event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableConfig {
    /// A flow without packets for this long ends.
    pub idle_s: u32,
    /// A TCP flow after both FINs or a RST ends after this long.
    pub closed_s: u32,
    /// A flow of this age ends and its successor goes on; 0 never.
    pub active_s: u32,
    /// Detection gives up after this long without payload.
    pub silence_s: u32,
    /// Base interval of `periodicUpdate`; 0 never.
    pub periodic_s: u32,
    /// Live flows at most.
    pub max_flows: usize,
    /// Whether the same addresses and ports in two tunnels are two flows. Not for tunnels whose two
    /// directions have different ids, such as GTP-U and L2TP.
    pub tunnel_parts_flows: bool,
    /// Seed of the hash, so that nobody can aim at one bucket.
    pub seed: u64,
}

impl TableConfig {
    /// Seconds after which something is due at the earliest for a flow whose protocol is known.
    fn first_due_s(&self) -> i64 {
        let due = [self.periodic_s, self.active_s].into_iter().filter(|seconds| *seconds > 0);
        due.fold(self.idle_s, u32::min).into()
    }
}

/// The flow table of one interface.
#[derive(Debug)]
pub struct FlowTable {
    config: TableConfig,
    index: Index,
    /// Room for as many flows as there may be; pages are taken from the system when first used.
    flows: Vec<Flow>,
    free: Vec<FlowIndex>,
    wheel: Option<Wheel>,
    fired: Vec<FlowIndex>,
    /// Boxes in which flows left the table, to be used again.
    #[expect(clippy::vec_box, reason = "it is the boxes that are kept")]
    boxes: Vec<Box<Flow>>,
    detection: Detection,
    holes: Holes,
    touched: Touched,
    macs: Macs,
    names: Names,
    now: Timestamp,
    next_id: u64,
    id_step: u64,
    evicted: u64,
    /// Where the next sample for an eviction begins.
    sampled: usize,
}

/// A packet's key and hash, computed ahead.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    key: FlowKey,
    forward: bool,
    hash: u64,
}

impl FlowTable {
    /// An empty table that knows the built-in applications.
    pub fn new(config: TableConfig) -> Self {
        Self::with_apps(config, AppTable::built_in())
    }

    /// An empty table that names applications by `apps`.
    pub fn with_apps(config: TableConfig, apps: Arc<AppTable>) -> Self {
        let mut flows: Vec<Flow> = Vec::new();
        // So that it never moves. Where the system refuses so much, it grows as it must.
        let _ = flows.try_reserve_exact(config.max_flows.saturating_add(1));
        ask_for_large(flows.spare_capacity_mut());
        Self {
            config,
            index: Index::new(),
            flows,
            free: Vec::new(),
            wheel: None,
            fired: Vec::new(),
            boxes: Vec::new(),
            detection: Detection::default(),
            holes: Holes::default(),
            touched: Touched::default(),
            macs: Macs::default(),
            names: Names::new(apps),
            now: Timestamp::ZERO,
            next_id: 1,
            id_step: 1,
            evicted: 0,
            sampled: 0,
        }
    }

    /// Numbers flows `first`, `first + step` and so on, so that several tables of one interface never
    /// use the same number. For a table that has seen nothing yet.
    pub fn number_flows(&mut self, first: u64, step: u64) {
        self.next_id = first;
        self.id_step = step;
    }

    /// How many flows live.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True when no flow lives.
    pub fn is_empty(&self) -> bool {
        self.index.len() == 0
    }

    /// Flows evicted because the table was full.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Flows that were not read on because all flows' detection had no memory left: their protocol was
    /// guessed, or a long message of theirs not read.
    pub fn detection_refused(&self) -> u64 {
        self.detection.refused()
    }

    /// A live flow.
    pub fn get(&self, index: FlowIndex) -> Option<&Flow> {
        self.flows.get(index as usize).filter(|flow| flow.id != 0)
    }

    /// A live flow, to be changed.
    pub fn get_mut(&mut self, index: FlowIndex) -> Option<&mut Flow> {
        self.flows.get_mut(index as usize).filter(|flow| flow.id != 0)
    }

    /// Live flows in order of their ids.
    pub fn iter(&self) -> Vec<&Flow> {
        let mut flows: Vec<&Flow> = self.flows.iter().filter(|flow| flow.id != 0).collect();
        flows.sort_unstable_by_key(|f| f.id);
        flows
    }

    /// The flow as hooks and the API show it.
    pub fn record(&self, flow: &Flow, cx: RecordContext<'_>, end: Option<FlowEnd>) -> FlowRecord {
        let info = flow.info().cloned().unwrap_or_default();
        flow.to_record(cx, self.macs(flow), self.names.get(flow.name), info, end)
    }

    /// The record of a flow that has ended; takes the flow's application data.
    pub fn last_record(&self, flow: &mut Flow, cx: RecordContext<'_>, end: FlowEnd) -> FlowRecord {
        let info = flow.extra.as_mut().map(|extra| std::mem::take(&mut extra.info)).unwrap_or_default();
        flow.to_record(cx, self.macs(flow), self.names.get(flow.name), info, Some(end))
    }

    /// Hardware addresses of client and server, where seen.
    pub fn macs(&self, flow: &Flow) -> [Option<shared::model::pool::Mac>; 2] {
        flow.macs.map(|mac| self.macs.get(mac))
    }

    /// Names of protocols and applications met.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Computes a packet's key ahead, and asks for its slot to be brought near.
    pub fn look_ahead(&self, packet: &Packet<'_>) -> Lookup {
        let (mut key, forward) = FlowKey::of(packet);
        if let Some(tunnel) = packet.tunnel.filter(|_| self.config.tunnel_parts_flows) {
            // Never 0, which stands for no tunnel; ids have 24 bits but for the kinds not meant here.
            key = key.within(tunnel.id ^ (tunnel.kind as u32 + 1) << 24);
        }
        let hash = key.hash(self.config.seed);
        self.index.prefetch(hash);
        Lookup { key, forward, hash }
    }

    /// Asks for the flow that probably is the packet's to be brought near.
    pub fn bring_near(&self, lookup: &Lookup) {
        if let Some(flow) = self.index.likely(lookup.hash).and_then(|place| self.flows.get(place as usize)) {
            prefetch_all(flow);
        }
    }

    /// Puts a packet into its flow; a packet older than the table's time counts as of now. Returns
    /// the flow's place.
    pub fn on_packet(&mut self, packet: &Packet<'_>, events: &mut Vec<FlowEvent>) -> FlowIndex {
        let lookup = self.look_ahead(packet);
        self.on_looked_up(packet, &lookup, events)
    }

    /// The same for a packet that was looked up ahead.
    pub fn on_looked_up(
        &mut self,
        packet: &Packet<'_>,
        lookup: &Lookup,
        events: &mut Vec<FlowEvent>,
    ) -> FlowIndex {
        let now = packet.ts.max(self.now);
        self.now = now;
        let Lookup { key, forward, hash } = lookup;
        let flows = &self.flows;
        let found = self.index.find(*hash, |place| flows.get(place as usize).is_some_and(|f| f.key.is(key)));
        if let Some(found) = found {
            if !self.reopens(found, packet) {
                self.update(found, packet, *forward, now, events);
                return found;
            }
            self.end(found, FlowEnd::Closed, events);
        }
        if self.index.len() >= self.config.max_flows {
            self.evict(events);
        }
        let id = self.next_id;
        self.next_id += self.id_step;
        let mut flow = Flow::begin(id, key, *forward, packet, now);
        self.detection.greet(&mut flow, packet, now);
        let place = self.insert(*hash, flow);
        let places = self.config.max_flows.saturating_add(1);
        self.wheel.get_or_insert_with(|| Wheel::new(now, places));
        self.set_timer(place, now.plus_secs(i64::from(self.config.silence_s)));
        self.update(place, packet, *forward, now, events);
        if self.get(place).is_some_and(|flow| flow.marks.has(Marks::DETECTED) && !flow.is_over()) {
            // There is no silence to wait for: most flows of one question and one answer wake once.
            self.set_timer(place, now.plus_secs(self.config.first_due_s()));
        }
        place
    }

    /// Ends every flow, oldest id first.
    pub fn drain(&mut self, reason: FlowEnd, events: &mut Vec<FlowEvent>) {
        for place in self.places_by_id() {
            self.end(place, reason, events);
        }
    }

    /// Places of the live flows in order of their ids.
    pub fn places_by_id(&self) -> Vec<FlowIndex> {
        let places = self.flows.iter().enumerate().filter(|(_, flow)| flow.id != 0);
        let mut places: Vec<(u64, FlowIndex)> = places.map(|(at, flow)| (flow.id, at as FlowIndex)).collect();
        places.sort_unstable();
        places.into_iter().map(|(_, place)| place).collect()
    }

    /// Ends one flow.
    pub fn end_one(&mut self, place: FlowIndex, reason: FlowEnd, events: &mut Vec<FlowEvent>) {
        self.end(place, reason, events);
    }

    /// The table's event time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Takes a live flow out while hooks' wishes are carried out on it.
    pub fn take(&mut self, index: FlowIndex) -> Option<Flow> {
        self.get_mut(index).map(|flow| std::mem::replace(flow, Flow::vacant()))
    }

    /// Puts a flow back where it was taken from.
    pub fn put_back(&mut self, index: FlowIndex, flow: Flow) {
        if let Some(place) = self.flows.get_mut(index as usize) {
            *place = flow;
        }
    }

    /// Says that the hook invocation with the flow's present status has happened.
    pub fn status_told(&mut self, place: FlowIndex) {
        if let Some(flow) = self.get_mut(place) {
            flow.status_told = flow.status;
        }
    }

    /// Status bits changed since the last invocation: the bits at that time.
    pub fn status_change(&self, place: FlowIndex) -> Option<u64> {
        let flow = self.get(place)?;
        (flow.status != flow.status_told).then_some(flow.status_told)
    }

    /// Sets the base interval of `periodicUpdate` in seconds.
    pub fn set_periodic(&mut self, seconds: u32) {
        self.config.periodic_s = seconds;
    }

    /// A connection request on a connection that is over begins a new flow.
    fn reopens(&self, place: FlowIndex, packet: &Packet<'_>) -> bool {
        use shared::model::flow::{TCP_ACK, TCP_SYN};
        let syn = packet.tcp.as_ref().is_some_and(|t| t.flags & (TCP_SYN | TCP_ACK) == TCP_SYN);
        syn && self.get(place).is_some_and(|f| f.tcp.is_over())
    }

    fn update(
        &mut self,
        place: FlowIndex,
        packet: &Packet<'_>,
        forward: bool,
        now: Timestamp,
        events: &mut Vec<FlowEvent>,
    ) {
        let Some(flow) = self.flows.get_mut(place as usize) else { return };
        let from_client = forward == flow.client_is_low();
        self.touched.note(place, flow);
        let was_over = flow.tcp.is_over();
        if let (0, Some(mac)) = (flow.macs[usize::from(!from_client)], packet.src_mac) {
            flow.macs[usize::from(!from_client)] = self.macs.number(mac);
        }
        let segment = flow.count(packet, from_client, now, &mut self.holes);
        if flow.marks.has(Marks::EARLY) {
            self.detection.acknowledged(flow, packet, from_client, now, &mut self.names);
        }
        // A copy would be joined to the message it belongs to a second time.
        if packet.payload_len > 0
            && (segment.old < packet.payload_len || flow.marks.has(Marks::EARLY))
            && !tcp::is_keepalive(packet)
            && Detection::wants(flow)
            && matches!(packet.l4, L4::TCP | L4::UDP)
        {
            self.detection.read(flow, packet, segment, from_client, now, &mut self.names);
        }
        let first_word =
            (flow.payloads == 1 || flow.marks.has(Marks::EARLY)) && !flow.marks.has(Marks::DECIDED);
        remarks::note(flow, packet);
        remarks::name_by_number(flow, packet);
        if flow.marks.has(Marks::DECIDED) && !flow.marks.has(Marks::DETECTED) {
            flow.marks.set(Marks::DETECTED, true);
            events.push(FlowEvent::ProtocolDetected(place));
        }
        if flow.status != flow.status_told {
            events.push(FlowEvent::StatusChanged { flow: place, old: flow.status_told });
        }
        if !was_over && flow.tcp.is_over() {
            self.set_timer(place, now.plus_secs(i64::from(self.config.closed_s)));
        } else if first_word {
            self.set_timer(place, now.plus_secs(i64::from(self.config.silence_s)));
        }
    }

    fn insert(&mut self, hash: u64, flow: Flow) -> FlowIndex {
        let place = match self.free.pop() {
            Some(place) => {
                self.flows[place as usize] = flow;
                place
            }
            None => {
                self.flows.push(flow);
                (self.flows.len() - 1) as FlowIndex
            }
        };
        self.index.insert(hash, place);
        place
    }

    fn set_timer(&mut self, place: FlowIndex, at: Timestamp) {
        if let Some(wheel) = &mut self.wheel {
            wheel.set(place, at);
        }
    }
}

mod collected;
mod eviction;
mod settle;
mod wake;

pub use settle::Settle;

#[cfg(test)]
mod tests;
