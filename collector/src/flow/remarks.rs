//! What single packets show to be remarkable about a flow, whatever it speaks.

use std::net::{IpAddr, Ipv4Addr};

use shared::model::status::FlowStatus;
use shared::model::{L4, L7Source};

use super::marks::Marks;
use super::state::Flow;
use crate::decode::{Fragment, Packet};
use crate::l7::{self, ProtocolId, entropy};

/// ICMP's and ICMPv6's echo and its reply (RFC 792, RFC 4443 §4).
const ECHOES: [u8; 4] = [0, 8, 128, 129];

/// Notes what `packet` shows, after it was counted and read.
pub(super) fn note(flow: &mut Flow, packet: &Packet<'_>) {
    if flow.packets() == 1 && packet.l4 != L4::UDP && packet.dst == IpAddr::V4(Ipv4Addr::BROADCAST) {
        flow.status |= FlowStatus::BroadcastNonUdp.bit();
    }
    if packet.flaw.is_some() {
        flow.status |= FlowStatus::MalformedPacket.bit();
    }
    if packet.fragment != Fragment::None && Some(flow.l7) == ProtocolId::by_name("DNS") {
        flow.status |= FlowStatus::FragmentedDns.bit();
    }
    let odd = FlowStatus::SuspiciousEntropy.bit();
    if packet.icmp.is_some_and(|(kind, _)| ECHOES.contains(&kind))
        && flow.status & odd == 0
        && entropy::is_random_echo(packet.payload)
    {
        flow.status |= odd;
    }
    let first_unknown = flow.payloads == 1 && packet.payload_len > 0 && !flow.marks.has(Marks::DECIDED);
    if first_unknown && packet.l4 == L4::TCP && entropy::is_fully_encrypted(packet.payload) {
        flow.marks.set(Marks::RANDOM, true);
    }
}

/// Names a flow whose layer-4 number alone tells its protocol; what has the number and not the form is
/// malformed.
pub(super) fn name_by_number(flow: &mut Flow, packet: &Packet<'_>) {
    if flow.marks.has(Marks::DECIDED) {
        return;
    }
    let Some(protocol) = l7::by_l4(packet.l4) else { return };
    let whole = packet.fragment == Fragment::None && packet.payload.len() as u32 == packet.payload_len;
    let valid = l7::is_well_formed(packet.l4, packet.payload).filter(|_| whole);
    flow.decide(protocol, if valid == Some(true) { L7Source::Payload } else { L7Source::L4 });
    if valid == Some(false) {
        flow.status |= FlowStatus::MalformedPacket.bit();
    }
}
