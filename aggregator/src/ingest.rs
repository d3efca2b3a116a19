//! Numbers of batches: what comes twice is skipped, what is missing is counted. Pure.

use std::collections::{BTreeMap, BTreeSet};

use shared::wire::delta::Producer;

use crate::snapshot;

/// Missing numbers remembered per producer; older ones count as lost for good.
const MAX_MISSING: usize = 10_000;

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Apply it.
    New,
    /// It was applied before.
    Duplicate,
    /// It is of the run before the one at hand, which was given up: it is late, or comes once more.
    Late,
    /// It is of a run that says to have begun before those that are known, and was never heard: nothing
    /// of it can be applied. True for the first of that run.
    Stale(bool),
}

#[derive(Clone, Debug, Default)]
struct Run {
    epoch: u64,
    /// Highest number seen.
    last: u64,
    /// Lower numbers not seen yet: on NATS a batch that was not acknowledged comes again later.
    missing: BTreeSet<u64>,
    /// The epoch of the run before.
    before: u64,
    /// The last epoch that was [`Verdict::Stale`].
    stale: u64,
}

/// Producers by site, node and interface.
#[derive(Clone, Debug, Default)]
pub struct Ingest {
    producers: BTreeMap<(String, String, u32), Run>,
    /// Numbers given up as lost.
    pub lost: u64,
    /// Batches that came twice.
    pub duplicates: u64,
    /// Batches of runs that could not be taken, because they say to have begun earlier than others.
    pub stale: u64,
}

impl Ingest {
    /// Judges a batch and remembers its number.
    pub fn judge(&mut self, producer: &Producer) -> Verdict {
        let key = (producer.site.clone(), producer.node.clone(), producer.ifid);
        let new = !self.producers.contains_key(&key);
        let run = self.producers.entry(key).or_default();
        if !new && producer.epoch < run.epoch {
            if producer.epoch == run.before {
                return Verdict::Late;
            }
            self.stale = self.stale.saturating_add(1);
            let first = std::mem::replace(&mut run.stale, producer.epoch) != producer.epoch;
            return Verdict::Stale(first);
        }
        if new || producer.epoch > run.epoch {
            self.lost = self.lost.saturating_add(run.missing.len() as u64);
            // Who starts listening in the middle of a run has missed nothing that it was to hear.
            let before = if new { producer.sequence.saturating_sub(1) } else { 0 };
            *run = Run {
                epoch: producer.epoch,
                last: before,
                missing: BTreeSet::new(),
                before: run.epoch,
                stale: run.stale,
            };
        }
        if producer.sequence > run.last {
            let gap = producer.sequence - run.last - 1;
            let remembered = gap.min(MAX_MISSING as u64);
            self.lost = self.lost.saturating_add(gap - remembered);
            run.missing.extend(producer.sequence - remembered..producer.sequence);
            run.last = producer.sequence;
            while run.missing.len() > MAX_MISSING {
                run.missing.pop_first();
                self.lost = self.lost.saturating_add(1);
            }
            return Verdict::New;
        }
        match run.missing.remove(&producer.sequence) {
            true => Verdict::New,
            false => {
                self.duplicates += 1;
                Verdict::Duplicate
            }
        }
    }

    /// What is known of producers, to be kept somewhere.
    pub fn save(&self) -> Vec<snapshot::Producer> {
        let saved = self.producers.iter().map(|((site, node, ifid), run)| snapshot::Producer {
            site: site.clone(),
            node: node.clone(),
            ifid: *ifid,
            epoch: run.epoch,
            last: run.last,
            missing: run.missing.iter().copied().collect(),
            before: run.before,
            stale: run.stale,
        });
        saved.collect()
    }

    /// Puts back what [`Ingest::save`] gave.
    pub fn restore(&mut self, saved: Vec<snapshot::Producer>, lost: u64, duplicates: u64, stale: u64) {
        let run = |saved: snapshot::Producer| {
            let snapshot::Producer { site, node, ifid, epoch, last, missing, before, stale } = saved;
            let missing = missing.into_iter().collect();
            ((site, node, ifid), Run { epoch, last, missing, before, stale })
        };
        *self = Self { producers: saved.into_iter().map(run).collect(), lost, duplicates, stale };
    }

    /// Numbers that have not come, lost or only late.
    pub fn missing(&self) -> u64 {
        let late: usize = self.producers.values().map(|run| run.missing.len()).sum();
        self.lost.saturating_add(late as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(ingest: &mut Ingest, epoch: u64, sequence: u64) -> Verdict {
        let text = |t: &str| t.to_owned();
        ingest.judge(&Producer {
            site: text("s"),
            node: text("n"),
            ifid: 0,
            interface: text("e"),
            epoch,
            sequence,
        })
    }

    #[test]
    fn what_comes_twice_is_applied_once() {
        let mut ingest = Ingest::default();
        let verdicts: Vec<_> = [1, 2, 2, 1, 3].map(|n| judge(&mut ingest, 7, n)).to_vec();
        use Verdict::{Duplicate, New};
        assert_eq!(verdicts, [New, New, Duplicate, Duplicate, New]);
        assert_eq!((ingest.missing(), ingest.duplicates), (0, 2));
    }

    #[test]
    fn a_gap_is_counted_until_the_late_batch_comes() {
        let mut ingest = Ingest::default();
        for n in [1, 4] {
            assert_eq!(judge(&mut ingest, 7, n), Verdict::New);
        }
        assert_eq!(ingest.missing(), 2);
        assert_eq!(judge(&mut ingest, 7, 3), Verdict::New, "late is not twice");
        assert_eq!(judge(&mut ingest, 7, 3), Verdict::Duplicate);
        assert_eq!(ingest.missing(), 1);
    }

    #[test]
    fn a_new_run_of_a_producer_is_numbered_from_one() {
        let mut ingest = Ingest::default();
        judge(&mut ingest, 7, 1);
        judge(&mut ingest, 7, 3);
        assert_eq!(judge(&mut ingest, 8, 1), Verdict::New);
        assert_eq!(judge(&mut ingest, 7, 2), Verdict::Late);
        assert_eq!(ingest.missing(), 1, "what the ended run still owed is lost");
    }

    #[test]
    fn a_run_that_says_to_be_older_is_refused_and_counted() {
        let mut ingest = Ingest::default();
        judge(&mut ingest, 7, 1);
        judge(&mut ingest, 9, 1);
        assert_eq!(judge(&mut ingest, 5, 1), Verdict::Stale(true));
        let (saved, stale) = (ingest.save(), ingest.stale);
        let mut ingest = Ingest::default();
        ingest.restore(saved, 0, 0, stale);
        assert_eq!(judge(&mut ingest, 5, 2), Verdict::Stale(false), "told once, also after a takeover");
        assert_eq!(judge(&mut ingest, 7, 2), Verdict::Late, "a copy of what is known is no loss");
        assert_eq!((ingest.stale, ingest.missing()), (2, 0));
        assert_eq!(judge(&mut ingest, 9, 2), Verdict::New);
    }

    #[test]
    fn an_endless_gap_does_not_fill_memory() {
        let mut ingest = Ingest::default();
        judge(&mut ingest, 7, 1);
        judge(&mut ingest, 7, u64::MAX - 1);
        assert_eq!(ingest.missing(), u64::MAX - 3);
        judge(&mut ingest, 8, u64::MAX);
        assert_eq!(ingest.missing(), u64::MAX, "counters do not wrap");
    }
}
