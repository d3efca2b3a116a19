//! Where a shard stands: what it has gone through, what of it the store has, and its partition's state.

use std::time::Duration;

use ractor::ActorProcessingErr;
use shared::bus::{Consumer, Queued, Stream};
use shared::model::Position;
use shared::store::partitions::Step;
use shared::wire::delta::Delta;
use tokio::time::Instant;

use super::ShardArgs;
use super::refusal::{Poison, Teller, guarded};
use crate::metrics;
use crate::partition::{InterfaceState, Output, Partition, RunAnswer, RunRequest};
use crate::report::AggregatorReport;

/// The state is kept at most so many times as often as keeping it takes: a large one is kept less often.
const COST: u32 = 20;

/// How long a delta is gone through before questions, and the bus, have their turn.
const SLICE: Duration = Duration::from_millis(50);

/// What the bus said of the stream of deltas.
#[derive(Clone, Copy, Debug)]
struct Begin {
    /// Which stream.
    stream: i64,
    /// Nothing after the kept state is forgotten.
    whole: bool,
}

/// A delta that takes more than one slice.
struct Busy {
    queued: Queued,
    delta: Delta,
    at: Position,
}

/// State of a shard.
pub struct ShardState {
    args: ShardArgs,
    begin: Begin,
    /// Made when the first delta comes: most partitions of a small site have no interface.
    partition: Option<Box<Partition>>,
    /// The delta that it is going through.
    busy: Option<Busy>,
    /// The last delta that is in the state.
    at: Position,
    /// The last delta whose effects are stored: until there, what a delta causes was done before.
    done: Position,
    /// What is engaged was compared with the store's when everything that was done before was gone through.
    reconciled: bool,
    /// The last delta in the state that the store has.
    kept: Position,
    since_kept: Instant,
    /// What keeping the state took the last time.
    cost: Duration,
    /// Errors that are not the partition's.
    errors: std::collections::BTreeMap<&'static str, u64>,
    published: AggregatorReport,
    refusals: Teller,
}

impl ShardState {
    /// Takes up a partition: gives the shard, and the deltas that it is to go through.
    ///
    /// # Errors
    /// Bus or store fail, or the partition is another's by now.
    pub async fn begin(args: ShardArgs) -> Result<(Self, Consumer), ActorProcessingErr> {
        let saved = args.carrier.saved(args.partition).await?;
        let snapshot = saved.and_then(|saved| saved.snapshot);
        let nowhere = Position::default();
        let after = snapshot.as_ref().map_or(nowhere, |snapshot| snapshot.at);
        let subjects = &args.carrier.subjects;
        let filter = match &args.site {
            Some(site) => subjects.deltas_at(site, args.partition),
            None => subjects.deltas_of_partition(args.partition),
        };
        let name = format!("shard-{}", args.partition);
        let replay = args.carrier.bus.replay(Stream::Delta, &name, &filter, after).await?;
        let mut state = Self {
            args,
            begin: Begin { stream: replay.stream, whole: replay.whole },
            partition: None,
            busy: None,
            at: nowhere,
            done: nowhere,
            reconciled: false,
            kept: nowhere,
            since_kept: Instant::now(),
            cost: Duration::ZERO,
            errors: std::collections::BTreeMap::new(),
            published: AggregatorReport::default(),
            refusals: Teller::default(),
        };
        if snapshot.is_some() {
            state.load().await?;
        }
        Ok((state, replay.messages))
    }

