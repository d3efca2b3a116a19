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
use crate::model::flow::FlowSide;
use crate::model::{AppCategory, Breed, FlowRecord, L4, Timestamp};

mod column;
mod dictionary;
mod info;
pub(crate) mod value;
mod writer;

use dictionary::Texts;
use value::{
    CLIENT_LOCAL, COLLECTED, FRAGMENTED, HANDSHAKE_OK, SERVER_LOCAL, direction_from_wire, end_from_wire,
    icmp_from_wire, l7_source_from_wire, tcp_state_from_wire,
};
pub use writer::{FlowBatchWriter, WrittenBatch};

#[cfg(test)]
pub(crate) mod tests;

const WHAT: &str = "flow batch";

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

fn malformed(cause: &impl std::fmt::Display) -> WireError {
    WireError::malformed(WHAT, cause)
}
