//! TCP (RFC 9293), UDP (RFC 768), ICMP (RFC 792, RFC 4443), SCTP (RFC 9260).

use shared::model::L4;

use super::ip::Network;
use super::span::{be16, be32};
use super::{DecodeError, Fragment, TcpHeader};

const SCTP: L4 = L4(132);

#[derive(Default)]
pub(super) struct Transport<'a> {
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) tcp: Option<TcpHeader>,
    pub(super) icmp: Option<(u8, u8)>,
    pub(super) payload: &'a [u8],
    pub(super) payload_len: u32,
}

/// Reads the layer-4 header behind the IP headers.
#[inline(always)]
pub(super) fn decode<'a>(network: &Network<'a>) -> Result<Transport<'a>, DecodeError> {
    let (bytes, room) = (network.rest.bytes, network.rest.wire);
    if network.fragment == Fragment::Later {
        return Ok(Transport { payload_len: room, ..Transport::default() });
    }
    // Headers are held to the length that the packet claims, what is counted to the room it had.
    let claimed = network.claimed;
    match network.l4 {
        L4::TCP => tcp(bytes, claimed, room),
        L4::UDP => udp(bytes, claimed, room, network.fragment),
        L4::ICMP | L4::ICMPV6 => icmp(bytes, room),
        SCTP => sctp(bytes, room),
        _ => Ok(Transport { payload: bytes, payload_len: room, ..Transport::default() }),
    }
}

fn behind(bytes: &[u8], header: usize) -> &[u8] {
    bytes.get(header..).unwrap_or_default()
}

#[inline(always)]
fn tcp(bytes: &[u8], claimed: u32, room: u32) -> Result<Transport<'_>, DecodeError> {
    let fixed: &[u8; 20] = bytes.first_chunk().ok_or(DecodeError::TcpTooShort)?;
    let header = u32::from(fixed[12] >> 4) * 4;
    if header < 20 || header > claimed {
        return Err(DecodeError::TcpBadOffset);
    }
    Ok(Transport {
        src_port: u16::from_be_bytes([fixed[0], fixed[1]]),
        dst_port: u16::from_be_bytes([fixed[2], fixed[3]]),
        tcp: Some(TcpHeader {
            seq: be32(fixed, 4).unwrap_or_default(),
            ack: be32(fixed, 8).unwrap_or_default(),
            flags: fixed[13],
            window: u16::from_be_bytes([fixed[14], fixed[15]]),
        }),
        icmp: None,
        payload: behind(bytes, header as usize),
        payload_len: room.saturating_sub(header),
    })
}

#[inline(always)]
fn udp(bytes: &[u8], claimed: u32, room: u32, fragment: Fragment) -> Result<Transport<'_>, DecodeError> {
    let fixed: &[u8; 8] = bytes.first_chunk().ok_or(DecodeError::UdpTooShort)?;
    // 0 stands for "to the end of the packet" (RFC 2675 §4).
    let length = match u32::from(u16::from_be_bytes([fixed[4], fixed[5]])) {
        0 => claimed,
        n => n,
    };
    let whole = fragment == Fragment::None;
    if length < 8 || (whole && length > claimed) {
        return Err(DecodeError::UdpBadLength);
    }
    let payload_len = length.min(room).saturating_sub(8);
    let payload = behind(bytes, 8);
    Ok(Transport {
        src_port: u16::from_be_bytes([fixed[0], fixed[1]]),
        dst_port: u16::from_be_bytes([fixed[2], fixed[3]]),
        payload: payload.get(..payload_len as usize).unwrap_or(payload),
        payload_len,
        ..Transport::default()
    })
}

fn icmp(bytes: &[u8], room: u32) -> Result<Transport<'_>, DecodeError> {
    const HEADER: usize = 8;
    let &[kind, code, _, _] = bytes.first_chunk().ok_or(DecodeError::IcmpTooShort)?;
    Ok(Transport {
        icmp: Some((kind, code)),
        payload: behind(bytes, HEADER),
        payload_len: room.saturating_sub(HEADER as u32),
        ..Transport::default()
    })
}

fn sctp(bytes: &[u8], room: u32) -> Result<Transport<'_>, DecodeError> {
    const HEADER: usize = 12;
    if bytes.len() < HEADER {
        return Err(DecodeError::SctpTooShort);
    }
    Ok(Transport {
        src_port: be16(bytes, 0).unwrap_or_default(),
        dst_port: be16(bytes, 2).unwrap_or_default(),
        payload: behind(bytes, HEADER),
        payload_len: room.saturating_sub(HEADER as u32),
        ..Transport::default()
    })
}