    /// Claims the partition, and puts it into the state that the store has of it.
    async fn load(&mut self) -> Result<(), ActorProcessingErr> {
        let ShardArgs { partition: number, fence, .. } = self.args;
        let saved = self.args.carrier.claim(number, fence).await?;
        // Nothing is forgotten of what led to here: all of it is gone through again.
        let from = saved.snapshot.as_ref().map_or(saved.done, |snapshot| snapshot.at);
        let continues = self.begin.whole && from.stream == self.begin.stream;
        let mut partition = match saved.snapshot.is_none() && continues {
            // What the store has of scripts and alerts is of later than the begin.
            true => self.args.fresh_partition(Vec::new()),
            false => self.args.partition().await?,
        };
        self.done = saved.done;
        if let Some(snapshot) = saved.snapshot {
            // Without it, counters since the snapshot are lost; alerts are not.
            let whole = continues || saved.done == snapshot.at;
            match partition.restore(&snapshot.state, whole) {
                Ok(()) => {
                    let until = partition.watermark();
                    tracing::info!(partition = number, fence, continues, ?until, "partition goes on");
                    (self.at, self.kept) = (snapshot.at, snapshot.at);
                }
                Err(cause) => {
                    tracing::error!(
                        partition = number,
                        cause,
                        "the kept state cannot be read; counters begin anew"
                    );
                    self.count("states_unreadable");
                }
            }
        }
        self.partition = Some(partition);
        self.since_kept = Instant::now();
        Ok(())
    }

    /// Applies a delta, however long that takes; acknowledges it when what it caused is stored.
    ///
    /// # Errors
    /// As of [`ShardState::take`].
    pub async fn delta(&mut self, queued: Queued) -> Result<(), ActorProcessingErr> {
        self.take(queued).await?;
        while self.is_busy() {
            self.go_on().await?;
        }
        Ok(())
    }

    /// Begins to apply a delta; acknowledges it when what it caused is stored. Where that takes long, it is
    /// gone on with ([`ShardState::go_on`]) before anything else.
    ///
    /// # Errors
    /// Bus or store are closed, or the partition is another's by now; or [`Poison`]: the state is spoiled,
    /// and is to be begun anew without this delta.
    pub async fn take(&mut self, queued: Queued) -> Result<(), ActorProcessingErr> {
        let at = Position { stream: self.begin.stream, sequence: queued.sequence };
        if self.partition.is_none() {
            self.load().await?;
        }
        if at.is_done_at(self.at) {
            queued.ack();
            return Ok(());
        }
        if self.args.refused.contains(&at) {
            return self.refuse(queued, at, "deltas_refused", "the aggregator fails at them").await;
        }
        // It will not get better by coming again.
        let delta = match guarded(|| Delta::decode(&queued.payload)) {
            Ok(Ok(delta)) => delta,
            Ok(Err(error)) => return self.refuse(queued, at, "deltas_malformed", &error.to_string()).await,
            Err(cause) => return self.refuse(queued, at, "deltas_refused", &cause).await,
        };
        let Some(partition) = &mut self.partition else { return Ok(()) };
        if !self.reconciled && !at.is_done_at(self.done) {
            partition.reconcile(self.args.carrier.engaged(self.args.partition).await?);
            self.reconciled = true;
        }
        if let Some(scripts) = self.args.scripts.news() {
            partition.reload_scripts(&scripts);
        }
        partition.observe(&self.args.levels());
        self.busy = Some(Busy { queued, delta, at });
        self.go_on().await
    }

    /// True when there is a delta to go on with.
    pub fn is_busy(&self) -> bool {
        self.busy.is_some()
    }

    /// Goes on with the delta at hand, for a slice.
    ///
    /// # Errors
    /// As of [`ShardState::take`].
    pub async fn go_on(&mut self) -> Result<(), ActorProcessingErr> {
        let (Some(Busy { queued, delta, at }), Some(partition)) = (self.busy.take(), &mut self.partition)
        else {
            return Ok(());
        };
        let stepped = guarded(|| {
            #[cfg(test)]
            assert_ne!(delta.producer.interface, "poison", "a test says so");
            partition.step(&delta, SLICE)
        });
        let output = match stepped {
            Ok(Some(output)) => output,
            Ok(None) => {
                self.busy = Some(Busy { queued, delta, at });
                return Ok(());
            }
            Err(cause) => {
                self.partition = None;
                return Err(Poison { at, kept: self.kept, cause }.into());
            }
        };
        self.at = at;
        self.settle(output).await?;
        queued.ack();
        if delta.watermark.secs() % 60 == 0 || delta.end_of_stream {
            self.publish();
        }
        Ok(())
    }

