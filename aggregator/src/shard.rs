//! The shard actor: one partition's state, on a thread of its own.
//!
//! Its supervisor starts it; a task pumps the partition's deltas into it, at most `CREDIT` at a
//! time. It answers questions about live elements. A restart loses counters; engaged alerts are
//! read back from the store, and deltas not yet acknowledged come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use shared::bus::{Queued, Stream};
use shared::model::LocalNetworks;
use shared::script::engine::ScriptEngine;
use shared::script::live::LiveScripts;
use shared::script::registry::Registry;
use shared::store::memory::Remembered;
use shared::store::{EngagedAlert, StoreError};
use shared::wire::delta::Delta;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::carrier::Carrier;
use crate::config::AggregatorConfig;
use crate::live::{HostQuery, HostRow, InterfaceRow, NetworkRow};
use crate::metrics;
use crate::partition::{Partition, RunAnswer, RunRequest};
use crate::report::AggregatorReport;

/// How long to wait before a store that failed is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// How long a stop waits for a store that is away.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Deltas under way between the pump and the shard.
const CREDIT: usize = 4;

/// What a shard needs.
#[derive(Clone)]
pub struct ShardArgs {
    /// Its partition.
    pub partition: u32,
    /// Bus and store.
    pub carrier: Carrier,
    /// Local networks.
    pub networks: Arc<LocalNetworks>,
    /// The aggregator's settings.
    pub config: AggregatorConfig,
    /// Scripts.
    pub scripts: LiveScripts,
    /// Counts deltas under way in all shards.
    pub backlog: Backlog,
}

impl ShardArgs {
    /// The partition as it was before a restart, without interfaces. A store that is away is asked until it
    /// answers: nothing can be done with the deltas before.
    pub async fn partition(&mut self) -> Result<Box<Partition>, StoreError> {
        let (engaged, remembered) = loop {
            match self.kept().await {
                Ok(kept) => break kept,
                Err(error @ StoreError::Unavailable(_)) => {
                    tracing::error!(%error, partition = self.partition, "engaged alerts cannot be read, trying again");
                    tokio::time::sleep(RETRY).await;
                }
                Err(error) => return Err(error),
            }
        };
        let scripts = self.scripts.take();
        let engine = ScriptEngine::new(scripts.limits.clone());
        engine.set_lists(scripts.lists.clone());
        // What is wrong with scripts was told when the role started.
        let (registry, _) = Registry::of_setup(&engine, &scripts);
        let (config, networks) = (self.config.clone(), Arc::clone(&self.networks));
        let mut partition =
            Partition::new(self.partition, engine, registry, &scripts, config, networks, engaged);
        partition.recall(remembered);
        Ok(Box::new(partition))
    }

    async fn kept(&self) -> Result<(Vec<EngagedAlert>, Vec<Remembered>), StoreError> {
        let engaged = self.carrier.alerts.engaged(Some(self.partition)).await?;
        Ok((engaged, self.carrier.memory.remembered(self.partition).await?))
    }
}

/// How many deltas the shards have taken from the bus and not yet settled.
#[derive(Clone, Debug, Default)]
pub struct Backlog(Arc<AtomicU64>);

impl Backlog {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn enter(&self) -> UnderWay {
        self.0.fetch_add(1, Ordering::SeqCst);
        UnderWay(self.clone())
    }
}

/// One delta under way; leaves the backlog when dropped, also when its shard fails.
#[derive(Debug)]
struct UnderWay(Backlog);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A delta's place between pump and shard; the next delta comes when it is dropped.
#[derive(Debug)]
pub struct Credit {
    _under_way: UnderWay,
    _place: OwnedSemaphorePermit,
}

/// Messages to a shard.
pub enum ShardMessage {
    /// A delta, with the credit that lets the next one come.
    Delta(Queued, Credit),
    /// Which interfaces are there.
    Interfaces(oneshot::Sender<Vec<InterfaceRow>>),
    /// Which hosts are there.
    Hosts(HostQuery, oneshot::Sender<Vec<HostRow>>),
    /// Which networks are there.
    Networks(oneshot::Sender<Vec<NetworkRow>>),
    /// What has been done.
    Report(oneshot::Sender<AggregatorReport>),
    /// Calls a script on demand.
    Run(RunRequest, oneshot::Sender<RunAnswer>),
}

/// The actor.
#[derive(Default)]
pub struct ShardActor;

