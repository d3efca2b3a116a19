//! Pre-aggregates what happens on an interface into deltas, one per interval of event time.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use shared::geo::{GeoBases, GeoCache};
use shared::model::app::AppCategory;
use shared::model::flow::TCP_FIN;
use shared::model::metric::Metric;
use shared::model::pool::Mac;
use shared::model::{
    CategoryBytes, Contact, HostCounters, HostFact, HostKey, InterfaceCounters, L4, LocalNetworks,
    NetworkCounters, Timestamp,
};
use shared::wire::delta::{HostDelta, InterfaceDelta, L7Counters, NetworkDelta};

use crate::flow::index::Index;
use crate::flow::names::Names;
use crate::flow::prefetch::prefetch_all;
use crate::flow::state::Direction;
use crate::flow::{Flow, Growth};

mod arp;
mod categories;
mod contacts;
mod facts;
mod parts;
mod places;

use categories::Categories;
use contacts::Contacts;
use facts::Facts;
use parts::HostParts;

/// Names of numbers that scripts may note in one interval.
const MAX_METRICS: usize = 1000;

/// Hosts that go out together, and what is told of them.
#[derive(Debug, Default)]
pub struct HostPart {
    /// The hosts.
    pub hosts: Vec<HostDelta>,
    /// Whom they got in touch with.
    pub contacts: Vec<Contact>,
    /// What they used the network for.
    pub categories: Vec<CategoryBytes>,
    /// What was learned of them.
    pub facts: Vec<HostFact>,
}

/// Collects one delta.
#[derive(Debug)]
pub struct Summary {
    /// Whether flows are counted; else only packets are.
    of_flows: bool,
    /// The interface's counters.
    pub interface: InterfaceDelta,
    /// Hosts in the order in which they appeared, in parts as they go out.
    hosts: HostParts,
    /// The local network of each.
    host_networks: Vec<Option<usize>>,
    /// Places of the hosts.
    places: Index,
    hasher: foldhash::fast::RandomState,
    /// Whom local hosts got in touch with.
    contacts: Contacts,
    /// What local hosts used the network for.
    categories: Categories,
    /// What was learned of hosts.
    facts: Facts,
    networks: BTreeMap<usize, NetworkCounters>,
    /// Where addresses are.
    pub geo: GeoCache,
    /// Ended flows by number of the name.
    l7: Vec<L7Counters>,
}

impl Summary {
    /// An empty one; of packets alone when nobody wants those of flows.
    pub fn new(of_flows: bool, geo: &GeoBases) -> Self {
        Self {
            of_flows,
            geo: GeoCache::new(geo.clone()),
            interface: InterfaceDelta::default(),
            hosts: HostParts::default(),
            host_networks: Vec::new(),
            places: Index::new(),
            hasher: foldhash::fast::RandomState::default(),
            contacts: Contacts::default(),
            categories: Categories::default(),
            facts: Facts::default(),
            networks: BTreeMap::new(),
            l7: Vec::new(),
        }
    }

    /// True when nothing was counted.
    pub fn is_empty(&self) -> bool {
        let InterfaceDelta { counters, hooks, metrics, .. } = &self.interface;
        counters.is_zero() && self.hosts.is_empty() && hooks.is_empty() && metrics.is_empty()
    }

    /// Counts one packet on the wire, whether it can be decoded or not.
    pub fn packet(&mut self, bytes: u32) {
        self.interface.counters.packets += 1;
        self.interface.counters.bytes += u64::from(bytes);
    }

