//! Which flow the later fragments of a datagram belong to.
//!
//! Only the first fragment has ports, and only it shows what a tunnel carries, so it is remembered
//! until its datagram is complete or 30 seconds of packet time have passed. The memory is fixed: a
//! datagram may stand in eight places, and takes the one of the oldest when all are held.
//!
//! Later fragments that overtook their first one wait for it, as counters, for two seconds; those of
//! which it never comes are given out without ports.

use std::net::IpAddr;

use shared::model::pool::Mac;
use shared::model::{L4, Timestamp};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ip::Network;
use super::{Fragment, Packet, Tunnel};

/// How long a datagram's fragments are waited for.
const LIFETIME_S: i64 = 30;
/// How long fragments wait for the first one of their datagram: routers that send them in another order
/// do so within milliseconds.
const PATIENCE_S: i64 = 2;
/// Places where one datagram may stand.
const WAYS: usize = 8;

/// Identifies a datagram (RFC 791 §3.2, RFC 8200 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    src: IpAddr,
    dst: IpAddr,
    id: u32,
    /// 0 for IPv6, where the identification alone counts and later fragments do not name it.
    l4: u8,
    vlan: u16,
    inner_vlan: u16,
    tunnel: Option<Tunnel>,
}

impl Key {
    pub(super) fn of(packet: &Packet<'_>, network: &Network<'_>) -> Self {
        let l4 = if packet.src.is_ipv4() { packet.l4.0 } else { 0 };
        let Packet { src, dst, vlan, inner_vlan, tunnel, .. } = *packet;
        Self { src, dst, id: network.id, l4, vlan, inner_vlan, tunnel }
    }

    fn hash(&self, seed: u64) -> u64 {
        let mut bytes = [0; 48];
        let mut put = |at: usize, part: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
        };
        put(0, &bits(self.src).to_le_bytes());
        put(16, &bits(self.dst).to_le_bytes());
        put(32, &self.id.to_le_bytes());
        put(36, &self.vlan.to_le_bytes());
        put(38, &[self.l4]);
        put(40, &self.inner_vlan.to_le_bytes());
        xxh3_64_with_seed(&bytes, seed)
    }
}

fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).into(),
        IpAddr::V6(ip) => ip.into(),
    }
}

/// What all fragments of a datagram share with the packet that its first one shows.
#[derive(Clone, Copy, Debug)]
struct Owner {
    src: IpAddr,
    dst: IpAddr,
    l4: L4,
    src_port: u16,
    dst_port: u16,
    vlan: u16,
    inner_vlan: u16,
    tunnel: Option<Tunnel>,
    src_mac: Option<Mac>,
    dst_mac: Option<Mac>,
}

/// Fragments that overtook the first one of their datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overtaking {
    /// How many.
    pub packets: u16,
    /// Their bytes on the wire.
    pub bytes: u32,
    /// Their bytes of layer-4 payload.
    pub payload: u32,
}

impl Overtaking {
    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            packets: self.packets.saturating_add(other.packets),
            bytes: self.bytes.saturating_add(other.bytes),
            payload: self.payload.saturating_add(other.payload),
        }
    }

    fn add(&mut self, packet: &Packet<'_>) {
        *self = self.and(Self { packets: 1, bytes: packet.length, payload: packet.payload_len });
    }
}

/// What became of a later fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Later {
    /// It has what its first one told.
    Known,
    /// It waits for its first one.
    Waits,
    /// Its first one was not seen.
    Orphan,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    /// Without ports, and perhaps of the tunnel around it, while the first fragment has not come.
    owner: Owner,
    /// Those that wait for the first fragment; none when it has come.
    waiting: Overtaking,
    since: Timestamp,
    /// Bytes of the datagram seen.
    seen: u32,
    /// Its length, known from the last fragment; 0 until then.
    total: u32,
}

/// Datagrams whose first fragment was seen.
#[derive(Debug)]
pub(super) struct Fragments {
    /// Empty until the first fragment comes.
    sets: Vec<[Option<Entry>; WAYS]>,
    /// A power of two.
    set_count: usize,
    seed: u64,
    /// Whether later fragments wait for their first one.
    patient: bool,
    /// How many datagrams wait.
    waiting: usize,
    /// Those that waited in vain; whoever is patient takes them out after each few packets.
    overdue: Vec<Packet<'static>>,
    pub(super) evicted: u64,
}

impl Fragments {
    /// Room for at least `capacity` datagrams, rounded up to a power of two.
    pub(super) fn new(capacity: usize, seed: u64, patient: bool) -> Self {
        let set_count = capacity.div_ceil(WAYS).next_power_of_two();
        Self { sets: Vec::new(), set_count, seed, patient, waiting: 0, overdue: Vec::new(), evicted: 0 }
    }

    fn set(&mut self, key: &Key) -> Option<&mut [Option<Entry>; WAYS]> {
        let place = key.hash(self.seed) as usize & (self.set_count - 1);
        self.sets.get_mut(place)
    }

