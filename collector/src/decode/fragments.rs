//! Which flow the later fragments of a datagram belong to.
//!
//! Only the first fragment has ports, and only it shows what a tunnel carries, so it is remembered
//! until its datagram is complete or 30 seconds of packet time have passed. The memory is fixed: a
//! datagram may stand in eight places, and takes the one of the oldest when all are held.

use std::net::IpAddr;

use shared::model::pool::Mac;
use shared::model::{L4, Timestamp};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::ip::Network;
use super::{Packet, Tunnel};

/// How long a datagram's fragments are waited for.
const LIFETIME_S: i64 = 30;
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
    tunnel: Option<Tunnel>,
}

impl Key {
    pub(super) fn of(packet: &Packet<'_>, network: &Network<'_>) -> Self {
        let l4 = if packet.src.is_ipv4() { packet.l4.0 } else { 0 };
        let Packet { src, dst, vlan, tunnel, .. } = *packet;
        Self { src, dst, id: network.id, l4, vlan, tunnel }
    }

    fn hash(&self, seed: u64) -> u64 {
        let mut bytes = [0; 40];
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

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: Key,
    owner: Owner,
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
    pub(super) evicted: u64,
}

impl Fragments {
    /// Room for at least `capacity` datagrams, rounded up to a power of two.
    pub(super) fn new(capacity: usize, seed: u64) -> Self {
        Self { sets: Vec::new(), set_count: capacity.div_ceil(WAYS).next_power_of_two(), seed, evicted: 0 }
    }

    fn set(&mut self, key: &Key) -> Option<&mut [Option<Entry>; WAYS]> {
        let place = key.hash(self.seed) as usize & (self.set_count - 1);
        self.sets.get_mut(place)
    }

    /// Remembers `packet` as the owner of the datagram whose first fragment has just come.
    pub(super) fn first(&mut self, key: Key, packet: &Packet<'_>, network: &Network<'_>) {
        if self.sets.is_empty() {
            self.sets = vec![[None; WAYS]; self.set_count];
        }
        let Packet { src, dst, l4, src_port, dst_port, vlan, inner_vlan, tunnel, src_mac, dst_mac, .. } =
            *packet;
        let owner = Owner { src, dst, l4, src_port, dst_port, vlan, inner_vlan, tunnel, src_mac, dst_mac };
        let now = packet.ts;
        let entry = Entry { key, owner, since: now, seen: network.rest.wire, total: 0 };
        let Some(set) = self.set(&key) else { return };
        let mut evicted = false;
        // An identification that is used again replaces its old datagram.
        let place = set.iter().position(|slot| slot.is_some_and(|old| old.key == key));
        let place = place.or_else(|| set.iter().position(|slot| slot.is_none_or(|old| old.expired(now))));
        let place = place.or_else(|| {
            evicted = true;
            let age = |slot: &Option<Entry>| slot.map(|old| old.since);
            set.iter().enumerate().min_by_key(|(_, slot)| age(slot)).map(|(place, _)| place)
        });
        if let Some(slot) = place.and_then(|place| set.get_mut(place)) {
            *slot = Some(entry);
        }
        self.evicted += u64::from(evicted);
    }

    /// Gives a later fragment what its first one told; false when that was not seen.
    pub(super) fn later(&mut self, packet: &mut Packet<'_>, network: &Network<'_>) -> bool {
        let key = Key::of(packet, network);
        let now = packet.ts;
        let Some(set) = self.set(&key) else { return false };
        let fits = |slot: &&mut Option<Entry>| slot.is_some_and(|old| old.key == key && !old.expired(now));
        let Some(slot) = set.iter_mut().find(fits) else { return false };
        let Some(entry) = slot else { return false };
        entry.owner.lend(packet);
        entry.seen = entry.seen.saturating_add(network.rest.wire);
        if network.last {
            entry.total = network.offset.saturating_add(network.rest.wire);
        }
        if entry.total != 0 && entry.seen >= entry.total {
            *slot = None;
        }
        true
    }
}

impl Entry {
    fn expired(&self, now: Timestamp) -> bool {
        now >= self.since.plus_secs(LIFETIME_S)
    }
}

impl Owner {
    fn lend(&self, packet: &mut Packet<'_>) {
        (packet.src, packet.dst, packet.l4) = (self.src, self.dst, self.l4);
        (packet.src_port, packet.dst_port) = (self.src_port, self.dst_port);
        (packet.vlan, packet.inner_vlan, packet.tunnel) = (self.vlan, self.inner_vlan, self.tunnel);
        (packet.src_mac, packet.dst_mac) = (self.src_mac, self.dst_mac);
    }
}
