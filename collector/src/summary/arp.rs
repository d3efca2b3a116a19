//! What ARP shows of hosts and networks.

use std::net::IpAddr;

use shared::model::{HostKey, LocalNetworks, Timestamp};

use super::Summary;
use crate::decode::arp::Arp;

impl Summary {
    /// Counts an ARP packet. It makes its sender known when a local network holds it.
    pub fn arp(&mut self, arp: &Arp, at: Timestamp, networks: &LocalNetworks) {
        if arp.sender.is_unspecified() || !self.of_flows {
            return;
        }
        let (sender, target) = (IpAddr::V4(arp.sender), IpAddr::V4(arp.target));
        let Some(network) = networks.find(sender) else {
            // Whoever has no address yet takes one of these (RFC 3927).
            self.interface.counters.arp_ghosts += u64::from(!arp.sender.is_link_local());
            return;
        };
        // An announcement asks for the sender's own address.
        let asks = arp.request && arp.sender != arp.target;
        let (_, host, _) = self.host(HostKey::new(sender, arp.vlan), Some(arp.sender_mac), at, networks);
        host.arp_requests_sent += u64::from(asks);
        if asks {
            let stranger = networks.find(target) != Some(network);
            let network = self.networks.entry(network).or_default();
            network.arp_requests += 1;
            network.arp_strangers += u64::from(stranger);
        }
    }
}