    /// Leaves a delta out: counted, told, and never met again.
    async fn refuse(
        &mut self,
        queued: Queued,
        at: Position,
        kind: &'static str,
        cause: &str,
    ) -> Result<(), ActorProcessingErr> {
        // Written with escapes: the cause may quote the message.
        tracing::error!(?cause, subject = ?queued.subject, sequence = at.sequence, "delta left out");
        self.count(kind);
        self.at = at;
        if !at.is_done_at(self.done) {
            let origin = self.args.carrier.subjects.parse("dl", &queued.subject).unwrap_or_default();
            let output = self.refusals.output(self.args.partition, &origin, cause, self.args.clock.now());
            self.store(output, true).await?;
        }
        queued.ack();
        Ok(())
    }

    /// Stores what the delta at hand caused, unless that was done before, and from time to time the state.
    async fn settle(&mut self, output: Output) -> Result<(), ActorProcessingErr> {
        if self.at.is_done_at(self.done) {
            return Ok(());
        }
        let age = self.since_kept.elapsed();
        let interval = Duration::from_secs(self.args.config.snapshot_s.into());
        let due = !interval.is_zero() && age >= interval && age >= self.cost * COST;
        self.store(output, due).await
    }

    async fn store(&mut self, output: Output, with_state: bool) -> Result<(), ActorProcessingErr> {
        let watch = Instant::now();
        let state = if with_state { self.partition.as_ref().map(|partition| partition.save()) } else { None };
        if output.is_empty() && state.is_none() {
            return Ok(());
        }
        let ShardArgs { partition, fence, .. } = self.args;
        let kept = state.is_some();
        let step = Step { partition, fence, at: self.at, state, ..Step::default() };
        self.args.carrier.commit(output, step).await?;
        self.done = self.at;
        if kept {
            (self.kept, self.cost, self.since_kept) = (self.at, watch.elapsed(), Instant::now());
        }
        Ok(())
    }

    /// Calls a script on demand. What follows from that follows from no delta, so the state is kept with it.
    pub(super) async fn run_on_demand(
        &mut self,
        request: &RunRequest,
    ) -> Result<RunAnswer, ActorProcessingErr> {
        let behind = self.at != self.done && self.at.is_done_at(self.done);
        let Some(partition) = self.partition.as_mut().filter(|_| !behind) else {
            return Ok(RunAnswer::default());
        };
        let (output, answer) = partition.run_on_demand(request);
        let changed = !output.is_empty();
        self.store(output, changed).await?;
        Ok(answer)
    }

    /// Ends what it is at, as if the deadline of its runs had come.
    ///
    /// # Errors
    /// As of [`ShardState::take`].
    pub async fn finish(&mut self) -> Result<(), ActorProcessingErr> {
        while self.is_busy() {
            if let Some(partition) = &mut self.partition {
                partition.hurry();
            }
            self.go_on().await?;
        }
        Ok(())
    }

    /// Keeps the state for whoever comes next.
    ///
    /// # Errors
    /// The store is closed, or the partition is another's by now.
    pub async fn leave(&mut self) -> Result<(), ActorProcessingErr> {
        if self.partition.is_none() || self.is_busy() || self.at == self.kept {
            return Ok(());
        }
        if self.at != self.done && self.at.is_done_at(self.done) {
            // What the store has is later.
            return Ok(());
        }
        self.store(Output::default(), true).await
    }

    fn publish(&mut self) {
        let report = self.report();
        metrics::publish(&self.published, &report);
        metrics::backlog(self.args.backlog.count());
        if let Some(partition) = &self.partition {
            metrics::levels(self.args.partition, partition.levels());
        }
        self.published = report;
    }

    /// What has been done.
    pub(super) fn report(&self) -> AggregatorReport {
        let mut report = self.partition.as_ref().map(|p| p.report()).unwrap_or_default();
        report.errors.extend(self.errors.iter().map(|(kind, count)| ((*kind).to_owned(), *count)));
        report
    }

    pub(super) fn rows<T>(&self, row: impl Fn(&InterfaceState) -> T) -> Vec<T> {
        self.partition.iter().flat_map(|p| p.interfaces()).map(row).collect()
    }

    fn count(&mut self, kind: &'static str) {
        *self.errors.entry(kind).or_default() += 1;
    }
}