    /// Adds what a flow has counted since the last time. `ended` says that it was the last time.
    pub fn flow(
        &mut self,
        flow: &Flow,
        macs: [Option<Mac>; 2],
        growth: &Growth,
        networks: &LocalNetworks,
        ended: bool,
    ) {
        if !self.of_flows {
            return;
        }
        let [client_key, server_key] = flow.host_keys();
        let l4 = flow.l4();
        let fin = |direction: &Direction| u64::from(ended && direction.tcp_flags & TCP_FIN != 0);
        let (fin_sent, fin_rcvd) = (fin(&flow.cli2srv), fin(&flow.srv2cli));
        let Growth { cli2srv, srv2cli, .. } = growth;

        let silent = ended && flow.srv2cli.packets == 0;
        let fin_scan = ended && flow.is_fin_scan();
        let remote_access =
            growth.named && flow.l7().is_some_and(|l7| l7.category() == AppCategory::RemoteAccess);
        let p2p = flow.l7().is_some_and(|l7| l7.category() == AppCategory::Download);
        let p2p_bytes = if p2p { cli2srv.bytes + srv2cli.bytes } else { 0 };
        let (place, client, from) = self.host(client_key, macs[0], flow.last_seen, networks);
        count(client, cli2srv, srv2cli, l4);
        client.fin_sent += fin_sent;
        client.fin_rcvd += fin_rcvd;
        client.p2p_bytes += p2p_bytes;
        client.flows_ended += u64::from(ended);
        client.flows_as_client += u64::from(growth.begun);
        client.syn_unanswered_sent += u64::from(growth.failed);
        client.dns_queries_sent += u64::from(growth.dns_queries);
        client.dns_errors_rcvd += u64::from(growth.dns_errors);
        client.dns_replies_rcvd += u64::from(growth.dns_replies);
        client.flows_unanswered_sent += u64::from(silent);
        client.fin_unanswered_sent += u64::from(fin_scan);
        client.remote_access_flows += u64::from(remote_access);
        if from.is_some() {
            self.categories.add(place, flow.name(), cli2srv.bytes, srv2cli.bytes);
            if growth.begun || growth.named {
                let of = if growth.begun { self.geo.find(server_key.ip) } else { None };
                self.contacts.of_flow(place, flow, server_key.ip, of.as_deref(), growth);
            }
        }

        let (server_place, server, to) = self.host(server_key, macs[1], flow.last_seen, networks);
        // A host that talks to itself is one host: its packets count once.
        if client_key != server_key {
            count(server, srv2cli, cli2srv, l4);
            server.fin_sent += fin_rcvd;
            server.fin_rcvd += fin_sent;
            server.p2p_bytes += p2p_bytes;
            server.flows_ended += u64::from(ended);
            server.flows_as_server += u64::from(growth.begun);
            server.syn_unanswered_rcvd += u64::from(growth.failed);
            server.dns_queries_rcvd += u64::from(growth.dns_queries);
            server.flows_unanswered_rcvd += u64::from(silent);
            server.fin_unanswered_rcvd += u64::from(fin_scan);
            server.remote_access_flows += u64::from(remote_access);
            if to.is_some() {
                self.categories.add(server_place, flow.name(), srv2cli.bytes, cli2srv.bytes);
            }
        }
        if growth.named
            && let Some(info) = flow.info()
        {
            self.facts.of_flow(place, server_place, info);
        }
        if from.is_some() || to.is_some() {
            self.networks(from, to, growth, fin_scan);
        }

        let interface = &mut self.interface.counters;
        interface.flows += u64::from(growth.begun);
        interface.flows_ended += u64::from(ended);
        interface.dns_queries += u64::from(growth.dns_queries);
        interface.p2p_bytes += p2p_bytes;
        interface.tcp_retransmissions +=
            u64::from(cli2srv.retransmissions) + u64::from(srv2cli.retransmissions);
        if ended {
            let number = flow.name().number();
            if self.l7.len() <= number {
                self.l7.resize_with(number + 1, L7Counters::default);
            }
            self.l7[number].flows += 1;
            self.l7[number].bytes += flow.cli2srv.bytes + flow.srv2cli.bytes;
        }
    }

    /// Counts an alert on a flow.
    pub fn alert(&mut self, hosts: [HostKey; 2], score: u32, networks: &LocalNetworks, at: Timestamp) {
        if !self.of_flows {
            return;
        }
        let counters = HostCounters { flow_alerts: 1, score: score.into(), ..HostCounters::default() };
        let mut found = Vec::with_capacity(2);
        for key in hosts {
            let (_, host, network) = self.host(key, None, at, networks);
            host.add(&counters);
            found.extend(network);
        }
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
        mac: Option<Mac>,
        last_seen: Timestamp,
        networks: &LocalNetworks,
    ) -> (u32, &mut HostCounters, Option<usize>) {
        let hash = self.hasher.hash_one(key);
        let Self { hosts, host_networks, places, .. } = self;
        let known = places.find(hash, |place| hosts.get(place as usize).is_some_and(|host| host.key == key));
        let place = known.unwrap_or_else(|| {
            let network = networks.find(key.ip);
            let counters = HostCounters::default();
            let place = host_networks.len() as u32;
            hosts.push(HostDelta { key, mac: None, local: network.is_some(), last_seen, counters });
            host_networks.push(network);
            places.insert(hash, place);
            place
        });
        let host = hosts.get_mut(place as usize);
        host.mac = host.mac.or(mac);
        host.last_seen = host.last_seen.max(last_seen);
        (place, &mut host.counters, host_networks[place as usize])
    }

    /// Asks for the places of a flow's hosts to be brought near.
    pub fn bring_places_near(&self, flow: &Flow) {
        if !self.of_flows {
            return;
        }
        for key in flow.host_keys() {
            self.places.prefetch(self.hasher.hash_one(key));
        }
    }

    /// Asks for the counters of a flow's hosts to be brought near, once the places are.
    pub fn bring_counters_near(&self, flow: &Flow) {
        if !self.of_flows {
            return;
        }
        for key in flow.host_keys() {
            let host = self.places.likely(self.hasher.hash_one(key));
            if let Some(host) = host.and_then(|place| self.hosts.get(place as usize)) {
                prefetch_all(host);
            }
        }
    }

