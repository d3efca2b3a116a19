//! Makes one interface of its shards: several capture threads, one sequence of items. Pure.
//!
//! Each shard counts its share of the flows and moves event time on by itself. A summary goes out
//! when every shard has closed its interval; what the shards counted is added up. Everything else
//! passes at once, under the interface's own numbers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use ipnet::IpNet;
use shared::model::alert::derive_id;
use shared::model::metric::add_metrics;
use shared::model::query::{DEFAULT_LIMIT, MAX_LIMIT, Page};
use shared::model::{FlowRecord, HostKey, NetworkCounters, Timestamp};
use shared::wire::delta::{Delta, HostDelta, InterfaceDelta, NetworkDelta, Producer};

use crate::pipeline::{HOSTS_PER_DELTA, Item};

mod traits;

use traits::Traits;

/// Intervals held back for a shard that lags, at most. Beyond it the oldest goes out without that
/// shard, whose part follows as a late delta.
const MAX_HELD: usize = 64;

/// Puts the shards of one interface together.
#[derive(Debug)]
pub struct Merger {
    interval_s: i64,
    shards: Vec<Shard>,
    /// Open intervals by their end.
    held: BTreeMap<Timestamp, Held>,
    delta_sequence: u64,
    flow_sequence: u64,
    /// What the last delta promised.
    watermark: Timestamp,
    /// Intervals that went out before every shard had closed them.
    forced: u64,
}

/// What is known of one shard.
#[derive(Clone, Debug, Default)]
struct Shard {
    /// Everything before this event time has been handed over; `None` at first.
    closed: Option<Timestamp>,
    ended: bool,
    live_flows: u64,
}

/// What the shards counted within one interval.
#[derive(Debug, Default)]
struct Held {
    producer: Producer,
    from: Timestamp,
    to: Timestamp,
    interface: InterfaceDelta,
    /// Live flows by shard, where it said so.
    live_flows: BTreeMap<usize, u64>,
    hosts: BTreeMap<HostKey, HostDelta>,
    traits: Traits,
    networks: BTreeMap<IpNet, NetworkCounters>,
    traceparent: Option<String>,
    /// Shards for which this was the last delta.
    ends: usize,
}

impl Merger {
    /// A merger of `shards` shards that close a summary each `interval_s` seconds.
    pub fn new(shards: usize, interval_s: u32) -> Self {
        Self {
            interval_s: i64::from(interval_s.max(1)),
            shards: vec![Shard::default(); shards],
            held: BTreeMap::new(),
            delta_sequence: 0,
            flow_sequence: 0,
            watermark: Timestamp::from_ns(i64::MIN),
            forced: 0,
        }
    }

    /// Intervals that went out before every shard had closed them, because it lagged too far.
    pub fn forced(&self) -> u64 {
        self.forced
    }

