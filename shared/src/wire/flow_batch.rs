//! Ended flows of one interface on the wire.
//!
//! [`FlowBatch`] is the plain form, `proto::FlowBatch` the columnar one. A column whose values are
//! all the default is left out; any other length than the number of rows makes the whole message
//! malformed. Layer-7 names and application data are texts in a dictionary.

use bytes::Bytes;
use prost::Message;

use super::compression::plain;
use super::delta::{Producer, address_from_wire, mac_from_wire};
use super::{WireError, proto};
use crate::model::flow::{DirectionCounters, FlowSide};
use crate::model::{AppCategory, Breed, FlowEnd, FlowRecord, L4, L7Source, TcpState, Timestamp};

mod column;
mod dictionary;
mod info;
mod writer;

use dictionary::Texts;
pub use writer::{FlowBatchWriter, WrittenBatch};

#[cfg(test)]
mod tests;

const WHAT: &str = "flow batch";

const CLIENT_LOCAL: u32 = 1;
const SERVER_LOCAL: u32 = 2;
const HANDSHAKE_OK: u32 = 4;
const COLLECTED: u32 = 8;
const FRAGMENTED: u32 = 16;

/// Flows of one interface. Every flow's `ifid` is the producer's; it does not travel twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FlowBatch {
    /// Who saw the flows.
    pub producer: Producer,
    /// The flows, in the order in which they ended.
    pub flows: Vec<FlowRecord>,
}

impl FlowBatch {
    /// The message's bytes (`flowhook.v1.FlowBatch`).
    pub fn encode(&self) -> Bytes {
        let mut writer = FlowBatchWriter::default();
        self.flows.iter().for_each(|flow| writer.push(flow));
        writer.finish(self.producer.clone()).message()
    }

    /// Reads a message, [compressed](super::compression) or not.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are no `FlowBatch`, it names no producer, columns differ in
    /// length, or a value is out of its range.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes = plain(bytes, WHAT)?;
        let mut batch = proto::FlowBatch::decode(&*bytes).map_err(|e| malformed(&e))?;
        let producer = Producer::from_proto(batch.producer.take(), WHAT)?;
        check_lengths(&mut batch)?;
        let mut texts = Texts::new(std::mem::take(&mut batch.dictionary));
        let rows = 0..batch.ids.len();
        let mut flows = rows
            .map(|row| read_row(&batch, row, producer.ifid, &mut texts))
            .collect::<Result<Vec<_>, _>>()?;
        info::from_wire(&batch.text_columns, &batch.number_columns, &texts, &mut flows)?;
        Ok(Self { producer, flows })
    }
}

fn read_row(b: &proto::FlowBatch, row: usize, ifid: u32, texts: &mut Texts) -> Result<FlowRecord, WireError> {
    let flags = b.flags[row];
    let side = |address: &[u8], port: u32, mac: &[u8], local: u32| {
        Ok::<_, WireError>(FlowSide {
            ip: address_from_wire(address, WHAT)?,
            port: u16::try_from(port).map_err(|e| malformed(&e))?,
            mac: mac_from_wire(mac, WHAT)?,
            local: flags & local != 0,
        })
    };
    Ok(FlowRecord {
        id: b.ids[row],
        ifid,
        vlan: u16::try_from(b.vlans[row]).map_err(|e| malformed(&e))?,
        inner_vlan: u16::try_from(b.inner_vlans[row]).map_err(|e| malformed(&e))?,
        l4: L4(u8::try_from(b.l4[row]).map_err(|e| malformed(&e))?),
        client: side(&b.client_addresses[row], b.client_ports[row], &b.client_macs[row], CLIENT_LOCAL)?,
        server: side(&b.server_addresses[row], b.server_ports[row], &b.server_macs[row], SERVER_LOCAL)?,
        cli2srv: direction_from_wire(&b.cli2srv[row])?,
        srv2cli: direction_from_wire(&b.srv2cli[row])?,
        first_seen: Timestamp::from_ns(b.first_seen_ns[row]),
        last_seen: Timestamp::from_ns(b.last_seen_ns[row]),
        icmp: icmp_from_wire(b.icmp[row])?,
        tcp_state: tcp_state_from_wire(b.tcp_state[row]),
        handshake_ok: flags & HANDSHAKE_OK != 0,
        rtt_server_us: b.rtt_server_us[row],
        rtt_client_us: b.rtt_client_us[row],
        gap_min_us: b.gap_min_us[row],
        gap_max_us: b.gap_max_us[row],
        gap_deviation_us: b.gap_deviation_us[row],
        reply_us: b.reply_us[row],
        fragmented: flags & FRAGMENTED != 0,
        l7: texts.text(b.l7[row])?,
        // A kind of a later version reads as not known.
        l7_category: AppCategory::parse(&texts.text(b.l7_category[row])?).unwrap_or_default(),
        l7_breed: Breed::parse(&texts.text(b.l7_breed[row])?).unwrap_or_default(),
        l7_source: l7_source_from_wire(b.l7_source[row]),
        info: texts.info(b.info[row])?,
        status: b.status[row],
        score: b.score[row],
        collected: flags & COLLECTED != 0,
        export: texts.export(b.export[row])?,
        earlier_s: b.earlier_s[row],
        top_score: b.top_score[row],
        l7_payloads: b.l7_payloads[row],
        geo: texts.geo(b.geo[row])?,
        end: end_from_wire(b.end[row]),
    })
}