    /// Remembers `packet` as the owner of the datagram whose first fragment has just come. Returns
    /// the later ones that waited for it.
    pub(super) fn first(&mut self, key: Key, packet: &Packet<'_>, network: &Network<'_>) -> Overtaking {
        self.make_room();
        let now = packet.ts;
        let owner = Owner::of(packet);
        let mut entry = Entry {
            key,
            owner,
            waiting: Overtaking::default(),
            since: now,
            seen: network.rest.wire,
            total: 0,
        };
        let Some(set) = self.set(&key) else { return Overtaking::default() };
        let mut evicted = false;
        // An identification that is used again replaces its old datagram.
        let place = set.iter().position(|slot| slot.is_some_and(|old| old.key == key));
        let place = place.or_else(|| set.iter().position(|slot| slot.is_none_or(|old| old.expired(now))));
        let place = place.or_else(|| {
            evicted = true;
            let age = |slot: &Option<Entry>| slot.map(|old| old.since);
            set.iter().enumerate().min_by_key(|(_, slot)| age(slot)).map(|(place, _)| place)
        });
        let Some(slot) = place.and_then(|place| set.get_mut(place)) else { return Overtaking::default() };
        let old = slot.take();
        let overtook = old.filter(|old| old.waits() && old.key == key && !old.expired(now));
        if let Some(old) = &overtook {
            entry.seen = entry.seen.saturating_add(old.seen);
            entry.total = old.total;
        }
        if !entry.complete() {
            *slot = Some(entry);
        }
        self.evicted += u64::from(evicted);
        match overtook {
            Some(old) => {
                self.waiting -= 1;
                old.waiting
            }
            None => {
                self.give_out(old, now);
                Overtaking::default()
            }
        }
    }

    /// Gives a later fragment what its first one told, or lets it wait for that.
    pub(super) fn later(&mut self, packet: &mut Packet<'_>, network: &Network<'_>) -> Later {
        if self.patient {
            self.make_room();
        }
        let key = Key::of(packet, network);
        let (now, patient) = (packet.ts, self.patient);
        let Some(set) = self.set(&key) else { return Later::Orphan };
        let known = set.iter().position(|slot| slot.is_some_and(|old| old.key == key && !old.expired(now)));
        let free = || set.iter().position(|slot| slot.is_none_or(|old| old.expired(now)));
        let Some(place) = known.or_else(|| free().filter(|_| patient)) else { return Later::Orphan };
        let Some(slot) = set.get_mut(place) else { return Later::Orphan };
        let expired = if known.is_none() { slot.take() } else { None };
        let begins = slot.is_none();
        let waiting = Overtaking::default();
        let owner = Owner::of(packet);
        let entry = slot.get_or_insert(Entry { key, owner, waiting, since: now, seen: 0, total: 0 });
        entry.seen = entry.seen.saturating_add(network.rest.wire);
        if network.last {
            entry.total = network.offset.saturating_add(network.rest.wire);
        }
        if begins || entry.waits() {
            entry.waiting.add(packet);
            self.waiting += usize::from(begins);
            self.give_out(expired, now);
            return Later::Waits;
        }
        entry.owner.lend(packet);
        if entry.complete() {
            *slot = None;
        }
        Later::Known
    }

    /// Gives out what has waited too long at `now`, or all of it.
    pub(super) fn sweep(&mut self, now: Timestamp, all: bool) {
        if self.waiting == 0 {
            return;
        }
        let mut gone = Vec::new();
        for slot in self.sets.iter_mut().flatten() {
            if slot.is_some_and(|entry| entry.waits() && (all || entry.expired(now))) {
                gone.push(slot.take());
            }
        }
        gone.into_iter().for_each(|entry| self.give_out(entry, now));
    }

    /// Fragments that waited in vain: one packet without ports for all of a datagram.
    pub(super) fn take_overdue(&mut self) -> Option<Packet<'static>> {
        self.overdue.pop()
    }

    fn make_room(&mut self) {
        if self.sets.is_empty() {
            self.sets = vec![[None; WAYS]; self.set_count];
        }
    }

    fn give_out(&mut self, entry: Option<Entry>, now: Timestamp) {
        if let Some(entry) = entry.filter(Entry::waits) {
            self.waiting -= 1;
            self.overdue.push(entry.packet(now));
        }
    }
}

impl Entry {
    fn waits(&self) -> bool {
        self.waiting.packets > 0
    }

    fn complete(&self) -> bool {
        self.total != 0 && self.seen >= self.total
    }

    fn expired(&self, now: Timestamp) -> bool {
        now >= self.since.plus_secs(if self.waits() { PATIENCE_S } else { LIFETIME_S })
    }

    fn packet(&self, now: Timestamp) -> Packet<'static> {
        let Owner { src, dst, l4, .. } = self.owner;
        let mut packet = Packet::new(now, 0, src, dst, l4);
        self.owner.lend(&mut packet);
        (packet.fragment, packet.overtaking) = (Fragment::Later, self.waiting);
        packet
    }
}

impl Owner {
    fn of(packet: &Packet<'_>) -> Self {
        let Packet { src, dst, l4, src_port, dst_port, vlan, inner_vlan, tunnel, src_mac, dst_mac, .. } =
            *packet;
        Self { src, dst, l4, src_port, dst_port, vlan, inner_vlan, tunnel, src_mac, dst_mac }
    }

    fn lend(&self, packet: &mut Packet<'_>) {
        (packet.src, packet.dst, packet.l4) = (self.src, self.dst, self.l4);
        (packet.src_port, packet.dst_port) = (self.src_port, self.dst_port);
        (packet.vlan, packet.inner_vlan, packet.tunnel) = (self.vlan, self.inner_vlan, self.tunnel);
        (packet.src_mac, packet.dst_mac) = (self.src_mac, self.dst_mac);
    }
}
