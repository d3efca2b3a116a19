//! The direction-free key of a flow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shared::model::L4;

use crate::decode::Packet;

/// Identifies a flow whichever way its packets go: the numerically lower end comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// Addresses, low end first; IPv4 as the number it is.
    addresses: [u128; 2],
    /// Ports, in the same order.
    ports: [u16; 2],
    vlan: u16,
    /// The VLAN inside that one, 0 without.
    inner_vlan: u16,
    l4: u8,
    v6: bool,
    /// Id of the tunnel the packet came in, 0 without one or when tunnels do not part flows.
    tunnel: u32,
}

impl FlowKey {
    /// The key of a packet, and whether the packet goes from the low end to the high end.
    pub fn of(packet: &Packet<'_>) -> (Self, bool) {
        let (source, target) = (number(packet.src), number(packet.dst));
        let forward = (source, packet.src_port) <= (target, packet.dst_port);
        let (addresses, ports) = match forward {
            true => ([source, target], [packet.src_port, packet.dst_port]),
            false => ([target, source], [packet.dst_port, packet.src_port]),
        };
        let v6 = packet.src.is_ipv6() || packet.dst.is_ipv6();
        let Packet { vlan, inner_vlan, l4: L4(l4), .. } = *packet;
        (Self { addresses, ports, vlan, inner_vlan, l4, v6, tunnel: 0 }, forward)
    }

    /// The same key within a tunnel.
    pub fn within(self, tunnel: u32) -> Self {
        Self { tunnel, ..self }
    }

    /// A hash that nobody without the seed can aim.
    pub fn hash(&self, seed: u64) -> u64 {
        let [low, high] = self.addresses;
        let [low_port, high_port] = self.ports;
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(&low.to_le_bytes());
        bytes[16..32].copy_from_slice(&high.to_le_bytes());
        let ends = u64::from(low_port) | u64::from(high_port) << 16 | u64::from(self.vlan) << 32;
        let kind = u64::from(self.l4) | u64::from(self.v6) << 8 | u64::from(self.inner_vlan) << 16;
        let kind = kind | u64::from(self.tunnel) << 32;
        bytes[32..40].copy_from_slice(&ends.to_le_bytes());
        bytes[40..].copy_from_slice(&kind.to_le_bytes());
        xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, seed)
    }

    /// The end that comes first in the key.
    pub fn low(&self) -> (IpAddr, u16) {
        (self.address(self.addresses[0]), self.ports[0])
    }

    /// The end that comes second.
    pub fn high(&self) -> (IpAddr, u16) {
        (self.address(self.addresses[1]), self.ports[1])
    }

    /// VLAN id, 0 when untagged.
    pub fn vlan(&self) -> u16 {
        self.vlan
    }

    /// The VLAN id inside that one, 0 without.
    pub fn inner_vlan(&self) -> u16 {
        self.inner_vlan
    }

    /// Layer-4 protocol.
    pub fn l4(&self) -> L4 {
        L4(self.l4)
    }

    fn address(&self, number: u128) -> IpAddr {
        match self.v6 {
            true => IpAddr::V6(Ipv6Addr::from(number)),
            false => IpAddr::V4(Ipv4Addr::from(number as u32)),
        }
    }
}

/// A key as live flows keep it: short for IPv4 with at most one tag and outside of tunnels, in a box of
/// its own for the others.
#[derive(Clone, Debug)]
pub(super) struct StoredKey {
    addresses: Addresses,
    ports: [u16; 2],
    vlan: u16,
    l4: u8,
}