/// Fills columns that were left out, and refuses any other difference in length.
fn check_lengths(batch: &mut proto::FlowBatch) -> Result<(), WireError> {
    fn check(name: &str, len: usize, rows: usize) -> Result<(), WireError> {
        if len == rows {
            return Ok(());
        }
        Err(malformed(&format!("{name} has {len} values for {rows} rows")))
    }
    let rows = batch.ids.len();
    macro_rules! required {
        ($($column:ident),+) => {$( check(stringify!($column), batch.$column.len(), rows)?; )+};
    }
    macro_rules! optional {
        ($($column:ident),+) => {$(
            if batch.$column.is_empty() {
                batch.$column.resize_with(rows, Default::default);
            }
            check(stringify!($column), batch.$column.len(), rows)?;
        )+};
    }
    // The required ones come first: they bound what the others are filled up to.
    required!(l4, client_addresses, server_addresses, cli2srv, srv2cli, first_seen_ns, last_seen_ns);
    optional!(vlans, client_ports, server_ports, client_macs, server_macs, flags, icmp, tcp_state);
    optional!(rtt_client_us, rtt_server_us, l7, l7_source, info, status, score, end);
    optional!(gap_min_us, gap_max_us, gap_deviation_us, l7_category, l7_breed, export, earlier_s, geo);
    optional!(reply_us, top_score, l7_payloads, inner_vlans);
    Ok(())
}

fn flags(flow: &FlowRecord) -> u32 {
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    bit(flow.client.local, CLIENT_LOCAL)
        | bit(flow.server.local, SERVER_LOCAL)
        | bit(flow.handshake_ok, HANDSHAKE_OK)
        | bit(flow.collected, COLLECTED)
        | bit(flow.fragmented, FRAGMENTED)
}

fn direction_from_wire(wire: &proto::Direction) -> Result<DirectionCounters, WireError> {
    Ok(DirectionCounters {
        packets: wire.packets,
        bytes: wire.bytes,
        goodput_bytes: wire.goodput_bytes,
        retransmissions: wire.retransmissions,
        out_of_order: wire.out_of_order,
        zero_windows: wire.zero_windows,
        tcp_flags: u8::try_from(wire.tcp_flags).map_err(|e| malformed(&e))?,
        resets: u16::try_from(wire.resets).map_err(|e| malformed(&e))?,
        tos: u8::try_from(wire.tos).map_err(|e| malformed(&e))?,
        ip_flags: u8::try_from(wire.ip_flags).map_err(|e| malformed(&e))?,
        lost: wire.lost,
    })
}

fn icmp_from_wire(wire: u32) -> Result<Option<(u8, u8)>, WireError> {
    let Some(packed) = wire.checked_sub(1) else {
        return Ok(None);
    };
    let packed = u16::try_from(packed).map_err(|e| malformed(&e))?;
    let [kind, code] = packed.to_be_bytes();
    Ok(Some((kind, code)))
}

fn tcp_state_to_wire(state: TcpState) -> u32 {
    match state {
        TcpState::None => 0,
        TcpState::SynSent => 1,
        TcpState::SynReceived => 2,
        TcpState::Established => 3,
        TcpState::Midstream => 4,
        TcpState::Closing => 5,
        TcpState::Closed => 6,
        TcpState::Reset => 7,
    }
}

/// A state of a later version reads as none.
fn tcp_state_from_wire(wire: u32) -> TcpState {
    match wire {
        1 => TcpState::SynSent,
        2 => TcpState::SynReceived,
        3 => TcpState::Established,
        4 => TcpState::Midstream,
        5 => TcpState::Closing,
        6 => TcpState::Closed,
        7 => TcpState::Reset,
        _ => TcpState::None,
    }
}

fn l7_source_to_wire(source: L7Source) -> u32 {
    match source {
        L7Source::Unknown => 0,
        L7Source::Payload => 1,
        L7Source::PortGuess => 2,
        L7Source::L4 => 3,
        L7Source::Collected => 4,
        L7Source::Announced => 5,
    }
}

/// A source of a later version reads as unknown.
fn l7_source_from_wire(wire: u32) -> L7Source {
    match wire {
        1 => L7Source::Payload,
        2 => L7Source::PortGuess,
        3 => L7Source::L4,
        4 => L7Source::Collected,
        5 => L7Source::Announced,
        _ => L7Source::Unknown,
    }
}

fn end_to_wire(end: Option<FlowEnd>) -> u32 {
    match end {
        None => 0,
        Some(FlowEnd::Idle) => 1,
        Some(FlowEnd::Closed) => 2,
        Some(FlowEnd::Active) => 3,
        Some(FlowEnd::Evicted) => 4,
        Some(FlowEnd::Shutdown) => 5,
        Some(FlowEnd::EndOfFile) => 6,
    }
}

/// A reason of a later version reads as idle: that the flow has ended matters more than why.
fn end_from_wire(wire: u32) -> Option<FlowEnd> {
    match wire {
        0 => None,
        2 => Some(FlowEnd::Closed),
        3 => Some(FlowEnd::Active),
        4 => Some(FlowEnd::Evicted),
        5 => Some(FlowEnd::Shutdown),
        6 => Some(FlowEnd::EndOfFile),
        _ => Some(FlowEnd::Idle),
    }
}

fn malformed(cause: &impl std::fmt::Display) -> WireError {
    WireError::malformed(WHAT, cause)
}
