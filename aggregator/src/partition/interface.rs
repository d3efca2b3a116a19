//! One interface of a partition: its elements, and how far it is known.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::geo::GeoCache;
use shared::model::network::IpNet;
use shared::model::{Granularity, HostKey, InterfaceCounters, SystemCounters, Timestamp};
use shared::script::ScriptKind;
use shared::wire::delta::{Delta, Producer};

use super::Partition;
use super::elements::Missed;
use super::host_events::{IDLE, are_told_of};
use super::series::Named;
use crate::alert::Place;
use crate::element::{Hosts, Interface, Network, Tally};
use crate::schedule::Schedule;

/// Seconds by which what a new run of a collector tells may overlap with what is known.
const LATE_S: i64 = 120;

/// Batches of one producer since the interface is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batches {
    /// Those that have come, each counted once.
    pub received: u64,
    /// Those that have not, lost or only late.
    pub missing: u64,
}

/// One interface with its elements.
pub struct InterfaceState {
    /// The interface.
    pub interface: Interface,
    /// Its hosts.
    pub hosts: Hosts,
    /// The local networks as seen on it.
    pub networks: BTreeMap<IpNet, Network>,
    /// How well everything keeps up with it.
    pub health: Tally<SystemCounters>,
    /// What it counted under names.
    pub(super) named: Named,
    pub(super) schedule: Schedule,
    /// Alerts of scripts that run no more have been released.
    pub(super) orphans_released: bool,
    /// The element at which the next run of a kind and period begins, because the last one did not
    /// reach it.
    pub(super) resume: BTreeMap<(ScriptKind, Granularity), String>,
    /// Runs on demand so far.
    pub(super) asked: i64,
    /// The run of its collector that was heard last.
    pub(super) epoch: u64,
    /// That run has come to its end.
    pub(super) ended: bool,
    /// How full the process was when it was heard last.
    pub(super) levels: Arc<[(&'static str, u64)]>,
    /// Batches of its summaries, by the node that numbered them.
    pub batches: BTreeMap<String, Batches>,
}

impl Partition {
    pub(super) fn new_interface(&self, producer: &Producer) -> InterfaceState {
        InterfaceState {
            interface: Interface::new(producer),
            hosts: Hosts::new(self.config.host_limits()),
            networks: self.networks.iter().map(|prefix| (prefix, Network::default())).collect(),
            health: Tally::default(),
            named: Named::default(),
            schedule: Schedule::new(self.zone.clone()),
            orphans_released: false,
            resume: BTreeMap::new(),
            asked: 0,
            epoch: 0,
            ended: false,
            levels: Arc::clone(&self.levels),
            batches: BTreeMap::new(),
        }
    }
}

impl InterfaceState {
    /// True when its captures begin from the start again: a new run of its collector after the last one
    /// came to its end, or one that goes back in time. Counters and windows of then say nothing of it.
    pub(super) fn begins_anew(&self, delta: &Delta) -> bool {
        let later = delta.producer.epoch != self.epoch && self.epoch != 0;
        later && (self.ended || delta.from.plus_secs(LATE_S) < self.interface.watermark)
    }

    /// Adds a delta; gives the hosts that have become active, of one in `told` hosts, with the state in
    /// which they were before.
    pub(super) fn apply(
        &mut self,
        delta: &Delta,
        geo: &mut GeoCache,
        told: u32,
    ) -> Vec<(HostKey, Option<&'static str>)> {
        let mut active = Vec::new();
        self.schedule.data(delta.from);
        (self.epoch, self.ended) = (delta.producer.epoch, delta.end_of_stream);
        let interface = &mut self.interface;
        interface.node.clone_from(&delta.producer.node);
        interface.name.clone_from(&delta.producer.interface);
        interface.collected = delta.interface.collected;
        interface.live_flows = delta.interface.live_flows;
        interface.watermark = interface.watermark.max(delta.watermark);
        interface.tally.add(&delta.interface.counters);
        let InterfaceCounters { drops, decode_errors, flows_evicted, hook_skips, .. } =
            delta.interface.counters;
        interface.add_l7(&delta.interface.l7);
        self.named.add_l7(&delta.interface.l7);
        let seconds = delta.to.since(delta.from) / shared::model::time::NS_PER_S;
        let seconds = u64::try_from(seconds).unwrap_or(0).max(1);
        for host in &delta.hosts {
            if are_told_of(host.key, told) {
                let known = self.hosts.get(host.key);
                if known.is_none_or(|host| host.idle) {
                    active.push((host.key, known.map(|_| IDLE)));
                }
            }
            self.hosts.apply(host, delta.from, seconds).locate(host.key, geo);
        }
        let health = SystemCounters { drops, decode_errors, flows_evicted, hook_skips, ..Default::default() };
        let (evicted, jumped) = (self.hosts.evicted(), self.schedule.jumped);
        self.health.change(|total| {
            total.add(&health);
            (total.hosts_evicted, total.windows_jumped) = (evicted, jumped);
        });
        for contact in &delta.contacts {
            if let Some(host) = delta.hosts.get(contact.host as usize) {
                self.hosts.contact(host.key, contact.kind, contact.hash);
            }
        }
        for row in &delta.categories {
            if let Some(host) = delta.hosts.get(row.host as usize) {
                self.hosts.used(host.key, row.category, row.sent, row.rcvd);
            }
        }
        for fact in &delta.facts {
            if let Some(host) = delta.hosts.get(fact.host as usize) {
                self.hosts.learned(host.key, fact.kind, &fact.text);
            }
        }
        for network in &delta.networks {
            self.networks.entry(network.network).or_default().tally.add(&network.counters);
        }
        active
    }

    /// A window has ended, whose runs did not reach the elements `missed`; hosts are told by themselves, in
    /// the order into which they are brought.
    pub(super) fn ran(&mut self, granularity: Granularity, missed: &mut Missed) {
        self.interface.tally.ran(granularity, !missed.interface);
        missed.hosts.sort_unstable();
        self.health.ran(granularity, !missed.system);
        for (prefix, network) in &mut self.networks {
            network.tally.ran(granularity, !missed.networks.contains(prefix));
        }
    }

    /// A sample of the series was taken outside a minute run.
    pub(super) fn sampled(&mut self) {
        self.interface.tally.sampled();
        self.hosts.sampled();
        self.health.sampled();
        self.networks.values_mut().for_each(|network| network.tally.sampled());
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place { site: &self.interface.site, ifid: self.interface.id }
    }

    /// A batch has come, and with it `missing` more are known not to have come; of one that was missing so
    /// far, -1.
    pub(super) fn counts_batch(&mut self, node: &str, missing: i64) {
        self.count_batch(node, 1, missing);
    }

    /// A batch of this node was refused: nothing of it is counted.
    pub(super) fn refuses_batch(&mut self, node: &str) {
        self.health.change(|total| total.summaries_missing += 1);
        self.count_batch(node, 0, 1);
    }

    /// In the sums of the interface, and in those of the node that numbers them.
    fn count_batch(&mut self, node: &str, received: u64, missing: i64) {
        self.named.add_batches(node, received, missing);
        let batches = match self.batches.get_mut(node) {
            Some(batches) => batches,
            None => self.batches.entry(node.to_owned()).or_default(),
        };
        batches.received = batches.received.saturating_add(received);
        batches.missing = batches.missing.saturating_add_signed(missing);
    }

    /// Event time up to which the interface is known.
    pub fn watermark(&self) -> Timestamp {
        self.interface.watermark
    }
}
