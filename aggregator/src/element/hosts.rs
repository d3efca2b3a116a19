//! The hosts of one interface.

use std::collections::BTreeMap;
use std::ops::Bound;

use shared::model::l7_info::Text;
use shared::model::packed::Packed;
use shared::model::{AppCategory, ContactKind, FactKind, Granularity, HostKey, Timestamp};
use shared::wire::delta::HostDelta;

use super::Host;

/// One host in this many makes room when the table is full.
const EVICTED_SHARE: usize = 64;

/// Idle times and the cap, in seconds and hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostLimits {
    /// A local host without packets for this long is idle.
    pub local_idle_s: u32,
    /// A remote one.
    pub remote_idle_s: u32,
    /// Hosts kept at most.
    pub max_hosts: usize,
}

/// The last of some hosts.
struct Last {
    key: Option<HostKey>,
    room: usize,
}

impl Last {
    fn new(most: usize) -> Self {
        Self { key: None, room: most }
    }

    fn is(&mut self, key: HostKey) {
        (self.key, self.room) = (Some(key), self.room.saturating_sub(1));
    }

    /// It, when there were as many as might be.
    fn full(self) -> Option<HostKey> {
        self.key.filter(|_| self.room == 0)
    }
}

fn behind(after: Option<HostKey>) -> (Bound<HostKey>, Bound<HostKey>) {
    (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

/// The hosts of one interface, in order of address and VLAN.
#[derive(Clone, Debug)]
pub struct Hosts {
    limits: HostLimits,
    /// In boxes: an ordered map has room to spare.
    hosts: BTreeMap<HostKey, Box<Host>>,
    evicted: u64,
}

impl Hosts {
    /// No hosts.
    pub fn new(limits: HostLimits) -> Self {
        Self { limits, hosts: BTreeMap::new(), evicted: 0 }
    }

    /// No hosts yet, of an interface that had dropped so many.
    pub fn restored(limits: HostLimits, evicted: u64) -> Self {
        Self { limits, hosts: BTreeMap::new(), evicted }
    }

    /// Puts a host back.
    pub fn put(&mut self, key: HostKey, host: Host) {
        self.hosts.insert(key, Box::new(host));
    }

    /// Adds what a delta of so many seconds says of one host.
    pub fn apply(&mut self, delta: &HostDelta, at: Timestamp, seconds: u64) -> &mut Host {
        if !self.hosts.contains_key(&delta.key) && self.hosts.len() >= self.limits.max_hosts {
            self.evict();
        }
        let new = || Box::new(Host { first_seen: at, ..Host::default() });
        let host = self.hosts.entry(delta.key).or_insert_with(new);
        let mut counters = delta.counters;
        if counters.packets_sent.saturating_add(counters.packets_rcvd) > 0 {
            counters.active_seconds = counters.active_seconds.saturating_add(seconds);
        }
        if let Some(mac) = delta.mac {
            // Remote hosts all come with the router's.
            let other = host.mac.is_some_and(|known| known != mac);
            counters.mac_changes = counters.mac_changes.saturating_add(u64::from(other && delta.local));
            host.mac = Some(mac);
        }
        host.tally.add(&counters);
        host.local = delta.local;
        host.last_counted = at;
        host.idle = false;
        host.last_seen = host.last_seen.max(delta.last_seen);
        host
    }

    /// Looks up every host again when something more is counted of it: the databases are others.
    pub fn forget_places(&mut self) {
        self.hosts.values_mut().for_each(|host| host.located = false);
    }

    /// Notes whom a known host got in touch with.
    pub fn contact(&mut self, key: HostKey, kind: ContactKind, hash: u64) {
        if let Some(host) = self.hosts.get_mut(&key) {
            host.contacts.get_or_insert_default().note(kind, hash);
        }
    }

    /// Adds what a known host used the network for.
    pub fn used(&mut self, key: HostKey, category: AppCategory, sent: u64, rcvd: u64) {
        if let Some(host) = self.hosts.get_mut(&key) {
            let mut bytes = [0; 2 * AppCategory::ALL.len()];
            bytes[2 * category as usize] = sent;
            bytes[2 * category as usize + 1] = rcvd;
            let facts = host.facts.get_or_insert_default();
            facts.categories = facts.categories.plus(&Packed::new(&bytes));
        }
    }

    /// Notes what was learned of a known host.
    pub fn learned(&mut self, key: HostKey, kind: FactKind, text: &Text) {
        if let Some(host) = self.hosts.get_mut(&key) {
            let facts = host.facts.get_or_insert_default();
            match kind {
                FactKind::Name => facts.called(text),
                FactKind::Os => facts.os = text.clone(),
            }
        }
    }

    /// Marks hosts that are idle at `now`; gives those that have just become so.
    ///
    /// A host is idle when it has sent and received nothing for its idle time, and every minute run
    /// has seen what was counted of it since: a connection that nobody answers is counted when it is
    /// given up, long after its last packet.
    ///
    /// At most `most` hosts behind one are gone through, and `each` is told of each and whether it has just
    /// become idle; gives the last of them, unless there are no more.
    pub fn mark_idle_after(
        &mut self,
        after: Option<HostKey>,
        most: usize,
        now: Timestamp,
        mut each: impl FnMut(HostKey, &Host, bool),
    ) -> Option<HostKey> {
        let mut last = Last::new(most);
        for (key, host) in self.hosts.range_mut(behind(after)).take(most) {
            let limit = if host.local { self.limits.local_idle_s } else { self.limits.remote_idle_s };
            let silent = host.last_seen.plus_secs(limit.into()) <= now;
            let is_new = !host.idle && silent && host.last_counted.plus_secs(60) <= now;
            host.idle |= is_new;
            each(*key, host, is_new);
            last.is(*key);
        }
        last.full()
    }

    /// Hosts that a run of this period calls: the active ones; for hour and day also those seen
    /// `since` the window began.
    pub fn of_run(&self, granularity: Granularity, since: Timestamp) -> Vec<HostKey> {
        let called = |(_, host): &(&HostKey, &Host)| host.is_called(granularity, since);
        self.iter().filter(called).map(|(key, _)| *key).collect()
    }

    /// Notes that a run of this period took place, which did not reach the hosts `missed`, in order. At most
    /// `most` hosts behind one are gone through; gives the last of them, unless there are no more.
    pub fn ran(
        &mut self,
        granularity: Granularity,
        missed: &[HostKey],
        after: Option<HostKey>,
        most: usize,
    ) -> Option<HostKey> {
        let mut last = Last::new(most);
        for (key, host) in self.hosts.range_mut(behind(after)).take(most) {
            let reached = missed.binary_search(key).is_err();
            host.tally.ran(granularity, reached);
            if granularity == Granularity::Hour && reached {
                host.contacts = None;
            }
            last.is(*key);
        }
        last.full()
    }

    /// At most `most` hosts behind one.
    pub fn behind(&self, after: Option<HostKey>, most: usize) -> impl Iterator<Item = (&HostKey, &Host)> {
        self.hosts.range(behind(after)).take(most).map(|(key, host)| (key, &**host))
    }

    /// Notes that a sample of the series was taken outside a minute run.
    pub fn sampled(&mut self) {
        self.hosts.values_mut().for_each(|host| host.tally.sampled());
    }

    /// Forgets hosts that are idle; done when every period with hooks has seen them.
    pub fn forget_idle(&mut self) {
        self.hosts.retain(|_, host| !host.idle);
    }

    /// One host.
    pub fn get(&self, key: HostKey) -> Option<&Host> {
        self.hosts.get(&key).map(|host| &**host)
    }

    /// All hosts in order.
    pub fn iter(&self) -> impl Iterator<Item = (&HostKey, &Host)> {
        self.hosts.iter().map(|(key, host)| (key, &**host))
    }

    /// Hosts after `key` in order.
    pub fn after(&self, key: Option<HostKey>) -> impl Iterator<Item = (&HostKey, &Host)> {
        use std::ops::Bound;
        let from = key.map_or(Bound::Unbounded, Bound::Excluded);
        self.hosts.range((from, Bound::Unbounded)).map(|(key, host)| (key, &**host))
    }

    /// Hosts dropped because there were too many.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Active hosts and active local hosts.
    pub fn active(&self) -> (u64, u64) {
        let active = self.hosts.values().filter(|h| !h.idle);
        active.fold((0, 0), |(all, local), host| (all + 1, local + u64::from(host.local)))
    }

    /// Drops idle hosts, then those that have been silent for longest: one in [`EVICTED_SHARE`].
    ///
    /// Many at once, because finding them looks at every host: a scan that fills the table brings
    /// hosts faster than that.
    fn evict(&mut self) {
        let by_age = |(key, host): (&HostKey, &Host)| (!host.idle, host.last_seen, *key);
        let mut by_age: Vec<_> = self.iter().map(by_age).collect();
        let room = (by_age.len() / EVICTED_SHARE).max(1).min(by_age.len());
        if room < by_age.len() {
            by_age.select_nth_unstable(room);
        }
        for (_, _, key) in &by_age[..room] {
            self.hosts.remove(key);
        }
        self.evicted = self.evicted.saturating_add(room as u64);
    }

    /// How many are kept, idle ones included.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// True when none is kept.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use shared::model::{HostCounters, HostPools};
    use shared::script::element::InfoValue;

    use super::*;

    impl Hosts {
        fn mark_idle(&mut self, now: Timestamp) -> Vec<HostKey> {
            let (mut idle, mut after) = (Vec::new(), None);
            loop {
                after = self.mark_idle_after(after, 3, now, |key, _, is_new| {
                    if is_new {
                        idle.push(key);
                    }
                });
                if after.is_none() {
                    return idle;
                }
            }
        }
    }

    fn delta(ip: &str, at: i64, local: bool) -> HostDelta {
        HostDelta {
            key: HostKey::new(ip.parse().unwrap(), 0),
            mac: None,
            local,
            last_seen: Timestamp::from_secs(at),
            counters: HostCounters { packets_sent: 1, ..HostCounters::default() },
        }
    }

    fn hosts() -> Hosts {
        Hosts::new(HostLimits { local_idle_s: 300, remote_idle_s: 60, max_hosts: 3 })
    }

    fn run(hosts: &Hosts, granularity: Granularity, at: i64) -> Vec<String> {
        let since = Timestamp::from_secs(at - granularity.seconds());
        hosts.of_run(granularity, since).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn idle_hosts_are_left_out_but_the_hour_still_calls_them() {
        let mut hosts = hosts();
        hosts.apply(&delta("10.0.0.1", 1000, true), Timestamp::from_secs(1000), 1);
        hosts.apply(&delta("192.0.2.9", 1000, false), Timestamp::from_secs(1000), 1);
        assert!(hosts.mark_idle(Timestamp::from_secs(1020)).is_empty());
        assert_eq!(run(&hosts, Granularity::Min, 1020), ["10.0.0.1", "192.0.2.9"]);
        assert_eq!(hosts.mark_idle(Timestamp::from_secs(1080)).len(), 1);
        assert!(hosts.mark_idle(Timestamp::from_secs(1080)).is_empty(), "told once");
        assert_eq!(run(&hosts, Granularity::Min, 1080), ["10.0.0.1"]);
        assert_eq!(run(&hosts, Granularity::Hour, 3600), ["10.0.0.1", "192.0.2.9"]);
        // What is counted late, of packets seen long ago, is seen by one more run.
        hosts.apply(&delta("192.0.2.9", 1000, false), Timestamp::from_secs(1070), 1);
        hosts.mark_idle(Timestamp::from_secs(1080));
        assert_eq!(run(&hosts, Granularity::Min, 1080), ["10.0.0.1", "192.0.2.9"]);
        assert_eq!(hosts.mark_idle(Timestamp::from_secs(1140)).len(), 1);
        hosts.apply(&delta("192.0.2.9", 1100, false), Timestamp::from_secs(1100), 1);
        assert_eq!(run(&hosts, Granularity::Min, 1140), ["10.0.0.1", "192.0.2.9"]);
    }

    #[test]
    fn the_last_four_names_are_kept() {
        let mut hosts = hosts();
        let one = delta("10.0.0.1", 100, true);
        hosts.apply(&one, Timestamp::from_secs(100), 1);
        for name in ["a", "b", "a", "c", "d", "e", "e"] {
            hosts.learned(one.key, FactKind::Name, &Text::from(name));
        }
        let host = hosts.get(one.key).unwrap();
        let names = |host: &Host| {
            let info = host.info(one.key, &HostPools::default());
            info.into_iter().find(|(name, _)| *name == "names").map(|(_, value)| value)
        };
        let expected = Some(InfoValue::Text("e, d, c, a".to_owned()));
        assert_eq!(names(host), expected);
        let (_, again) = Host::restore(host.save(0, one.key)).unwrap();
        assert_eq!(names(&again), expected);
    }

    #[test]
    fn the_longest_silent_host_makes_room() {
        let mut hosts = hosts();
        for n in 1..=4 {
            hosts.apply(&delta(&format!("10.0.0.{n}"), 100 - n, true), Timestamp::from_secs(100), 1);
        }
        assert_eq!((hosts.iter().count(), hosts.evicted()), (3, 1));
        assert!(hosts.get(HostKey::new("10.0.0.3".parse().unwrap(), 0)).is_none());
    }

    #[test]
    fn a_full_table_makes_room_for_many_at_once_idle_hosts_first() {
        let limits = HostLimits { local_idle_s: 300, remote_idle_s: 60, max_hosts: 640 };
        let mut hosts = Hosts::new(limits);
        for n in 0..640 {
            // Local hosts are the older ones, but the remote ones of the first ten are idle by 200.
            let (at, local) = if n < 10 { (100, false) } else { (99, true) };
            hosts.apply(
                &delta(&format!("10.0.{}.{}", n / 200, n % 200), at, local),
                Timestamp::from_secs(at),
                1,
            );
        }
        assert_eq!(hosts.mark_idle(Timestamp::from_secs(200)).len(), 10);
        hosts.apply(&delta("10.1.0.0", 200, true), Timestamp::from_secs(200), 1);
        assert_eq!((hosts.len(), hosts.evicted()), (631, 10));
        assert!(hosts.iter().all(|(_, host)| !host.idle), "idle hosts go first");
    }
}
