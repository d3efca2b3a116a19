//! The direction-free key of a flow.

use std::net::{IpAddr, Ipv6Addr};

use shared::model::L4;

use crate::decode::Packet;

/// Identifies a flow whichever way its packets go: the numerically lower end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    low: (u128, u16),
    high: (u128, u16),
    vlan: u16,
    l4: u8,
    v6: bool,
}

impl FlowKey {
    /// The key of a packet, and whether the packet goes from the low end to the high end.
    pub fn of(packet: &Packet<'_>) -> (Self, bool) {
        let source = (number(packet.src), packet.src_port);
        let target = (number(packet.dst), packet.dst_port);
        let forward = source <= target;
        let (low, high) = if forward { (source, target) } else { (target, source) };
        let v6 = packet.src.is_ipv6();
        (Self { low, high, vlan: packet.vlan, l4: packet.l4.0, v6 }, forward)
    }

    /// The end that comes first in the key.
    pub fn low(&self) -> (IpAddr, u16) {
        (self.address(self.low.0), self.low.1)
    }

    /// The end that comes second.
    pub fn high(&self) -> (IpAddr, u16) {
        (self.address(self.high.0), self.high.1)
    }

    /// VLAN id, 0 when untagged.
    pub fn vlan(&self) -> u16 {
        self.vlan
    }

    /// Layer-4 protocol.
    pub fn l4(&self) -> L4 {
        L4(self.l4)
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.v6 {
            true => IpAddr::V6(Ipv6Addr::from(number)),
            false => IpAddr::V4((number as u32).into()),
        }
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}