#[derive(Clone, Debug)]
enum Addresses {
    V4([u32; 2]),
    Wide(Box<Wide>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wide {
    addresses: [u128; 2],
    tunnel: u32,
    inner_vlan: u16,
    v6: bool,
}

impl Default for StoredKey {
    fn default() -> Self {
        Self { addresses: Addresses::V4([0; 2]), ports: [0; 2], vlan: 0, l4: 0 }
    }
}

impl StoredKey {
    pub(super) fn new(key: &FlowKey) -> Self {
        let addresses = match key {
            FlowKey { v6: false, tunnel: 0, inner_vlan: 0, addresses, .. } => {
                Addresses::V4(addresses.map(|ip| ip as u32))
            }
            FlowKey { addresses, tunnel, inner_vlan, v6, .. } => Addresses::Wide(Box::new(Wide {
                addresses: *addresses,
                tunnel: *tunnel,
                inner_vlan: *inner_vlan,
                v6: *v6,
            })),
        };
        Self { addresses, ports: key.ports, vlan: key.vlan, l4: key.l4 }
    }

    /// Addresses, low end first, and the VLAN.
    pub(super) fn ips(&self) -> ([IpAddr; 2], u16) {
        let ips = match &self.addresses {
            Addresses::V4(ips) => ips.map(|ip| IpAddr::V4(ip.into())),
            Addresses::Wide(wide) => wide.addresses.map(|ip| match wide.v6 {
                true => IpAddr::V6(ip.into()),
                false => IpAddr::V4((ip as u32).into()),
            }),
        };
        (ips, self.vlan)
    }

    pub(super) fn is(&self, key: &FlowKey) -> bool {
        let same_addresses = match &self.addresses {
            Addresses::V4(mine) => {
                let plain = !key.v6 && key.tunnel == 0 && key.inner_vlan == 0;
                plain && mine.map(u128::from) == key.addresses
            }
            Addresses::Wide(mine) => {
                mine.addresses == key.addresses
                    && (mine.tunnel, mine.inner_vlan, mine.v6) == (key.tunnel, key.inner_vlan, key.v6)
            }
        };
        same_addresses && self.ports == key.ports && self.vlan == key.vlan && self.l4 == key.l4
    }

    pub(super) fn get(&self) -> FlowKey {
        let (addresses, tunnel, inner_vlan, v6) = match &self.addresses {
            Addresses::V4(mine) => (mine.map(u128::from), 0, 0, false),
            Addresses::Wide(mine) => (mine.addresses, mine.tunnel, mine.inner_vlan, mine.v6),
        };
        FlowKey { addresses, ports: self.ports, vlan: self.vlan, inner_vlan, l4: self.l4, v6, tunnel }
    }

    pub(super) fn l4(&self) -> L4 {
        L4(self.l4)
    }

    pub(super) fn ports(&self) -> [u16; 2] {
        self.ports
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(low: &str, high: &str, tunnel: u32) -> FlowKey {
        let low: IpAddr = low.parse().unwrap();
        FlowKey {
            addresses: [number(low), number(high.parse().unwrap())],
            ports: [1, 2],
            vlan: 3,
            inner_vlan: 0,
            l4: 6,
            v6: low.is_ipv6(),
            tunnel,
        }
    }

    #[test]
    fn a_stored_key_is_the_key_and_no_other() {
        // ::a00:1 has the number of 10.0.0.1.
        let keys = [
            key("10.0.0.1", "10.0.0.2", 0),
            key("10.0.0.1", "10.0.0.2", 7),
            key("::a00:1", "::a00:2", 0),
            key("10.0.0.1", "10.0.0.3", 0),
            FlowKey { vlan: 4, ..key("10.0.0.1", "10.0.0.2", 0) },
            FlowKey { inner_vlan: 4, ..key("10.0.0.1", "10.0.0.2", 0) },
            FlowKey { inner_vlan: 5, ..key("10.0.0.1", "10.0.0.2", 0) },
            FlowKey { inner_vlan: 4, ..key("10.0.0.1", "10.0.0.2", 7) },
            FlowKey { l4: 17, ..key("10.0.0.1", "10.0.0.2", 0) },
            FlowKey { ports: [1, 3], ..key("10.0.0.1", "10.0.0.2", 0) },
        ];
        for (place, one) in keys.iter().enumerate() {
            let stored = StoredKey::new(one);
            assert_eq!(stored.get(), *one);
            for (other_place, other) in keys.iter().enumerate() {
                assert_eq!(stored.is(other), place == other_place);
                assert_eq!(one.hash(5) == other.hash(5), place == other_place);
            }
        }
        assert_ne!(keys[0].hash(1), keys[0].hash(2));
    }
}