/// Its state.
pub struct ShardState {
    args: ShardArgs,
    /// Made when the first delta comes: most partitions of a small site have no interface.
    partition: Option<Box<Partition>>,
    pump: tokio::task::JoinHandle<()>,
    /// Deltas that could not be read.
    malformed: u64,
    published: AggregatorReport,
}

impl ThreadLocalActor for ShardActor {
    type Msg = ShardMessage;
    type State = ShardState;
    type Arguments = ShardArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let filter = args.carrier.subjects.deltas_of_partition(args.partition);
        let name = format!("shard-{}", args.partition);
        let mut deltas = args.carrier.bus.consume(Stream::Delta, &name, &filter).await?;
        let credit = Arc::new(Semaphore::new(CREDIT));
        let backlog = args.backlog.clone();
        let pump = tokio::spawn(async move {
            while let Some(delta) = deltas.next().await {
                let under_way = backlog.enter();
                let Ok(place) = Arc::clone(&credit).acquire_owned().await else { return };
                let credit = Credit { _under_way: under_way, _place: place };
                if myself.cast(ShardMessage::Delta(delta, credit)).is_err() {
                    return;
                }
            }
        });
        Ok(ShardState { args, partition: None, pump, malformed: 0, published: AggregatorReport::default() })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // Who asked may have gone; then nobody needs the answer.
        match message {
            ShardMessage::Delta(delta, credit) => {
                state.delta(delta).await?;
                drop(credit);
            }
            ShardMessage::Interfaces(reply) => drop(reply.send(state.rows(InterfaceRow::of))),
            ShardMessage::Networks(reply) => {
                let rows: Vec<Vec<NetworkRow>> = state.rows(NetworkRow::of);
                let _ = reply.send(rows.into_iter().flatten().collect());
            }
            ShardMessage::Hosts(query, reply) => {
                let rows: Vec<Vec<HostRow>> = state.rows(|interface| HostRow::of(interface, &query));
                let _ = reply.send(rows.into_iter().flatten().collect());
            }
            ShardMessage::Report(reply) => drop(reply.send(state.report())),
            ShardMessage::Run(request, reply) => {
                let Some(partition) = &mut state.partition else {
                    drop(reply.send(RunAnswer::default()));
                    return Ok(());
                };
                let (output, answer) = partition.run_on_demand(&request);
                state.args.carrier.carry_out(output).await?;
                let _ = reply.send(answer);
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.pump.abort();
        let samples = state.partition.as_mut().map(|partition| partition.flush()).unwrap_or_default();
        match tokio::time::timeout(LAST_WRITE, state.args.carrier.keep(samples)).await {
            Ok(kept) => kept,
            Err(_) => {
                tracing::error!(partition = state.args.partition, "the last time series are lost: no store");
                metrics::lost("samples");
                Ok(())
            }
        }
    }
}

impl ShardState {
    /// Applies a delta; acknowledges it when what it caused is stored.
    async fn delta(&mut self, queued: Queued) -> Result<(), ActorProcessingErr> {
        let delta = match Delta::decode(&queued.payload) {
            Ok(delta) => delta,
            Err(error) => {
                // It will not get better by coming again.
                tracing::error!(%error, subject = queued.subject, sequence = queued.sequence, "delta dropped");
                self.malformed += 1;
                queued.ack();
                return Ok(());
            }
        };
        if self.partition.is_none() {
            self.partition = Some(self.args.partition().await?);
        }
        let Some(partition) = &mut self.partition else { return Ok(()) };
        if let Some(scripts) = self.args.scripts.news() {
            partition.reload_scripts(&scripts);
        }
        let output = partition.apply(&delta);
        self.args.carrier.carry_out(output).await?;
        queued.ack();
        if delta.watermark.secs() % 60 == 0 || delta.end_of_stream {
            let report = self.report();
            metrics::publish(&self.published, &report);
            metrics::backlog(self.args.backlog.count());
            if let Some(partition) = &self.partition {
                metrics::levels(self.args.partition, partition.levels());
            }
            self.published = report;
        }
        Ok(())
    }

    fn report(&self) -> AggregatorReport {
        let mut report = self.partition.as_ref().map(|p| p.report()).unwrap_or_default();
        if self.malformed > 0 {
            report.errors.insert("deltas_malformed".to_owned(), self.malformed);
        }
        report
    }

    fn rows<T>(&self, row: impl Fn(&crate::partition::InterfaceState) -> T) -> Vec<T> {
        self.partition.iter().flat_map(|p| p.interfaces()).map(row).collect()
    }
}
