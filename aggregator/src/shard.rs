//! The shard actor: one partition's state, on a thread of its own.
//!
//! Its supervisor starts it; a task pumps the partition's deltas into it, at most [`CREDIT`] at a
//! time. It answers questions about live elements. A restart loses counters; engaged alerts are
//! read back from the store, and deltas not yet acknowledged come again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use shared::bus::{Queued, SharedBus, Stream};
use shared::model::LocalNetworks;
use shared::script::engine::ScriptEngine;
use shared::script::registry::{Registry, ScriptInfo, ScriptSetup};
use shared::store::AlertStore;
use shared::wire::delta::Delta;
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
    /// Woken when there is something in the outbox.
    pub outbox: Arc<Notify>,
    /// Local networks.
    pub networks: Arc<LocalNetworks>,
    /// The aggregator's settings.
    pub config: AggregatorConfig,
    /// Scripts.
    pub scripts: ScriptSetup,
}

/// Messages to a shard.
pub enum ShardMessage {
    /// A delta, with the credit that lets the next one come.
    Delta(Queued, OwnedSemaphorePermit),
    /// Which interfaces are there.
    Interfaces(oneshot::Sender<Vec<InterfaceRow>>),
    /// Which hosts are there.
    Hosts(HostQuery, oneshot::Sender<Vec<HostRow>>),
    /// Which networks are there.
    Networks(oneshot::Sender<Vec<NetworkRow>>),
    /// Which scripts are loaded.
    Scripts(oneshot::Sender<Vec<ScriptInfo>>),
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
        let pump = tokio::spawn(async move {
            while let Some(delta) = deltas.next().await {
                let Ok(permit) = Arc::clone(&credit).acquire_owned().await else { return };
                if myself.cast(ShardMessage::Delta(delta, permit)).is_err() {
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
            ShardMessage::Delta(delta, permit) => {
                state.delta(delta).await?;
                drop(permit);
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
            ShardMessage::Scripts(reply) => {
                let scripts = state.partition.as_ref().map(|p| p.scripts()).unwrap_or_default();
                let _ = reply.send(scripts);
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
        Ok(())
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
            let engine = ScriptEngine::new(self.args.scripts.limits.clone());
            let scripts = &self.args.scripts;
            let (registry, errors) = Registry::load(&engine, scripts.sources.clone(), &scripts.settings);
            for error in &errors {
                tracing::error!(line = error.line, column = error.column, "{error}");
            }
            self.partition = Some(Box::new(Partition::new(
                self.args.partition,
                engine,
                registry,
                scripts.limits.quarantine_after,
                self.args.config.clone(),
                Arc::clone(&self.args.networks),
                engaged,
            )));
        }
        let Some(partition) = &mut self.partition else { return Ok(()) };
        let output = partition.apply(&delta);
        self.carry_out(output).await;
        queued.ack();
        if delta.watermark.secs() % 60 == 0 || delta.end_of_stream {
            let report = self.report();
            metrics::publish(&self.published, &report);
            self.published = report;
        }
        Ok(())
    }

    /// Stores transitions, then sends posts and messages. The state has changed already, so this
    /// does not give up: a store that fails is tried until it works, and the deltas wait.
    async fn carry_out(&mut self, output: Output) {
        if !output.transitions.is_empty() {
            while let Err(error) = self.args.alerts.apply(output.transitions.clone()).await {
                tracing::error!(%error, "alert transitions cannot be stored, trying again");
                tokio::time::sleep(RETRY).await;
            }
            self.args.outbox.notify_one();
        }
        for post in output.posts {
            let subject = self.args.subjects.post(&post.site);
            let payload = Bytes::from(post.encode_to_vec());
            let stored = async {
                let receipt = self.args.bus.append(&subject, &post.id, payload.clone()).await?;
                receipt.stored().await
            };
            if let Err(error) = stored.await {
                tracing::error!(%error, script = post.script, "script's post lost");
                metrics::lost("post");
            }
        }
        for (site, subject, payload) in output.messages {
            let subject = self.args.subjects.script(&site, &subject);
            if let Err(error) = self.args.bus.publish(&subject, payload.into()).await {
                tracing::warn!(%error, subject, "script's message lost");
                metrics::lost("message");
            }
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
