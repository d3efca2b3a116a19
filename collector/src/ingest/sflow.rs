//! sFlow version 5 (sflow.org/sflow_version_5.txt): sampled packet headers and interface counters.
//!
//! A sampled header goes through the collector's own [`Decoder`]; the flow it makes
//! counts one packet and its frame's length, times the sampling rate. sFlow has no wall-clock time:
//! the time of arrival counts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shared::model::L4;

use super::exporter::ExportClock;
use super::registry::{MAX_RECORD_AGE_NS, Session};
use super::sequence::{Arrival, Sequence};
use super::template::DomainKey;
use super::{CollectedFlow, Counters, IngestError};
use crate::capture::{LinkType, PacketDesc};
use crate::decode::{Decoded, Decoder};

/// A datagram or sample number this far from the expected one is a restart.
const WINDOW: u32 = 1 << 16;

/// sFlow's place among the versions of [`DomainKey`].
const VERSION: u8 = 105;

/// Reads XDR (RFC 4506): big-endian numbers of four bytes, opaque data padded to four.
#[derive(Clone, Copy, Debug)]
struct Xdr<'a>(&'a [u8]);

impl<'a> Xdr<'a> {
    fn u32(&mut self) -> Option<u32> {
        let (raw, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*raw))
    }

    fn bytes(&mut self, length: u32) -> Option<&'a [u8]> {
        let length = usize::try_from(length).ok()?;
        let (raw, rest) = self.0.split_at_checked(length)?;
        // The last one may come without its padding.
        self.0 = rest.get(length.next_multiple_of(4) - length..).unwrap_or_default();
        Some(raw)
    }

    fn opaque(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(length)
    }

    fn address(&mut self) -> Option<Option<IpAddr>> {
        let address = match self.u32()? {
            1 => IpAddr::V4(Ipv4Addr::from(self.u32()?)),
            2 => IpAddr::V6(Ipv6Addr::from(*self.bytes(16)?.first_chunk::<16>()?)),
            0 => return Some(None),
            _ => return None,
        };
        Some(Some(address).filter(|ip| !ip.is_unspecified()))
    }
}

/// Reads one datagram.
///
/// # Errors
/// What is wrong with it; samples before the damage were read.
pub fn decode(
    bytes: &[u8],
    session: &mut Session<'_>,
    out: &mut Vec<CollectedFlow>,
) -> Result<ExportClock, IngestError> {
    let mut xdr = Xdr(bytes);
    let header = read_header(&mut xdr).ok_or(IngestError::Header)?;
    let agent = header.agent.unwrap_or(session.from);
    let key = DomainKey { version: VERSION, id: header.sub_agent, agent: number_of(agent) };
    let mut clock = ExportClock::plain(session.received);
    clock.uptime_ms = Some(header.uptime_ms);
    if session.domain(key) {
        session.exporter.uptime(key, header.uptime_ms);
        session.exporter.sequence(key, header.sequence, Some(1), WINDOW);
    }
    for _ in 0..header.samples {
        let kind = xdr.u32().ok_or(IngestError::Sample)?;
        let sample = Xdr(xdr.opaque().ok_or(IngestError::Sample)?);
        match kind {
            1 | 3 => {
                let sample = FlowSample::read(sample, kind == 3).ok_or(IngestError::Sample)?;
                sample.count_lost(session, &header, agent);
                sample.flow(session, agent, header.sub_agent, &clock, out)?;
            }
            2 | 4 => session.exporter.stats.counter_samples += 1,
            // Samples of vendors, and of event notifications.
            _ => {}
        }
    }
    Ok(clock)
}

struct Header {
    agent: Option<IpAddr>,
    sub_agent: u32,
    sequence: u32,
    uptime_ms: u32,
    samples: u32,
}

fn read_header(xdr: &mut Xdr<'_>) -> Option<Header> {
    let _version = xdr.u32()?;
    Some(Header {
        agent: xdr.address()?,
        sub_agent: xdr.u32()?,
        sequence: xdr.u32()?,
        uptime_ms: xdr.u32()?,
        samples: xdr.u32()?,
    })
}

/// A number for an agent's address; those of IPv6 are folded.
fn number_of(agent: IpAddr) -> u64 {
    match agent {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => {
            let ip = u128::from(ip);
            (ip >> 64) as u64 ^ (ip as u64) | 1 << 63
        }
    }
}

struct FlowSample<'a> {
    sequence: u32,
    source: u32,
    rate: u32,
    input: u32,
    output: u32,
    records: u32,
    body: Xdr<'a>,
}

impl<'a> FlowSample<'a> {
    fn read(mut xdr: Xdr<'a>, expanded: bool) -> Option<Self> {
        let sequence = xdr.u32()?;
        let source = match expanded {
            // Class and index apart; the class makes sources of one index differ.
            true => xdr.u32()? << 24 ^ xdr.u32()?,
            false => xdr.u32()?,
        };
        let rate = xdr.u32()?;
        let (_pool, _drops) = (xdr.u32()?, xdr.u32()?);
        let mut interface = || match expanded {
            // Format 0 is a single interface; the others say "dropped" and "several".
            true => Some((xdr.u32()?, xdr.u32()?)).map(|(format, value)| if format == 0 { value } else { 0 }),
            false => xdr.u32().map(|value| if value >> 30 == 0 { value } else { 0 }),
        };
        let (input, output) = (interface()?, interface()?);
        let input = if input == 0x3fff_ffff || input == u32::MAX { 0 } else { input };
        let output = if output == 0x3fff_ffff || output == u32::MAX { 0 } else { output };
        let records = xdr.u32()?;
        Some(Self { sequence, source, rate, input, output, records, body: xdr })
    }

