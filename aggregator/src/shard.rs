//! The shard actor: one partition's state, on a thread of its own.
//!
//! Its supervisor starts it; a task pumps the partition's deltas into it, at most `CREDIT` at a
//! time. It answers questions about live elements. A restart loses counters; engaged alerts are
//! read back from the store, and deltas not yet acknowledged come again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prost::Message as _;
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use shared::bus::{BusError, Queued, Receipt, SharedBus, Stream};
use shared::model::LocalNetworks;
use shared::script::engine::ScriptEngine;
use shared::script::live::LiveScripts;
use shared::script::registry::Registry;
use shared::store::memory::MemoryStore;
use shared::store::series::{SampleBatch, SeriesStore};
use shared::store::{AlertStore, StoreError};
use shared::wire::delta::Delta;
use shared::wire::proto::HttpPost;
use shared::wire::subject::Subjects;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::config::AggregatorConfig;
use crate::live::{HostQuery, HostRow, InterfaceRow, NetworkRow};
use crate::metrics;
use crate::partition::{Output, Partition};
use crate::report::AggregatorReport;

/// Deltas under way between the pump and the shard.
const CREDIT: usize = 4;

/// How long a delta waits that could not be stored.
const RETRY: Duration = Duration::from_millis(500);

/// What a shard needs.
#[derive(Clone)]
pub struct ShardArgs {
    /// Its partition.
    pub partition: u32,
    /// The bus.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// The alert store.
    pub alerts: Arc<dyn AlertStore>,
    /// What scripts remember.
    pub memory: Arc<dyn MemoryStore>,
    /// Time series.
    pub series: Arc<dyn SeriesStore>,
    /// Woken when there is something in the outbox.
    pub outbox: Arc<Notify>,
    /// Local networks.
    pub networks: Arc<LocalNetworks>,
    /// The aggregator's settings.
    pub config: AggregatorConfig,
    /// Scripts.
    pub scripts: LiveScripts,
    /// Counts deltas under way in all shards.
    pub backlog: Backlog,
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
        let filter = args.subjects.deltas_of_partition(args.partition);
        let name = format!("shard-{}", args.partition);
        let mut deltas = args.bus.consume(Stream::Delta, &name, &filter).await?;
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
        state.keep(samples).await
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
            let engaged = self.args.alerts.engaged(Some(self.args.partition)).await?;
            let remembered = self.args.memory.remembered(self.args.partition).await?;
            let scripts = self.args.scripts.take();
            let engine = ScriptEngine::new(scripts.limits.clone());
            engine.set_lists(scripts.lists.clone());
            // What is wrong with scripts was told when the role started.
            let (registry, _) = Registry::load(&engine, scripts.sources.clone(), &scripts.settings);
            let mut partition = Box::new(Partition::new(
                self.args.partition,
                engine,
                registry,
                &scripts,
                self.args.config.clone(),
                Arc::clone(&self.args.networks),
                engaged,
            ));
            partition.recall(remembered);
            self.partition = Some(partition);
        }
        let Some(partition) = &mut self.partition else { return Ok(()) };
        if let Some(scripts) = self.args.scripts.news() {
            partition.reload_scripts(&scripts);
        }
        let output = partition.apply(&delta);
        self.carry_out(output).await?;
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

    /// Stores transitions, then sends posts and messages. The state has changed already, so this
    /// does not give up: a store or a bus that fails is tried until it works, and the deltas wait.
    ///
    /// # Errors
    /// Store or bus are closed. The delta is not acknowledged then and comes again after the restart.
    async fn carry_out(&mut self, output: Output) -> Result<(), ActorProcessingErr> {
        if !output.transitions.is_empty() {
            while let Err(error) = self.args.alerts.apply(output.transitions.clone()).await {
                if matches!(error, StoreError::Closed) {
                    return Err(error.into());
                }
                tracing::error!(%error, "alert transitions cannot be stored, trying again");
                tokio::time::sleep(RETRY).await;
            }
            self.args.outbox.notify_one();
        }
        if !output.remembered.is_empty() {
            while let Err(error) = self.args.memory.remember(output.remembered.clone()).await {
                if matches!(error, StoreError::Closed) {
                    return Err(error.into());
                }
                tracing::error!(%error, "what scripts remember cannot be stored, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
        self.keep(output.samples).await?;
        let mut receipts = Vec::new();
        for post in &output.posts {
            receipts.push(self.append(post).await);
        }
        for (post, receipt) in output.posts.iter().zip(receipts) {
            self.until_safe(post, receipt).await?;
        }
        for (site, subject, payload) in output.messages {
            let subject = self.args.subjects.script(&site, &subject);
            if let Err(error) = self.args.bus.publish(&subject, payload.into()).await {
                tracing::warn!(%error, subject, "script's message lost");
                metrics::lost("message");
            }
        }
        Ok(())
    }

    /// Stores samples. They are worth less than alerts: when the store fails, the deltas do not wait.
    async fn keep(&self, samples: Vec<SampleBatch>) -> Result<(), ActorProcessingErr> {
        for batch in samples {
            match self.args.series.add_samples(batch).await {
                Ok(()) => {}
                Err(StoreError::Closed) => return Err(StoreError::Closed.into()),
                Err(error) => {
                    tracing::error!(%error, "a minute of time series is lost");
                    metrics::lost("samples");
                }
            }
        }
        Ok(())
    }

    async fn append(&self, post: &HttpPost) -> Result<Receipt, BusError> {
        let subject = self.args.subjects.post(&post.site);
        self.args.bus.append(&subject, &post.id, post.encode_to_vec().into()).await
    }

    /// Waits until a post is safe, and appends it again as often as it takes: its id keeps it from
    /// being sent twice.
    async fn until_safe(
        &self,
        post: &HttpPost,
        mut appended: Result<Receipt, BusError>,
    ) -> Result<(), ActorProcessingErr> {
        loop {
            let safe = match appended {
                Ok(receipt) => receipt.stored().await,
                Err(error) => Err(error),
            };
            match safe {
                Ok(()) => return Ok(()),
                Err(BusError::Closed) => return Err(BusError::Closed.into()),
                Err(error @ BusError::TooLarge { .. }) => {
                    tracing::error!(%error, script = post.script, "script's post lost");
                    metrics::lost("post");
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%error, script = post.script, "script's post not safe, trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
            appended = self.append(post).await;
        }
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
