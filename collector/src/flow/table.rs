//! All live flows of one interface.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use shared::model::{FlowEnd, Timestamp};

use super::event::{FlowEvent, FlowIndex};
use super::expiry::{Timer, Wheel};
use super::key::FlowKey;
use super::state::Flow;
use crate::decode::Packet;

/// Timeouts and limits, in seconds of event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableConfig {
    /// A flow without packets for this long ends.
    pub idle_s: u32,
    /// A TCP flow after both FINs or a RST ends after this long.
    pub closed_s: u32,
    /// A flow of this age ends and its successor goes on; 0 never.
    pub active_s: u32,
    /// Detection gives up after this long without payload.
    pub silence_s: u32,
    /// Base interval of `periodicUpdate`; 0 never.
    pub periodic_s: u32,
    /// Live flows at most.
    pub max_flows: usize,
    /// Seed of the hash, so that nobody can aim at one bucket.
    pub seed: u64,
}

/// XXH3 with a seed.
#[derive(Clone, Copy, Debug)]
struct Seeded(u64);

impl BuildHasher for Seeded {
    type Hasher = xxhash_rust::xxh3::Xxh3;

    fn build_hasher(&self) -> Self::Hasher {
        xxhash_rust::xxh3::Xxh3::with_seed(self.0)
    }

    fn hash_one<T: std::hash::Hash>(&self, value: T) -> u64 {
        let mut hasher = Bytes { bytes: [0; 64], len: 0 };
        value.hash(&mut hasher);
        xxhash_rust::xxh3::xxh3_64_with_seed(&hasher.bytes[..hasher.len], self.0)
    }
}

/// Collects a key's bytes, so that they are hashed at one go.
struct Bytes {
    bytes: [u8; 64],
    len: usize,
}

impl Hasher for Bytes {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        let end = (self.len + bytes.len()).min(self.bytes.len());
        self.bytes[self.len..end].copy_from_slice(&bytes[..end - self.len]);
        self.len = end;
    }
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    flow: Option<Box<Flow>>,
}

/// The flow table of one interface.
#[derive(Debug)]
pub struct FlowTable {
    config: TableConfig,
    index: HashMap<FlowKey, FlowIndex, Seeded>,
    slots: Vec<Slot>,
    free: Vec<FlowIndex>,
    wheel: Option<Wheel>,
    now: Timestamp,
    next_id: u64,
    id_step: u64,
    evicted: u64,
}

impl FlowTable {
    /// An empty table.
    pub fn new(config: TableConfig) -> Self {
        Self {
            config,
            index: HashMap::with_hasher(Seeded(config.seed)),
            slots: Vec::new(),
            free: Vec::new(),
            wheel: None,
            now: Timestamp::ZERO,
            next_id: 1,
            id_step: 1,
            evicted: 0,
        }
    }

    /// Numbers flows `first`, `first + step` and so on, so that several tables of one interface never
    /// use the same number. For a table that has seen nothing yet.
    pub fn number_flows(&mut self, first: u64, step: u64) {
        self.next_id = first;
        self.id_step = step;
    }

    /// How many flows live.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True when no flow lives.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Flows evicted because the table was full.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// A live flow.
    pub fn get(&self, index: FlowIndex) -> Option<&Flow> {
        self.slots.get(index as usize)?.flow.as_deref()
    }

    /// A live flow, to be changed.
    pub fn get_mut(&mut self, index: FlowIndex) -> Option<&mut Flow> {
        self.slots.get_mut(index as usize)?.flow.as_deref_mut()
    }

    /// Live flows in order of their ids.
    pub fn iter(&self) -> Vec<&Flow> {
        let mut flows: Vec<&Flow> = self.slots.iter().filter_map(|s| s.flow.as_deref()).collect();
        flows.sort_unstable_by_key(|f| f.id);
        flows
    }

    /// Moves time to `now` by at most one second that has timers, and tells what ended or is due.
    /// Returns true while there is more to do before `now`.
    pub fn advance(&mut self, now: Timestamp, events: &mut Vec<FlowEvent>) -> bool {
        let Some(wheel) = &mut self.wheel else {
            self.now = self.now.max(now);
            return false;
        };
        match wheel.fire(now) {
            Some((at, timers)) => {
                self.now = self.now.max(at);
                for timer in timers {
                    self.wake(timer, at, events);
                }
                true
            }
            None => {
                self.now = self.now.max(now);
                false
            }
        }
    }

