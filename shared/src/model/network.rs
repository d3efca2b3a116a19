//! Configured local networks and the test whether an address is local.

use std::net::IpAddr;

pub use ipnet::IpNet;

/// The local networks, found by longest prefix.
#[derive(Clone, Debug, Default)]
pub struct LocalNetworks {
    /// Sorted by prefix length, longest first, then by address.
    networks: Vec<IpNet>,
    /// The same as numbers, for the search.
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
}

/// The addresses that equal `bits` under `mask`.
#[derive(Clone, Debug)]
struct Range<T> {
    bits: T,
    mask: T,
    index: usize,
}

impl LocalNetworks {
    /// The networks in any order; host bits are cleared and repeats dropped.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Self {
        let mut networks: Vec<IpNet> = networks.into_iter().map(|n| n.trunc()).collect();
        networks.sort_by(|a, b| b.prefix_len().cmp(&a.prefix_len()).then(a.cmp(b)));
        networks.dedup();
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (index, network) in networks.iter().enumerate() {
            match network {
                IpNet::V4(net) => {
                    v4.push(Range { bits: net.network().into(), mask: net.netmask().into(), index });
                }
                IpNet::V6(net) => {
                    v6.push(Range { bits: net.network().into(), mask: net.netmask().into(), index });
                }
            }
        }
        Self { networks, v4, v6 }
    }

    /// The index of the longest network that holds `ip`.
    pub fn find(&self, ip: IpAddr) -> Option<usize> {
        match ip {
            IpAddr::V4(ip) => {
                let ip = u32::from(ip);
                self.v4.iter().find(|range| ip & range.mask == range.bits).map(|range| range.index)
            }
            IpAddr::V6(ip) => {
                let ip = u128::from(ip);
                self.v6.iter().find(|range| ip & range.mask == range.bits).map(|range| range.index)
            }
        }
    }

    /// The network with this index.
    pub fn get(&self, index: usize) -> Option<IpNet> {
        self.networks.get(index).copied()
    }

    /// True when a local network holds `ip`.
    pub fn is_local(&self, ip: IpAddr) -> bool {
        self.find(ip).is_some()
    }

    /// The networks, longest prefix first.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.networks.iter().copied()
    }

    /// How many networks there are.
    pub fn len(&self) -> usize {
        self.networks.len()
    }

    /// True when no network is configured.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_wins() {
        let nets = LocalNetworks::new(["10.0.0.0/8", "10.1.2.3/16", "fd00::/8"].map(|n| n.parse().unwrap()));
        let found = nets.find("10.1.9.9".parse().unwrap()).unwrap();
        assert_eq!(nets.get(found).unwrap().to_string(), "10.1.0.0/16");
        assert!(nets.is_local("fd12::1".parse().unwrap()));
        assert!(!nets.is_local("192.0.2.1".parse().unwrap()));
    }
}
