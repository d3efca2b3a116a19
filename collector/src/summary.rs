//! Pre-aggregates what happens on an interface into deltas, one per interval of event time.

use std::collections::BTreeMap;

use shared::model::{
    HostCounters, HostKey, InterfaceCounters, L4, LocalNetworks, NetworkCounters, Timestamp,
};
use shared::wire::delta::{HostDelta, InterfaceDelta, L7Counters, NetworkDelta};

use crate::flow::Flow;
use crate::flow::state::Direction;

/// Collects one delta.
#[derive(Debug, Default)]
pub struct Summary {
    /// The interface's counters and protocols.
    pub interface: InterfaceDelta,
    hosts: BTreeMap<HostKey, HostDelta>,
    networks: BTreeMap<usize, NetworkCounters>,
}

impl Summary {
    /// True when nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.interface.counters.is_zero() && self.hosts.is_empty() && self.interface.hooks.is_empty()
    }

    /// Counts one packet on the wire, whether it can be decoded or not.
    pub fn packet(&mut self, bytes: u32) {
        self.interface.counters.packets += 1;
        self.interface.counters.bytes += u64::from(bytes);
    }

    /// Adds what a flow has counted since the last time, and remembers that.
    pub fn flow(&mut self, flow: &mut Flow, networks: &LocalNetworks, ended: bool) {
        let (cli2srv, srv2cli) = growth(flow);
        let begun = !flow.reported.begun;
        let dns = flow.dns_counts();
        let dns_new = (dns.0 - flow.reported.dns.0, dns.1 - flow.reported.dns.1);
        flow.reported.dns = dns;
        flow.reported.begun = true;
        flow.reported.cli2srv = flow.cli2srv;
        flow.reported.srv2cli = flow.srv2cli;

        // A refused connection has failed at once, an unanswered one when it is given up.
        let over = ended || flow.tcp.is_over();
        let failed = over && !flow.reported.failed && flow.connection_failed();
        flow.reported.failed |= failed;
        let icmp = matches!(flow.key.l4(), L4::ICMP | L4::ICMPV6);
        let side = |sent: &Direction, rcvd: &Direction| HostCounters {
            bytes_sent: sent.counters.bytes,
            bytes_rcvd: rcvd.counters.bytes,
            packets_sent: sent.counters.packets,
            packets_rcvd: rcvd.counters.packets,
            flows_ended: u64::from(ended),
            syn_sent: sent.syns.into(),
            syn_rcvd: rcvd.syns.into(),
            rst_sent: sent.resets.into(),
            rst_rcvd: rcvd.resets.into(),
            icmp_sent: if icmp { sent.counters.packets } else { 0 },
            icmp_rcvd: if icmp { rcvd.counters.packets } else { 0 },
            tcp_retransmissions_sent: sent.counters.retransmissions.into(),
            ..HostCounters::default()
        };
        let client = HostCounters {
            flows_as_client: begun.into(),
            syn_unanswered_sent: failed.into(),
            dns_queries_sent: dns_new.0.into(),
            dns_errors_rcvd: dns_new.1.into(),
            ..side(&cli2srv, &srv2cli)
        };
        let server = HostCounters {
            flows_as_server: begun.into(),
            syn_unanswered_rcvd: failed.into(),
            ..side(&srv2cli, &cli2srv)
        };
        let (low, high) = (flow.key.low().0, flow.key.high().0);
        let (client_ip, server_ip) = if flow.client_is_low { (low, high) } else { (high, low) };
        let macs = flow.macs();
        let client_key = HostKey::new(client_ip, flow.key.vlan());
        let server_key = HostKey::new(server_ip, flow.key.vlan());
        self.host(client_key, macs.0, flow.last_seen, networks, &client);
        if server_key != client_key {
            self.host(server_key, macs.1, flow.last_seen, networks, &server);
        } else {
            self.host(server_key, macs.1, flow.last_seen, networks, &HostCounters::default());
        }
        self.networks(networks, (client_ip, &client), (server_ip, &server));

        let interface = &mut self.interface.counters;
        interface.flows += u64::from(begun);
        interface.flows_ended += u64::from(ended);
        interface.tcp_retransmissions +=
            u64::from(cli2srv.counters.retransmissions) + u64::from(srv2cli.counters.retransmissions);
        if ended {
            let name = flow.l7.unwrap_or_default().name();
            let l7 = self.interface.l7.entry(name.to_owned()).or_insert(L7Counters { flows: 0, bytes: 0 });
            l7.flows += 1;
            l7.bytes += flow.cli2srv.counters.bytes + flow.srv2cli.counters.bytes;
        }
    }

    /// Counts an alert on a flow.
    pub fn alert(&mut self, hosts: [HostKey; 2], score: u32, networks: &LocalNetworks, at: Timestamp) {
        let counters = HostCounters { flow_alerts: 1, score: score.into(), ..HostCounters::default() };
        for host in hosts {
            self.host(host, None, at, networks, &counters);
        }
        let mut found: Vec<usize> = hosts.iter().filter_map(|h| networks.find(h.ip)).collect();
        found.dedup();
        for network in found {
            let network = self.networks.entry(network).or_default();
            network.flow_alerts += 1;
            network.score += u64::from(score);
        }
        self.interface.counters.flow_alerts += 1;
        self.interface.counters.score += u64::from(score);
    }

    fn host(
        &mut self,
        key: HostKey,
        mac: Option<shared::model::pool::Mac>,
        last_seen: Timestamp,
        networks: &LocalNetworks,
        counters: &HostCounters,
    ) {
        let host = self.hosts.entry(key).or_insert_with(|| HostDelta {
            key,
            mac: None,
            local: networks.is_local(key.ip),
            last_seen,
            counters: HostCounters::default(),
        });
        host.mac = host.mac.or(mac);
        host.last_seen = host.last_seen.max(last_seen);
        host.counters.add(counters);
    }

    fn networks(
        &mut self,
        networks: &LocalNetworks,
        (client_ip, client): (std::net::IpAddr, &HostCounters),
        (server_ip, server): (std::net::IpAddr, &HostCounters),
    ) {
        let (from, to) = (networks.find(client_ip), networks.find(server_ip));
        if let (Some(network), true) = (from, from == to) {
            let counters = self.networks.entry(network).or_default();
            counters.bytes_inner += client.bytes_sent + client.bytes_rcvd;
            counters.packets_inner += client.packets_sent + client.packets_rcvd;
            counters.flows_as_client += client.flows_as_client;
            counters.flows_as_server += server.flows_as_server;
            counters.syn_rcvd += server.syn_rcvd;
            counters.syn_unanswered_rcvd += server.syn_unanswered_rcvd;
            return;
        }
        for (network, host) in [(from, client), (to, server)] {
            let Some(network) = network else { continue };
            let counters = self.networks.entry(network).or_default();
            counters.bytes_egress += host.bytes_sent;
            counters.bytes_ingress += host.bytes_rcvd;
            counters.packets_egress += host.packets_sent;
            counters.packets_ingress += host.packets_rcvd;
            counters.flows_as_client += host.flows_as_client;
            counters.flows_as_server += host.flows_as_server;
            counters.syn_rcvd += host.syn_rcvd;
            counters.syn_unanswered_rcvd += host.syn_unanswered_rcvd;
        }
    }

    /// The columns of the delta: interface, hosts in order, networks in order of their index.
    pub fn into_parts(self, networks: &LocalNetworks) -> (InterfaceDelta, Vec<HostDelta>, Vec<NetworkDelta>) {
        let rows = self.networks.into_iter().filter_map(|(index, counters)| {
            networks.get(index).map(|network| NetworkDelta { network, counters })
        });
        (self.interface, self.hosts.into_values().collect(), rows.collect())
    }

    /// The interface's counters.
    pub fn counters(&mut self) -> &mut InterfaceCounters {
        &mut self.interface.counters
    }
}

/// What both directions counted since the summary was last told.
fn growth(flow: &Flow) -> (Direction, Direction) {
    let grown = |now: &Direction, then: &Direction| {
        let mut grown = *now;
        grown.counters.packets -= then.counters.packets;
        grown.counters.bytes -= then.counters.bytes;
        grown.counters.goodput_bytes -= then.counters.goodput_bytes;
        grown.counters.retransmissions -= then.counters.retransmissions;
        grown.counters.out_of_order -= then.counters.out_of_order;
        grown.counters.zero_windows -= then.counters.zero_windows;
        grown.syns -= then.syns;
        grown.resets -= then.resets;
        grown
    };
    (grown(&flow.cli2srv, &flow.reported.cli2srv), grown(&flow.srv2cli, &flow.reported.srv2cli))
}
