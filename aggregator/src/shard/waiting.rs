//! Deltas that have come while their shard was at another one: taken from the bus, so that nobody waits for
//! the end of a long run, and applied in order after it.

use std::collections::VecDeque;

use shared::bus::Queued;

use super::{Credit, UnderWay};

/// Deltas that wait at most, and the bytes of those; what comes beyond that waits on the bus.
const MOST: (usize, usize) = (1024, 64 << 20);

/// What a delta holds until it has been applied.
pub enum Held {
    /// Its part in the count of those that are under way.
    UnderWay { _under_way: UnderWay },
    /// Its place, too.
    Credit { _credit: Credit },
}

/// Deltas that wait, in order.
#[derive(Default)]
pub struct Waiting {
    deltas: VecDeque<(Queued, Held)>,
    bytes: usize,
}

impl Waiting {
    /// Takes one that will be applied next.
    pub fn push_first(&mut self, delta: Queued, credit: Credit) {
        self.keep(delta, Held::Credit { _credit: credit });
    }

    /// Takes one that will wait. It counts as taken unless too many do: on a bus that keeps what was taken
    /// it comes again when the shard fails before it is applied, inside one process it went with that.
    pub fn push(&mut self, delta: Queued, credit: Credit) {
        let (most, most_bytes) = MOST;
        if self.deltas.len() >= most || self.bytes >= most_bytes {
            return self.push_first(delta, credit);
        }
        let Queued { subject, sequence, attempt, headers, payload, .. } = &delta;
        let (subject, headers) = (subject.clone(), headers.clone());
        let taken = Queued::new(subject, *sequence, *attempt, headers, payload.clone(), |_| {});
        delta.ack();
        self.keep(taken, Held::UnderWay { _under_way: credit.under_way });
    }

    fn keep(&mut self, delta: Queued, held: Held) {
        self.bytes += delta.payload.len();
        self.deltas.push_back((delta, held));
    }

    /// The one that has waited for longest.
    pub fn next(&mut self) -> Option<(Queued, Held)> {
        let (delta, held) = self.deltas.pop_front()?;
        self.bytes -= delta.payload.len();
        Some((delta, held))
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    /// Forgets all: the bus gives them again.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shared::bus::{Headers, Settlement};
    use tokio::sync::Semaphore;

    use super::super::Backlog;
    use super::*;

    #[test]
    fn who_waits_is_taken_until_too_many_do_and_all_come_in_order() {
        let (settled, said) = std::sync::mpsc::channel();
        let (backlog, places) = (Backlog::default(), Arc::new(Semaphore::new(2000)));
        let credit = || Credit {
            under_way: backlog.enter(),
            _place: Arc::clone(&places).try_acquire_owned().unwrap(),
        };
        let delta = |sequence| {
            let settled = settled.clone();
            let tell = move |how| {
                settled.send((sequence, matches!(how, Some(Settlement::Ack)))).unwrap();
            };
            Queued::new("dl".to_owned(), sequence, 1, Headers::default(), vec![0; 10].into(), tell)
        };
        let mut waiting = Waiting::default();
        (0..1030).for_each(|sequence| waiting.push(delta(sequence), credit()));
        let taken: Vec<(u64, bool)> = said.try_iter().collect();
        assert_eq!(taken, (0..1024).map(|sequence| (sequence, true)).collect::<Vec<_>>());
        assert_eq!((backlog.count(), places.available_permits()), (1030, 2000 - 6));
        for sequence in 0..1030 {
            let (next, _held) = waiting.next().unwrap();
            assert_eq!(next.sequence, sequence);
        }
        assert!(waiting.is_empty() && waiting.bytes == 0);
        assert_eq!((backlog.count(), places.available_permits()), (0, 2000));
        assert_eq!(
            said.try_iter().filter(|(_, acknowledged)| *acknowledged).count(),
            0,
            "not before applied"
        );
    }

    #[test]
    fn large_ones_wait_on_the_bus() {
        let places = Arc::new(Semaphore::new(10));
        let credit = || Credit {
            under_way: Backlog::default().enter(),
            _place: Arc::clone(&places).try_acquire_owned().unwrap(),
        };
        let large =
            || Queued::new("dl".to_owned(), 1, 1, Headers::default(), vec![0; 40 << 20].into(), |_| {});
        let mut waiting = Waiting::default();
        (0..3).for_each(|_| waiting.push(large(), credit()));
        assert_eq!(places.available_permits(), 9, "two were taken");
    }
}
