//! NetFlow version 5: a header of 24 bytes and up to 30 records of 48 (Cisco, "NetFlow Export
//! Datagram Formats"). IPv4 only, no templates.

use std::net::{IpAddr, Ipv4Addr};

use shared::model::{L4, Timestamp};

use super::exporter::ExportClock;
use super::registry::{MAX_RECORD_AGE_NS, Session};
use super::template::DomainKey;
use super::{CollectedFlow, Counters, IngestError, be16, be32};

const HEADER: usize = 24;
const RECORD: usize = 48;

/// A flow number this far from the expected one is a restart.
const WINDOW: u32 = 1 << 20;

/// Reads one datagram.
///
/// # Errors
/// [`IngestError::Header`] and [`IngestError::Length`]; nothing of the datagram was taken then.
pub fn decode(
    bytes: &[u8],
    session: &mut Session<'_>,
    out: &mut Vec<CollectedFlow>,
) -> Result<ExportClock, IngestError> {
    let (header, records) = bytes.split_at_checked(HEADER).ok_or(IngestError::Header)?;
    let number = |at| be32(header, at).unwrap_or(0);
    let count = be16(header, 2).unwrap_or(0);
    let records = records.get(..usize::from(count) * RECORD).ok_or(IngestError::Length)?;
    let uptime = number(4);
    let export = Timestamp::from_secs(number(8).into()).plus_ns(number(12).into());
    let engine = be16(header, 20).unwrap_or(0);
    let key = DomainKey { version: 5, id: engine.into(), agent: 0 };
    let clock = session.clock(export, Some(uptime));
    if session.domain(key) {
        session.exporter.uptime(key, uptime);
        session.exporter.sequence(key, number(16), Some(count.into()), WINDOW);
    }
    // The upper two bits are the mode; an interval of 0 or 1 samples nothing.
    let rate = u32::from(be16(header, 22).unwrap_or(0) & 0x3fff);
    for record in records.chunks_exact(RECORD) {
        let mut flow = CollectedFlow::of(session.from, key.id);
        if let Some(record) = record.first_chunk() {
            read(record, &clock, &mut flow);
        }
        flow.scale(rate);
        session.accept(flow, &clock, MAX_RECORD_AGE_NS, out);
    }
    Ok(clock)
}

fn read(raw: &[u8; RECORD], clock: &ExportClock, flow: &mut CollectedFlow) {
    let u16_at = |at: usize| u16::from_be_bytes([raw[at], raw[at + 1]]);
    let u32_at = |at: usize| u32::from_be_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]]);
    let ip_at = |at: usize| IpAddr::V4(Ipv4Addr::from(u32_at(at)));
    let time_at = |at: usize| {
        let ns = clock.at_uptime(u32_at(at)).unwrap_or(clock.export.ns());
        Timestamp::from_ns(ns.saturating_add(clock.shift_ns))
    };
    flow.src = ip_at(0);
    flow.dst = ip_at(4);
    flow.next_hop = Some(ip_at(8)).filter(|ip| !ip.is_unspecified());
    flow.input = u16_at(12).into();
    flow.output = u16_at(14).into();
    flow.forward = Counters { packets: u32_at(16).into(), bytes: u32_at(20).into() };
    flow.first = time_at(24);
    flow.last = time_at(28);
    flow.src_port = u16_at(32);
    flow.dst_port = u16_at(34);
    flow.tcp_flags = raw[37];
    flow.l4 = L4(raw[38]);
    flow.tos = raw[39];
    flow.src_as = u16_at(40).into();
    flow.dst_as = u16_at(42).into();
}