    /// Samples are numbered per source: what is missing was lost with datagrams or by the agent.
    fn count_lost(&self, session: &mut Session<'_>, header: &Header, agent: IpAddr) {
        let source = DomainKey {
            version: VERSION + 1,
            id: self.source,
            agent: number_of(agent) ^ u64::from(header.sub_agent) << 32,
        };
        let limit = session.limits.domains;
        let Some(domain) = session.exporter.domain(source, limit) else { return };
        let sequence: &mut Sequence = &mut domain.sequence;
        match sequence.arrive(self.sequence, 1, WINDOW) {
            Arrival::Lost(units) => session.exporter.stats.samples_lost += u64::from(units),
            Arrival::Late(units) => {
                let lost = &mut session.exporter.stats.samples_lost;
                *lost = lost.saturating_sub(units.into());
            }
            Arrival::InOrder | Arrival::Restarted => {}
        }
    }

    /// Makes one flow of the sample's records; none when the packet was not IP.
    fn flow(
        mut self,
        session: &mut Session<'_>,
        agent: IpAddr,
        sub_agent: u32,
        clock: &ExportClock,
        out: &mut Vec<CollectedFlow>,
    ) -> Result<(), IngestError> {
        let mut flow = CollectedFlow::of(agent, sub_agent);
        flow.input = self.input;
        flow.output = self.output;
        flow.first = clock.event;
        flow.last = clock.event;
        let mut known = false;
        for _ in 0..self.records {
            let format = self.body.u32().ok_or(IngestError::Sample)?;
            let record = Xdr(self.body.opaque().ok_or(IngestError::Sample)?);
            // A record that ends early says nothing; the others still do.
            known |= match format {
                1 => sampled_header(record, &mut flow, clock, session.decoder),
                3 => sampled_ip(record, false, &mut flow),
                4 => sampled_ip(record, true, &mut flow),
                1001 => extended_switch(record, &mut flow),
                1002 => extended_router(record, &mut flow),
                1003 => extended_gateway(record, &mut flow),
                _ => None,
            }
            .unwrap_or(false);
        }
        if known {
            flow.scale(self.rate);
            session.accept(flow, clock, MAX_RECORD_AGE_NS, out);
        }
        Ok(())
    }
}

/// The first bytes of the packet as it was on the wire; true when it is IP.
fn sampled_header(
    mut xdr: Xdr<'_>,
    flow: &mut CollectedFlow,
    clock: &ExportClock,
    decoder: &mut Decoder,
) -> Option<bool> {
    let link = match xdr.u32()? {
        1 => LinkType::ETHERNET,
        7 => LinkType::PPP,
        11 => LinkType::IPV4,
        12 => LinkType::IPV6,
        _ => return None,
    };
    let length = xdr.u32()?;
    let _stripped = xdr.u32()?;
    let frame = xdr.opaque()?;
    let captured = u32::try_from(frame.len()).ok()?;
    let length = length.max(captured);
    let desc = PacketDesc { ts: clock.event, offset: 0, captured, length, link, interface: 0 };
    let Ok(Decoded::Packet(packet)) = decoder.decode(&desc, frame) else { return Some(false) };
    flow.src = packet.src;
    flow.dst = packet.dst;
    flow.src_port = packet.src_port;
    flow.dst_port = packet.dst_port;
    flow.l4 = packet.l4;
    flow.tcp_flags = packet.tcp.as_ref().map_or(0, |tcp| tcp.flags);
    flow.icmp = packet.icmp;
    flow.tos = packet.tos;
    flow.src_mac = packet.src_mac;
    flow.dst_mac = packet.dst_mac;
    if packet.vlan != 0 {
        flow.vlan = packet.vlan;
    }
    flow.forward = Counters { packets: 1, bytes: length.into() };
    Some(true)
}

/// The packet's addresses, ports and flags, from agents that do not send headers.
fn sampled_ip(mut xdr: Xdr<'_>, v6: bool, flow: &mut CollectedFlow) -> Option<bool> {
    let length = xdr.u32()?;
    let l4 = xdr.u32()?;
    let mut address = || match v6 {
        true => xdr.bytes(16)?.first_chunk::<16>().map(|raw| IpAddr::V6(Ipv6Addr::from(*raw))),
        false => xdr.u32().map(|number| IpAddr::V4(Ipv4Addr::from(number))),
    };
    (flow.src, flow.dst) = (address()?, address()?);
    (flow.src_port, flow.dst_port) = (xdr.u32()? as u16, xdr.u32()? as u16);
    (flow.tcp_flags, flow.tos) = (xdr.u32()? as u8, xdr.u32()? as u8);
    flow.l4 = L4(l4 as u8);
    flow.forward = Counters { packets: 1, bytes: length.into() };
    Some(true)
}

fn extended_switch(mut xdr: Xdr<'_>, flow: &mut CollectedFlow) -> Option<bool> {
    let vlan = xdr.u32()?;
    if flow.vlan == 0 && vlan < 4096 {
        flow.vlan = vlan as u16;
    }
    Some(false)
}

fn extended_router(mut xdr: Xdr<'_>, flow: &mut CollectedFlow) -> Option<bool> {
    flow.next_hop = xdr.address()?;
    Some(false)
}

/// The autonomous systems; of the receiver's path the last.
fn extended_gateway(mut xdr: Xdr<'_>, flow: &mut CollectedFlow) -> Option<bool> {
    let next_hop = xdr.address()?;
    flow.next_hop = flow.next_hop.or(next_hop);
    let _own = xdr.u32()?;
    flow.src_as = xdr.u32()?;
    let _peer = xdr.u32()?;
    for _ in 0..xdr.u32()? {
        let _segment = xdr.u32()?;
        for _ in 0..xdr.u32()? {
            flow.dst_as = xdr.u32()?;
        }
    }
    Some(false)
}