    fn networks(&mut self, from: Option<usize>, to: Option<usize>, growth: &Growth, fin_scan: bool) {
        let Growth { cli2srv, srv2cli, .. } = growth;
        let (bytes, packets) = (cli2srv.bytes + srv2cli.bytes, cli2srv.packets + srv2cli.packets);
        let [client_lost, server_lost] = growth.lost;
        for (network, sent, lost) in [(from, cli2srv, client_lost), (to, srv2cli, server_lost)] {
            if let Some(network) = network {
                let counters = self.networks.entry(network).or_default();
                counters.tcp_retransmissions += u64::from(sent.retransmissions);
                counters.tcp_out_of_order += u64::from(sent.out_of_order);
                counters.tcp_lost += u64::from(lost);
            }
        }
        if let Some(network) = from {
            let counters = self.networks.entry(network).or_default();
            counters.flows_as_client += u64::from(growth.begun);
            counters.syn_rcvd += u64::from(srv2cli.syns);
            counters.rst_rcvd += u64::from(srv2cli.resets);
            if from == to {
                counters.bytes_inner += bytes;
                counters.packets_inner += packets;
            } else {
                counters.bytes_egress += cli2srv.bytes;
                counters.bytes_ingress += srv2cli.bytes;
                counters.packets_egress += cli2srv.packets;
                counters.packets_ingress += srv2cli.packets;
            }
        }
        if let Some(network) = to {
            let counters = self.networks.entry(network).or_default();
            counters.flows_as_server += u64::from(growth.begun);
            counters.syn_rcvd += u64::from(cli2srv.syns);
            counters.rst_rcvd += u64::from(cli2srv.resets);
            counters.fin_unanswered_rcvd += u64::from(fin_scan);
            counters.syn_unanswered_rcvd += u64::from(growth.failed);
            if from != to {
                counters.bytes_egress += srv2cli.bytes;
                counters.bytes_ingress += cli2srv.bytes;
                counters.packets_egress += srv2cli.packets;
                counters.packets_ingress += cli2srv.packets;
            }
        }
    }

    /// Closes the interval: interface, hosts in order of appearance, networks in order of their index. The memory
    /// stays for the next one.
    pub fn take_parts(
        &mut self,
        networks: &LocalNetworks,
        names: &Names,
    ) -> (InterfaceDelta, Vec<HostPart>, Vec<NetworkDelta>) {
        let mut interface = std::mem::take(&mut self.interface);
        for (name, counters) in names.all().iter().zip(self.l7.drain(..)).filter(|(_, c)| c.flows > 0) {
            let sum = interface.l7.entry(name.text.to_string()).or_default();
            sum.flows += counters.flows;
            sum.bytes += counters.bytes;
            sum.category = name.category;
        }
        let hosts = self.hosts.take();
        let contacts = self.contacts.take(hosts.len());
        let categories = self.categories.take(hosts.len(), names);
        let facts = self.facts.take(hosts.len());
        let parts = hosts.into_iter().zip(contacts).zip(categories).zip(facts);
        let hosts = parts
            .map(|(((hosts, contacts), categories), facts)| HostPart { hosts, contacts, categories, facts })
            .collect();
        self.host_networks.clear();
        self.places.clear();
        let rows = std::mem::take(&mut self.networks).into_iter().filter_map(|(index, counters)| {
            networks.get(index).map(|network| NetworkDelta { network, counters })
        });
        (interface, hosts, rows.collect())
    }

    /// Adds what a script notes; false when there are too many names in one interval.
    pub fn note(&mut self, name: String, metric: Metric) -> bool {
        let metrics = &mut self.interface.metrics;
        if metrics.len() >= MAX_METRICS && !metrics.contains_key(&name) {
            return false;
        }
        metrics.entry(name).or_default().add(&metric);
        true
    }

    /// The interface's counters.
    pub fn counters(&mut self) -> &mut InterfaceCounters {
        &mut self.interface.counters
    }
}

/// Adds what one side sent and received.
fn count(host: &mut HostCounters, sent: &Direction, rcvd: &Direction, l4: L4) {
    host.bytes_sent += sent.bytes;
    host.bytes_rcvd += rcvd.bytes;
    host.packets_sent += sent.packets;
    host.packets_rcvd += rcvd.packets;
    host.syn_sent += u64::from(sent.syns);
    host.syn_rcvd += u64::from(rcvd.syns);
    host.rst_sent += u64::from(sent.resets);
    host.rst_rcvd += u64::from(rcvd.resets);
    host.tcp_retransmissions_sent += u64::from(sent.retransmissions);
    match l4 {
        L4::TCP => {
            host.tcp_bytes_sent += sent.bytes;
            host.tcp_bytes_rcvd += rcvd.bytes;
        }
        L4::UDP => {
            host.udp_bytes_sent += sent.bytes;
            host.udp_bytes_rcvd += rcvd.bytes;
        }
        L4::ICMP | L4::ICMPV6 => {
            host.icmp_sent += sent.packets;
            host.icmp_rcvd += rcvd.packets;
        }
        _ => {}
    }
}
