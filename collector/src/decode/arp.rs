//! ARP over Ethernet for IPv4 (RFC 826): who asks for whom.

use std::net::Ipv4Addr;

use shared::model::pool::Mac;

use super::link;
use super::span::{Span, be16};
use crate::capture::PacketDesc;

/// EtherType of ARP.
pub const ARP: u16 = 0x0806;

/// Ethernet, IPv4, and the lengths of their addresses.
const HEADER: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// One ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// True for a question, false for an answer.
    pub request: bool,
    /// Outermost VLAN id, 0 when untagged.
    pub vlan: u16,
    /// Hardware address of the sender.
    pub sender_mac: Mac,
    /// Address of the sender; 0.0.0.0 while it looks whether somebody has the one it wants (RFC 5227).
    pub sender: Ipv4Addr,
    /// The address asked for.
    pub target: Ipv4Addr,
}

/// Reads a frame whose EtherType is [`ARP`]; `None` for other kinds of addresses and what is cut off.
#[inline(never)]
pub fn read(desc: &PacketDesc, frame: &[u8]) -> Option<Arp> {
    let link = link::decode(desc.link, Span::new(frame, desc.length)).ok()?;
    let bytes: &[u8; 28] = link.rest.bytes.first_chunk()?;
    if link.ethertype != ARP || bytes[..6] != HEADER {
        return None;
    }
    let ip = |at: usize| bytes.get(at..)?.first_chunk::<4>().map(|raw| Ipv4Addr::from(*raw));
    let request = match be16(bytes, 6)? {
        1 => true,
        2 => false,
        _ => return None,
    };
    Some(Arp {
        request,
        vlan: link.vlans[0],
        sender_mac: *bytes.get(8..)?.first_chunk()?,
        sender: ip(14)?,
        target: ip(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::LinkType;
    use shared::model::Timestamp;

    fn frame(tag: &[u8], operation: u8) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, 1]);
        frame.extend(tag);
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1]);
        frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 9]);
        frame
    }

    fn parsed(frame: &[u8]) -> Option<Arp> {
        let captured = frame.len() as u32;
        let link = LinkType::ETHERNET;
        let desc =
            PacketDesc { ts: Timestamp::ZERO, offset: 0, captured, length: captured, link, interface: 0 };
        read(&desc, frame)
    }

    #[test]
    fn questions_and_answers_with_and_without_a_tag() {
        let arp = parsed(&frame(&[], 1)).unwrap();
        assert_eq!((arp.request, arp.vlan, arp.sender_mac), (true, 0, [2, 0, 0, 0, 0, 1]));
        assert_eq!((arp.sender, arp.target), ([10, 0, 0, 1].into(), [10, 0, 0, 9].into()));
        let arp = parsed(&frame(&[0x81, 0, 0, 7], 2)).unwrap();
        assert_eq!((arp.request, arp.vlan), (false, 7));
    }

    #[test]
    fn what_is_cut_off_or_of_other_addresses_is_none() {
        let whole = frame(&[], 1);
        for length in 0..whole.len() {
            assert_eq!(parsed(&whole[..length]), None, "{length}");
        }
        assert_eq!(parsed(&frame(&[], 3)), None);
        let mut other = whole;
        other[17] = 6;
        assert_eq!(parsed(&other), None);
    }
}
