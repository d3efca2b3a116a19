//! Data sets that came before their template, waiting for it: bounded by bytes and by age.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use shared::model::Timestamp;

use super::exporter::ExportClock;
use super::template::DomainKey;

/// A data set that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// Who sent it.
    pub from: IpAddr,
    /// Its domain.
    pub domain: DomainKey,
    /// Number of the template it waits for.
    pub template: u16,
    /// The times of its datagram.
    pub clock: ExportClock,
    /// Its records.
    pub bytes: Box<[u8]>,
    since: Timestamp,
}

/// All that waits, of all exporters, in order of arrival.
#[derive(Clone, Debug)]
pub struct Pending {
    queue: VecDeque<Waiting>,
    bytes: usize,
    by_exporter: HashMap<IpAddr, usize>,
    dropped: Vec<IpAddr>,
    max_bytes: usize,
    max_age_ns: i64,
}

/// What a waiting set costs besides its bytes.
const OVERHEAD: usize = std::mem::size_of::<Waiting>();

impl Pending {
    /// Keeps at most `max_bytes` in all, a quarter of that for one exporter, and nothing for longer
    /// than `max_age_ns`.
    pub fn new(max_bytes: usize, max_age_ns: i64) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            by_exporter: HashMap::new(),
            dropped: Vec::new(),
            max_bytes,
            max_age_ns,
        }
    }

    /// Bytes that wait, their administration included.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Puts a set aside. When it does not fit it is dropped itself: what waits longer is nearer to
    /// its template.
    pub fn put(
        &mut self,
        from: IpAddr,
        domain: DomainKey,
        template: u16,
        clock: ExportClock,
        received: Timestamp,
        bytes: &[u8],
    ) {
        self.expire(received);
        let cost = bytes.len() + OVERHEAD;
        let own = self.by_exporter.entry(from).or_default();
        if self.bytes + cost > self.max_bytes || *own + cost > self.max_bytes / 4 {
            if *own == 0 {
                self.by_exporter.remove(&from);
            }
            self.dropped.push(from);
            return;
        }
        *own += cost;
        self.bytes += cost;
        self.queue.push_back(Waiting { from, domain, template, clock, bytes: bytes.into(), since: received });
    }

    /// Takes out what waited for a template, in order of arrival.
    pub fn take(&mut self, from: IpAddr, domain: DomainKey, template: u16) -> Vec<Waiting> {
        if !self.by_exporter.contains_key(&from) {
            return Vec::new();
        }
        let wanted = |w: &Waiting| w.from == from && w.domain == domain && w.template == template;
        let (taken, kept) = std::mem::take(&mut self.queue).into_iter().partition::<Vec<_>, _>(wanted);
        self.queue = kept.into();
        for waiting in &taken {
            self.release(waiting);
        }
        taken
    }

    /// Drops what is too old.
    pub fn expire(&mut self, now: Timestamp) {
        while self.queue.front().is_some_and(|w| now.since(w.since) > self.max_age_ns) {
            if let Some(waiting) = self.queue.pop_front() {
                self.release(&waiting);
                self.dropped.push(waiting.from);
            }
        }
    }

    /// Who had a set dropped since the last time, once for each.
    pub fn take_dropped(&mut self) -> Vec<IpAddr> {
        std::mem::take(&mut self.dropped)
    }

    fn release(&mut self, waiting: &Waiting) {
        let cost = waiting.bytes.len() + OVERHEAD;
        self.bytes -= cost;
        if let Some(own) = self.by_exporter.get_mut(&waiting.from) {
            *own -= cost;
            if *own == 0 {
                self.by_exporter.remove(&waiting.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const DOMAIN: DomainKey = DomainKey { version: 9, id: 0, agent: 0 };

    fn put(pending: &mut Pending, from: IpAddr, template: u16, second: i64, bytes: usize) {
        let at = Timestamp::from_secs(second);
        pending.put(from, DOMAIN, template, ExportClock::plain(at), at, &vec![0; bytes]);
    }

    #[test]
    fn sets_wait_for_their_own_template_only() {
        let mut pending = Pending::new(100_000, 60_000_000_000);
        put(&mut pending, A, 256, 1, 10);
        put(&mut pending, B, 256, 1, 20);
        put(&mut pending, A, 257, 1, 30);
        put(&mut pending, A, 256, 1, 40);
        let lengths: Vec<_> = pending.take(A, DOMAIN, 256).iter().map(|w| w.bytes.len()).collect();
        assert_eq!(lengths, [10, 40]);
        assert!(pending.take(A, DOMAIN, 256).is_empty());
        assert_eq!(pending.bytes(), 50 + 2 * OVERHEAD);
    }

    #[test]
    fn what_does_not_fit_or_is_too_old_is_dropped_and_told() {
        let mut pending = Pending::new(4 * (1000 + OVERHEAD), 60_000_000_000);
        put(&mut pending, A, 256, 0, 1000);
        put(&mut pending, A, 256, 0, 1000);
        assert_eq!(pending.take_dropped(), [A], "an exporter has a quarter at most");
        put(&mut pending, B, 256, 61, 10);
        assert_eq!(pending.take_dropped(), [A]);
        assert_eq!(pending.bytes(), 10 + OVERHEAD);
        put(&mut pending, B, 256, 61, 1_000_000);
        assert_eq!(pending.take_dropped(), [B]);
    }
}