    /// Puts a packet into its flow; a packet older than the table's time counts as of now. Returns
    /// the flow's place.
    pub fn on_packet(&mut self, packet: &Packet<'_>, events: &mut Vec<FlowEvent>) -> FlowIndex {
        let now = packet.ts.max(self.now);
        self.now = now;
        let (key, forward) = FlowKey::of(packet);
        if let Some(&found) = self.index.get(&key) {
            if !self.reopens(found, packet) {
                self.update(found, packet, forward, now, events);
                return found;
            }
            self.end(found, FlowEnd::Closed, events);
        }
        if self.index.len() >= self.config.max_flows {
            self.evict(events);
        }
        let id = self.next_id;
        self.next_id += self.id_step;
        let place = self.insert(Flow::begin(id, key, forward, packet, now));
        self.arm(place, now);
        self.update(place, packet, forward, now, events);
        place
    }

    /// Ends every flow, oldest id first.
    pub fn drain(&mut self, reason: FlowEnd, events: &mut Vec<FlowEvent>) {
        let mut live: Vec<(u64, FlowIndex)> = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(place, slot)| slot.flow.as_ref().map(|f| (f.id, place as FlowIndex)))
            .collect();
        live.sort_unstable();
        for (_, place) in live {
            self.end(place, reason, events);
        }
    }

    /// The table's event time.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Takes a live flow out while hooks' wishes are carried out on it.
    pub fn take(&mut self, index: FlowIndex) -> Option<Box<Flow>> {
        self.slots.get_mut(index as usize)?.flow.take()
    }

    /// Puts a flow back where it was taken from.
    pub fn put_back(&mut self, index: FlowIndex, flow: Box<Flow>) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.flow = Some(flow);
        }
    }

    /// Says that the hook invocation with the flow's present status has happened.
    pub fn status_told(&mut self, place: FlowIndex) {
        if let Some(flow) = self.get_mut(place) {
            flow.status_told = flow.status;
        }
    }

    /// Status bits changed since the last invocation: the bits at that time.
    pub fn status_change(&self, place: FlowIndex) -> Option<u64> {
        let flow = self.get(place)?;
        (flow.status != flow.status_told).then_some(flow.status_told)
    }

    /// A connection request on a connection that is over begins a new flow.
    fn reopens(&self, place: FlowIndex, packet: &Packet<'_>) -> bool {
        use shared::model::flow::{TCP_ACK, TCP_SYN};
        let syn = packet.tcp.as_ref().is_some_and(|t| t.flags & (TCP_SYN | TCP_ACK) == TCP_SYN);
        syn && self.get(place).is_some_and(|f| f.tcp.is_over())
    }

    fn update(
        &mut self,
        place: FlowIndex,
        packet: &Packet<'_>,
        forward: bool,
        now: Timestamp,
        events: &mut Vec<FlowEvent>,
    ) {
        let closed_s = i64::from(self.config.closed_s);
        let Some(flow) = self.get_mut(place) else { return };
        let was_over = flow.tcp.is_over();
        flow.on_packet(packet, forward, now);
        if !flow.l7.is_empty() && !flow.detected {
            flow.detected = true;
            events.push(FlowEvent::ProtocolDetected(place));
        }
        if flow.status != flow.status_told {
            events.push(FlowEvent::StatusChanged { flow: place, old: flow.status_told });
        }
        if !was_over && flow.tcp.is_over() {
            self.set_timer(place, now.plus_secs(closed_s));
        }
    }

    fn insert(&mut self, flow: Flow) -> FlowIndex {
        let key = flow.key;
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.slots.push(Slot { generation: 0, flow: None });
                (self.slots.len() - 1) as FlowIndex
            }
        };
        self.slots[place as usize].flow = Some(Box::new(flow));
        self.index.insert(key, place);
        place
    }

    fn arm(&mut self, place: FlowIndex, now: Timestamp) {
        if self.wheel.is_none() {
            self.wheel = Some(Wheel::new(now));
        }
        self.set_timer(place, now.plus_secs(i64::from(self.config.silence_s)));
    }

    fn set_timer(&mut self, place: FlowIndex, at: Timestamp) {
        let Some(slot) = self.slots.get(place as usize) else { return };
        let timer = Timer { flow: place, generation: slot.generation };
        if let Some(wheel) = &mut self.wheel {
            wheel.set(timer, at);
        }
    }

    /// A timer fired: does what is due, then sleeps until the next thing can be due.
    fn wake(&mut self, timer: Timer, at: Timestamp, events: &mut Vec<FlowEvent>) {
        let config = self.config;
        let place = timer.flow;
        let Some(slot) = self.slots.get_mut(place as usize) else { return };
        if slot.generation != timer.generation {
            return;
        }
        let Some(flow) = slot.flow.as_deref_mut() else { return };
        let secs = |s: u32| i64::from(s);
        let over = flow.tcp.is_over();
        let ends = flow.last_seen.plus_secs(secs(if over { config.closed_s } else { config.idle_s }));
        if ends <= at {
            let reason = if over { FlowEnd::Closed } else { FlowEnd::Idle };
            return self.end(place, reason, events);
        }
        let mut wake = ends;
        if !flow.detected {
            let gives_up = flow.last_payload.plus_secs(secs(config.silence_s));
            if gives_up <= at {
                flow.give_up();
                flow.detected = true;
                events.push(FlowEvent::ProtocolDetected(place));
            } else {
                wake = wake.min(gives_up);
            }
        }
        if config.periodic_s > 0 {
            let age = at.since(flow.first_seen) / shared::model::time::NS_PER_S;
            let ticks = u64::try_from(age / secs(config.periodic_s)).unwrap_or(0);
            if ticks > flow.ticks_told {
                flow.ticks_told = ticks;
                events.push(FlowEvent::PeriodicUpdate { flow: place, tick: ticks });
            }
            let next = (ticks as i64 + 1) * secs(config.periodic_s);
            wake = wake.min(flow.first_seen.plus_secs(next));
        }
        if config.active_s > 0 {
            let expires = flow.first_seen.plus_secs(secs(config.active_s));
            if expires <= at {
                return self.renew(place, at, events);
            }
            wake = wake.min(expires);
        }
        self.set_timer(place, wake);
    }

    /// Ends a flow that is too old and puts its successor in its place.
    fn renew(&mut self, place: FlowIndex, at: Timestamp, events: &mut Vec<FlowEvent>) {
        let Some(flow) = self.get(place) else { return };
        let mut successor = flow.succeed(self.next_id, at);
        successor.last_seen = flow.last_seen;
        self.next_id += self.id_step;
        self.end(place, FlowEnd::Active, events);
        let place = self.insert(successor);
        self.set_timer(place, at.plus_secs(i64::from(self.config.silence_s)));
    }

    fn end(&mut self, place: FlowIndex, reason: FlowEnd, events: &mut Vec<FlowEvent>) {
        let Some(slot) = self.slots.get_mut(place as usize) else { return };
        let Some(mut flow) = slot.flow.take() else { return };
        slot.generation = slot.generation.wrapping_add(1);
        self.index.remove(&flow.key);
        self.free.push(place);
        flow.give_up();
        if reason != FlowEnd::Active {
            flow.conclude();
        }
        events.push(FlowEvent::End { flow, reason });
    }

    /// Makes room: the oldest unanswered single-packet flow of a sample, else its longest idle one.
    fn evict(&mut self, events: &mut Vec<FlowEvent>) {
        const SAMPLE: usize = 64;
        let start = (self.next_id as usize).wrapping_mul(SAMPLE) % self.slots.len().max(1);
        let sample = (0..self.slots.len()).map(|n| (start + n) % self.slots.len());
        let victim = sample
            .filter_map(|place| self.slots[place].flow.as_deref().map(|f| (place, f)))
            .take(SAMPLE)
            .min_by_key(|(_, f)| {
                let answered = f.srv2cli.counters.packets > 0 || f.cli2srv.counters.packets > 1;
                (answered, f.last_seen, f.id)
            })
            .map(|(place, _)| place as FlowIndex);
        if let Some(place) = victim {
            self.evicted += 1;
            self.end(place, FlowEnd::Evicted, events);
        }
    }
}

impl Flow {
    /// Tells `protocolDetected`; true when it had not been told before.
    pub fn take_detection(&mut self) -> bool {
        !std::mem::replace(&mut self.detected, true)
    }

    /// Tells the status; the bits at the last invocation when they differ from now.
    pub fn take_status_change(&mut self) -> Option<u64> {
        let old = std::mem::replace(&mut self.status_told, self.status);
        (self.status != old).then_some(old)
    }
}

#[cfg(test)]
mod tests;