    /// Takes what a shard hands over. `closed` says that the shard has handed over everything it saw
    /// before that event time.
    pub fn take(&mut self, shard: usize, items: Vec<Item>, closed: Option<Timestamp>, out: &mut Vec<Item>) {
        for item in items {
            match item {
                Item::Delta(delta) => self.hold(shard, *delta),
                Item::Flows(mut batch) => {
                    self.flow_sequence += 1;
                    batch.producer.sequence = self.flow_sequence;
                    out.push(Item::Flows(batch));
                }
                Item::Post(mut post) => {
                    // Each shard numbers its posts alike.
                    post.id = derive_id(&[&post.id, &shard.to_string()]);
                    out.push(Item::Post(post));
                }
                other @ (Item::Alert(_) | Item::Publish { .. }) => out.push(other),
            }
        }
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.closed = shard.closed.max(closed);
        }
        self.release(out);
    }

    /// A shard hands over nothing more.
    pub fn ended(&mut self, shard: usize, out: &mut Vec<Item>) {
        if let Some(shard) = self.shards.get_mut(shard) {
            shard.ended = true;
            shard.live_flows = 0;
        }
        self.release(out);
    }

    /// Lets everything go that is held back, whatever is missing.
    pub fn finish(&mut self, out: &mut Vec<Item>) {
        for shard in 0..self.shards.len() {
            self.ended(shard, out);
        }
    }

    /// Adds a shard's delta to its interval.
    fn hold(&mut self, shard: usize, delta: Delta) {
        // A shard that stops closes its last interval early; the announcement at the start covers
        // no time and stands alone.
        let whole = delta.to.secs().div_euclid(self.interval_s) * self.interval_s;
        let mut end = Timestamp::from_secs(whole);
        if end < delta.to {
            end = end.plus_secs(self.interval_s);
        }
        let held = match self.held.entry(end) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(place) => place.insert(Held {
                producer: delta.producer.clone(),
                from: delta.from,
                to: delta.to,
                ..Held::default()
            }),
        };
        // Parts of a delta with many hosts leave the watermark where it was.
        let (to, last_part) = (delta.to, delta.watermark >= delta.to);
        held.add(shard, delta);
        if last_part && let Some(shard) = self.shards.get_mut(shard) {
            shard.closed = shard.closed.max(Some(to));
        }
    }

    /// Lets go, in order, every interval that all shards have closed.
    fn release(&mut self, out: &mut Vec<Item>) {
        while let Some((&end, _)) = self.held.first_key_value() {
            let closed = |shard: &Shard| shard.ended || shard.closed.is_some_and(|closed| closed >= end);
            let complete = self.shards.iter().all(closed);
            if !complete && self.held.len() <= MAX_HELD {
                return;
            }
            let Some(held) = self.held.remove(&end) else { return };
            self.forced += u64::from(!complete);
            // Where a shard is left behind, nothing is promised beyond it.
            let lowest = self.shards.iter().filter(|s| !s.ended).map(|s| s.closed).min().flatten();
            let promised = if complete { held.to } else { lowest.unwrap_or(held.from).min(held.to) };
            self.watermark = self.watermark.max(promised);
            self.emit(held, out);
        }
    }

    /// One delta, or several where there are many hosts, as the pipeline makes them.
    fn emit(&mut self, held: Held, out: &mut Vec<Item>) {
        for (shard, live_flows) in &held.live_flows {
            if let Some(shard) = self.shards.get_mut(*shard)
                && !shard.ended
            {
                shard.live_flows = *live_flows;
            }
        }
        let live_flows = self.shards.iter().map(|shard| shard.live_flows).sum();
        let over = held.ends == self.shards.len() && self.held.is_empty();
        let mut hosts = held.hosts.into_values();
        let traits = held.traits;
        while hosts.len() > HOSTS_PER_DELTA {
            let part: Vec<_> = hosts.by_ref().take(HOSTS_PER_DELTA).collect();
            let mut part = Delta {
                producer: self.producer(&held.producer),
                from: held.from,
                to: held.to,
                watermark: held.from.min(self.watermark),
                interface: InterfaceDelta { live_flows, ..InterfaceDelta::default() },
                hosts: part,
                ..Delta::default()
            };
            traits.tell(&mut part);
            out.push(Item::Delta(Box::new(part)));
        }
        let networks = held.networks.into_iter();
        let hosts: Vec<_> = hosts.collect();
        let mut last = Delta {
            producer: self.producer(&held.producer),
            from: held.from,
            to: held.to,
            watermark: self.watermark,
            end_of_stream: over,
            interface: InterfaceDelta { live_flows, ..held.interface },
            hosts,
            networks: networks.map(|(network, counters)| NetworkDelta { network, counters }).collect(),
            traceparent: held.traceparent,
            ..Delta::default()
        };
        traits.tell(&mut last);
        out.push(Item::Delta(Box::new(last)));
    }

    fn producer(&mut self, of: &Producer) -> Producer {
        self.delta_sequence += 1;
        Producer { sequence: self.delta_sequence, ..of.clone() }
    }
}

impl Held {
    fn add(&mut self, shard: usize, delta: Delta) {
        self.from = self.from.min(delta.from);
        self.to = self.to.max(delta.to);
        self.ends += usize::from(delta.end_of_stream);
        self.traits.add(&delta);
        self.traceparent = self.traceparent.take().or(delta.traceparent);
        self.live_flows.insert(shard, delta.interface.live_flows);
        self.interface.counters.add(&delta.interface.counters);
        self.interface.collected |= delta.interface.collected;
        for (name, l7) in delta.interface.l7 {
            let sum = self.interface.l7.entry(name).or_default();
            sum.flows += l7.flows;
            sum.bytes += l7.bytes;
            sum.category = l7.category;
        }
        shared::model::counters::add_counts(&mut self.interface.hooks, &delta.interface.hooks);
        add_metrics(&mut self.interface.metrics, delta.interface.metrics);
        for host in delta.hosts {
            match self.hosts.entry(host.key) {
                Entry::Vacant(place) => {
                    place.insert(host);
                }
                Entry::Occupied(mut sum) => {
                    let sum = sum.get_mut();
                    sum.mac = sum.mac.or(host.mac);
                    sum.last_seen = sum.last_seen.max(host.last_seen);
                    sum.counters.add(&host.counters);
                }
            }
        }
        for network in delta.networks {
            self.networks.entry(network.network).or_default().add(&network.counters);
        }
    }
}

/// One page of live flows out of one of each shard, all of the same question with this `limit`.
pub fn page(parts: Vec<Page<FlowRecord>>, limit: usize) -> Page<FlowRecord> {
    let limit = if limit == 0 { DEFAULT_LIMIT } else { limit.min(MAX_LIMIT) };
    let mut more = parts.iter().any(|part| part.next.is_some());
    let mut items: Vec<_> = parts.into_iter().flat_map(|part| part.items).collect();
    items.sort_unstable_by_key(|flow| flow.id);
    more |= items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|flow| flow.id.to_string());
    Page { items, next }
}

#[cfg(test)]
mod tests;
