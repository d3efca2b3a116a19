//! Writes flows into the columns of a batch, one flow after the other.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::FlowBatch;
use super::column::{self, Blobs, Fixed, Numbers};
use super::dictionary::Dictionary;
use super::info::InfoColumns;
use super::value::{end_to_wire, flags, icmp_to_wire, l7_source_to_wire, tcp_state_to_wire};
use crate::model::flow::DirectionCounters;
use crate::model::{AppCategory, Breed, FlowRecord};
use crate::wire::WireError;
use crate::wire::delta::Producer;

/// A batch being written; keeps its memory for the next one.
#[derive(Debug)]
pub struct FlowBatchWriter {
    rows: u32,
    texts: Dictionary,
    known: [Option<Known>; 16],
    ids: Numbers,
    vlans: Numbers,
    inner_vlans: Numbers,
    l4: Numbers,
    client_addresses: Blobs,
    server_addresses: Blobs,
    client_ports: Numbers,
    server_ports: Numbers,
    client_macs: Blobs,
    server_macs: Blobs,
    flags: Numbers,
    cli2srv: Blobs,
    srv2cli: Blobs,
    icmp: Numbers,
    first_seen: Fixed,
    last_seen: Fixed,
    tcp_state: Numbers,
    rtt_client: Numbers,
    rtt_server: Numbers,
    l7: Numbers,
    l7_source: Numbers,
    status: Fixed,
    score: Numbers,
    end: Numbers,
    gap_min: Numbers,
    gap_max: Numbers,
    gap_deviation: Numbers,
    reply: Numbers,
    l7_category: Numbers,
    l7_breed: Numbers,
    export: Numbers,
    earlier_s: Numbers,
    top_score: Numbers,
    l7_payloads: Numbers,
    geo: Numbers,
    info: InfoColumns,
}

/// What a flow speaks, and the numbers of the texts that say so.
#[derive(Debug)]
struct Known {
    l7: Arc<str>,
    category: AppCategory,
    breed: Breed,
    numbers: [u32; 3],
}

impl Default for FlowBatchWriter {
    fn default() -> Self {
        Self {
            rows: 0,
            texts: Dictionary::default(),
            known: Default::default(),
            ids: Numbers::default(),
            vlans: Numbers::default(),
            inner_vlans: Numbers::default(),
            l4: Numbers::default(),
            client_addresses: Blobs::new(6),
            server_addresses: Blobs::new(7),
            client_ports: Numbers::default(),
            server_ports: Numbers::default(),
            client_macs: Blobs::new(10),
            server_macs: Blobs::new(11),
            flags: Numbers::default(),
            cli2srv: Blobs::new(13),
            srv2cli: Blobs::new(14),
            icmp: Numbers::default(),
            first_seen: Fixed::default(),
            last_seen: Fixed::default(),
            tcp_state: Numbers::default(),
            rtt_client: Numbers::default(),
            rtt_server: Numbers::default(),
            l7: Numbers::default(),
            l7_source: Numbers::default(),
            status: Fixed::default(),
            score: Numbers::default(),
            end: Numbers::default(),
            gap_min: Numbers::default(),
            gap_max: Numbers::default(),
            gap_deviation: Numbers::default(),
            reply: Numbers::default(),
            l7_category: Numbers::default(),
            l7_breed: Numbers::default(),
            export: Numbers::default(),
            earlier_s: Numbers::default(),
            top_score: Numbers::default(),
            l7_payloads: Numbers::default(),
            geo: Numbers::default(),
            info: InfoColumns::default(),
        }
    }
}

impl FlowBatchWriter {
    /// Flows written so far.
    pub fn len(&self) -> usize {
        self.rows as usize
    }

    /// True before the first flow.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Appends a flow.
    pub fn push(&mut self, flow: &FlowRecord) {
        self.ids.push(flow.id);
        self.vlans.push(flow.vlan);
        self.inner_vlans.push(flow.inner_vlan);
        self.l4.push(flow.l4.0);
        address(&mut self.client_addresses, flow.client.ip);
        address(&mut self.server_addresses, flow.server.ip);
        self.client_ports.push(flow.client.port);
        self.server_ports.push(flow.server.port);
        self.client_macs.push(flow.client.mac.as_ref().map_or(&[], |mac| mac.as_slice()));
        self.server_macs.push(flow.server.mac.as_ref().map_or(&[], |mac| mac.as_slice()));
        self.flags.push(flags(flow));
        direction(&mut self.cli2srv, &flow.cli2srv);
        direction(&mut self.srv2cli, &flow.srv2cli);
        self.icmp.push(icmp_to_wire(flow.icmp));
        self.first_seen.push(flow.first_seen.ns() as u64);
        self.last_seen.push(flow.last_seen.ns() as u64);
        self.tcp_state.push(tcp_state_to_wire(flow.tcp_state));
        self.rtt_client.push(flow.rtt_client_us);
        self.rtt_server.push(flow.rtt_server_us);
        let [l7, category, breed] = self.kinds(flow);
        self.l7.push(l7);
        self.l7_source.push(l7_source_to_wire(flow.l7_source));
        self.status.push(flow.status);
        self.score.push(flow.score);
        self.end.push(end_to_wire(flow.end));
        self.gap_min.push(flow.gap_min_us);
        self.gap_max.push(flow.gap_max_us);
        self.gap_deviation.push(flow.gap_deviation_us);
        self.reply.push(flow.reply_us);
        self.l7_category.push(category);
        self.l7_breed.push(breed);
        self.export.push(self.texts.export(flow.export.as_deref()));
        self.earlier_s.push(flow.earlier_s);
        self.top_score.push(flow.top_score);
        self.l7_payloads.push(flow.l7_payloads);
        self.geo.push(self.texts.geo(flow.geo.as_deref()));
        self.info.push(self.rows, &flow.info, &mut self.texts);
        self.rows += 1;
    }

