//! Collected flows enter the same table as packets: records of one conversation join in one flow,
//! whichever way they look.

use shared::model::{FlowEnd, L7Source, Timestamp};

use super::{FlowEvent, FlowIndex, FlowTable};
use crate::decode::Packet;
use crate::flow::collected::Collected;
use crate::flow::expiry::Wheel;
use crate::flow::marks::Marks;
use crate::flow::opening::Opening;
use crate::flow::state::Flow;
use crate::ingest::CollectedFlow;
use crate::l7::ProtocolId;

impl FlowTable {
    /// Puts a record of an exporter into its flow, at event time `at` (when it was exported). The
    /// protocol counts as detected at once. Returns the flow's place.
    pub fn on_collected(
        &mut self,
        record: &CollectedFlow,
        at: Timestamp,
        events: &mut Vec<FlowEvent>,
    ) -> FlowIndex {
        let now = at.max(self.now);
        self.now = now;
        let packet = first_packet(record, now);
        let lookup = self.look_ahead(&packet);
        let flows = &self.flows;
        let found = self
            .index
            .find(lookup.hash, |place| flows.get(place as usize).is_some_and(|f| f.key.is(&lookup.key)));
        if let Some(found) = found {
            if !self.begins_anew(found, record) {
                self.collect(found, record, lookup.forward, now, events);
                return found;
            }
            self.end(found, FlowEnd::Closed, events);
        }
        if self.index.len() >= self.config.max_flows {
            self.evict(events);
        }
        let id = self.next_id;
        self.next_id += 1;
        let mut flow = Flow::begin(id, &lookup.key, lookup.forward, &packet, now);
        flow.marks.set(Marks::CLIENT_IS_LOW, Opening::of_record(record).by_client() == lookup.forward);
        flow.extra.get_or_insert_default().collected = Some(Box::new(Collected::new(record)));
        let place = self.insert(lookup.hash, flow);
        let places = self.config.max_flows.saturating_add(1);
        self.wheel.get_or_insert_with(|| Wheel::new(now, places));
        self.set_timer(place, now.plus_secs(i64::from(self.config.silence_s)));
        self.collect(place, record, lookup.forward, now, events);
        place
    }

    /// A flow that is over and a record that begins after its end are two connections.
    fn begins_anew(&self, place: FlowIndex, record: &CollectedFlow) -> bool {
        self.get(place).is_some_and(|flow| {
            flow.is_over() && flow.collected().is_some_and(|collected| record.first > collected.last)
        })
    }

    fn collect(
        &mut self,
        place: FlowIndex,
        record: &CollectedFlow,
        forward: bool,
        now: Timestamp,
        events: &mut Vec<FlowEvent>,
    ) {
        let Some(flow) = self.flows.get_mut(place as usize) else { return };
        let from_client = forward == flow.client_is_low();
        self.touched.note(place, flow);
        for (mac, side) in [(record.src_mac, !from_client), (record.dst_mac, from_client)] {
            if let (Some(mac), 0) = (mac, flow.macs[usize::from(side)]) {
                flow.macs[usize::from(side)] = self.macs.number(mac);
            }
        }
        let was_over = flow.is_over();
        flow.collect(record, from_client, now);
        if !flow.marks.has(Marks::DETECTED) {
            let told = record.application.as_deref().and_then(protocol_of);
            match told {
                Some(protocol) => flow.decide(protocol, L7Source::Collected),
                None => flow.give_up(),
            }
            flow.marks.set(Marks::DETECTED, true);
            events.push(FlowEvent::ProtocolDetected(place));
        }
        if flow.status != flow.status_told {
            events.push(FlowEvent::StatusChanged { flow: place, old: flow.status_told });
        }
        if !was_over && flow.is_over() {
            self.set_timer(place, now.plus_secs(i64::from(self.config.closed_s)));
        }
    }
}

/// The protocol that an exporter's name for an application is, when it is one of ours.
fn protocol_of(name: &str) -> Option<ProtocolId> {
    ProtocolId::by_name(name).or_else(|| ProtocolId::all().find(|id| id.name().eq_ignore_ascii_case(name)))
}

/// What the flow's first packet looked like, as far as a record shows.
fn first_packet(record: &CollectedFlow, now: Timestamp) -> Packet<'static> {
    let mut packet = Packet::new(now, 0, record.src, record.dst, record.l4);
    packet.src_port = record.src_port;
    packet.dst_port = record.dst_port;
    packet.vlan = record.vlan;
    packet.icmp = record.icmp;
    packet
}

#[cfg(test)]
mod tests;
