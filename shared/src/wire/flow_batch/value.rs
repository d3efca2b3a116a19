//! Values of a flow as numbers: on the wire, and in what a store packs.

use super::{WHAT, malformed};
use crate::model::flow::DirectionCounters;
use crate::model::pool::Mac;
use crate::model::{FlowEnd, FlowRecord, L7Source, TcpState};
use crate::wire::delta::mac_from_wire;
use crate::wire::{WireError, proto};

/// Bits of the flags.
pub const CLIENT_LOCAL: u32 = 1;
pub const SERVER_LOCAL: u32 = 2;
pub const HANDSHAKE_OK: u32 = 4;
pub const COLLECTED: u32 = 8;
pub const FRAGMENTED: u32 = 16;

pub fn flags(flow: &FlowRecord) -> u32 {
    let bit = |set: bool, bit: u32| if set { bit } else { 0 };
    bit(flow.client.local, CLIENT_LOCAL)
        | bit(flow.server.local, SERVER_LOCAL)
        | bit(flow.handshake_ok, HANDSHAKE_OK)
        | bit(flow.collected, COLLECTED)
        | bit(flow.fragmented, FRAGMENTED)
}

pub fn direction_from_wire(wire: &proto::Direction) -> Result<DirectionCounters, WireError> {
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

pub fn direction_to_wire(counters: &DirectionCounters) -> proto::Direction {
    proto::Direction {
        packets: counters.packets,
        bytes: counters.bytes,
        goodput_bytes: counters.goodput_bytes,
        retransmissions: counters.retransmissions,
        out_of_order: counters.out_of_order,
        zero_windows: counters.zero_windows,
        tcp_flags: counters.tcp_flags.into(),
        resets: counters.resets.into(),
        tos: counters.tos.into(),
        ip_flags: counters.ip_flags.into(),
        lost: counters.lost,
    }
}

/// 6 bytes, or none when unknown.
pub fn mac(bytes: &[u8]) -> Result<Option<Mac>, WireError> {
    mac_from_wire(bytes, WHAT)
}

pub fn icmp_to_wire(icmp: Option<(u8, u8)>) -> u32 {
    icmp.map_or(0, |(kind, code)| 1 + u32::from(kind) * 256 + u32::from(code))
}

pub fn icmp_from_wire(wire: u32) -> Result<Option<(u8, u8)>, WireError> {
    let Some(packed) = wire.checked_sub(1) else {
        return Ok(None);
    };
    let packed = u16::try_from(packed).map_err(|e| malformed(&e))?;
    let [kind, code] = packed.to_be_bytes();
    Ok(Some((kind, code)))
}

pub fn tcp_state_to_wire(state: TcpState) -> u32 {
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
pub fn tcp_state_from_wire(wire: u32) -> TcpState {
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

pub fn l7_source_to_wire(source: L7Source) -> u32 {
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
pub fn l7_source_from_wire(wire: u32) -> L7Source {
    match wire {
        1 => L7Source::Payload,
        2 => L7Source::PortGuess,
        3 => L7Source::L4,
        4 => L7Source::Collected,
        5 => L7Source::Announced,
        _ => L7Source::Unknown,
    }
}

pub fn end_to_wire(end: Option<FlowEnd>) -> u32 {
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
pub fn end_from_wire(wire: u32) -> Option<FlowEnd> {
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