    /// Numbers of the texts that say what a flow speaks. Most flows share theirs with one just before,
    /// down to the memory they lie in, which is kept so that it stays theirs.
    fn kinds(&mut self, flow: &FlowRecord) -> [u32; 3] {
        let place = Arc::as_ptr(&flow.l7).cast::<u8>() as usize / 16 % self.known.len();
        if let Some(known) = &self.known[place]
            && Arc::ptr_eq(&known.l7, &flow.l7)
            && (known.category, known.breed) == (flow.l7_category, flow.l7_breed)
        {
            return known.numbers;
        }
        let numbers = [
            self.texts.index(&flow.l7),
            self.texts.index(kind(flow.l7_category, AppCategory::name)),
            self.texts.index(kind(flow.l7_breed, Breed::name)),
        ];
        let (l7, category, breed) = (Arc::clone(&flow.l7), flow.l7_category, flow.l7_breed);
        self.known[place] = Some(Known { l7, category, breed, numbers });
        numbers
    }

    /// Bytes of all texts so far, each counted once.
    pub fn text_len(&self) -> usize {
        self.texts.len()
    }

    /// What was written; begins anew.
    pub fn finish(&mut self, producer: Producer) -> WrittenBatch {
        let mut to = Vec::with_capacity(128 * self.len() + self.texts.len());
        self.known = Default::default();
        self.texts.finish(&mut to);
        self.ids.finish_whole(&mut to, 3);
        self.vlans.finish(&mut to, 4);
        self.l4.finish_whole(&mut to, 5);
        self.client_addresses.finish(&mut to);
        self.server_addresses.finish(&mut to);
        self.client_ports.finish(&mut to, 8);
        self.server_ports.finish(&mut to, 9);
        self.client_macs.finish(&mut to);
        self.server_macs.finish(&mut to);
        self.flags.finish(&mut to, 12);
        self.cli2srv.finish(&mut to);
        self.srv2cli.finish(&mut to);
        self.icmp.finish(&mut to, 15);
        self.first_seen.finish_whole(&mut to, 16);
        self.last_seen.finish_whole(&mut to, 17);
        self.tcp_state.finish(&mut to, 18);
        self.rtt_client.finish(&mut to, 19);
        self.rtt_server.finish(&mut to, 20);
        self.l7.finish(&mut to, 21);
        self.l7_source.finish(&mut to, 22);
        self.status.finish(&mut to, 24);
        self.score.finish(&mut to, 25);
        self.end.finish(&mut to, 26);
        self.gap_min.finish(&mut to, 27);
        self.gap_max.finish(&mut to, 28);
        self.gap_deviation.finish(&mut to, 29);
        self.l7_category.finish(&mut to, 30);
        self.l7_breed.finish(&mut to, 31);
        self.info.finish(&mut to, 32, 33);
        self.export.finish(&mut to, 34);
        self.earlier_s.finish(&mut to, 35);
        self.geo.finish(&mut to, 36);
        self.reply.finish(&mut to, 37);
        self.top_score.finish(&mut to, 38);
        self.l7_payloads.finish(&mut to, 39);
        self.inner_vlans.finish(&mut to, 40);
        let flows = std::mem::take(&mut self.rows) as usize;
        WrittenBatch { producer, flows, columns: to.into() }
    }
}

/// A batch as it goes out. Who saw the flows may still change: their numbering does.
#[derive(Clone, Debug)]
pub struct WrittenBatch {
    /// Who saw the flows.
    pub producer: Producer,
    flows: usize,
    columns: Bytes,
}

impl WrittenBatch {
    /// How many flows.
    pub fn len(&self) -> usize {
        self.flows
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.flows == 0
    }

    /// The message's bytes (`flowhook.v1.FlowBatch`) in two parts, one to follow the other.
    pub fn parts(&self) -> (Vec<u8>, &[u8]) {
        let mut head = Vec::new();
        column::bytes(&mut head, 1, &self.producer.to_proto().encode_to_vec());
        (head, &self.columns)
    }

    /// The message's bytes.
    pub fn message(&self) -> Bytes {
        let (mut message, columns) = self.parts();
        message.extend_from_slice(columns);
        message.into()
    }

    /// The flows again.
    ///
    /// # Errors
    /// [`WireError`] when what was written cannot be read, which would be an error of this program.
    pub fn read(&self) -> Result<FlowBatch, WireError> {
        FlowBatch::decode(&self.message())
    }
}

impl From<FlowBatch> for WrittenBatch {
    fn from(batch: FlowBatch) -> Self {
        let mut writer = FlowBatchWriter::default();
        batch.flows.iter().for_each(|flow| writer.push(flow));
        writer.finish(batch.producer)
    }
}

fn address(column: &mut Blobs, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => column.push(&ip.octets()),
        IpAddr::V6(ip) => column.push(&ip.octets()),
    }
}

/// `flowhook.v1.Direction`: its fields in their order.
fn direction(column: &mut Blobs, counters: &DirectionCounters) {
    column.push_numbers(&[
        counters.packets,
        counters.bytes,
        counters.goodput_bytes,
        counters.retransmissions.into(),
        counters.out_of_order.into(),
        counters.zero_windows.into(),
        counters.tcp_flags.into(),
        counters.resets.into(),
        counters.tos.into(),
        counters.ip_flags.into(),
        counters.lost.into(),
    ]);
}

/// The name of a kind; the default kind is no text.
fn kind<T: Default + PartialEq>(kind: T, name: fn(T) -> &'static str) -> &'static str {
    if kind == T::default() { "" } else { name(kind) }
}
