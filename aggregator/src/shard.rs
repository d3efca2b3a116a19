//! The shard actor: one partition's state, on a thread of its own.
//!
//! Its supervisor starts it under the fence of the partition's lease; a task pumps the partition's deltas
//! into it, at most `CREDIT` at a time. It answers questions about live elements. It begins with the state
//! that the store keeps ([`state`]) and goes through what came after it again, where the bus still has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use shared::bus::Queued;
use shared::model::LocalNetworks;
use shared::script::engine::ScriptEngine;
use shared::script::live::LiveScripts;
use shared::script::registry::Registry;
use shared::store::{EngagedAlert, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::carrier::Carrier;
use crate::config::AggregatorConfig;
use crate::live::{HostQuery, HostRow, InterfaceRow, NetworkRow};
use crate::partition::{Partition, RunAnswer, RunRequest};
use crate::report::AggregatorReport;

pub mod state;

use state::ShardState;

/// Deltas under way between the pump and the shard.
const CREDIT: usize = 4;

/// What a shard needs.
#[derive(Clone)]
pub struct ShardArgs {
    /// Its partition.
    pub partition: u32,
    /// The fence of its lease; 0 where there is none.
    pub fence: u64,
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
    /// The partition as it was before a restart, without interfaces.
    pub async fn partition(&mut self) -> Result<Box<Partition>, StoreError> {
        let engaged = self.carrier.alerts.engaged(Some(self.partition)).await?;
        let remembered = self.carrier.memory.remembered(self.partition).await?;
        let mut partition = self.fresh_partition(engaged);
        partition.recall(remembered);
        Ok(partition)
    }

    /// The partition when nothing has happened yet, but that these are engaged.
    fn fresh_partition(&mut self, engaged: Vec<EngagedAlert>) -> Box<Partition> {
        let scripts = self.scripts.take();
        let engine = ScriptEngine::new(scripts.limits.clone());
        engine.set_lists(scripts.lists.clone());
        // What is wrong with scripts was told when the role started.
        let (registry, _) = Registry::of_setup(&engine, &scripts);
        let (config, networks) = (self.config.clone(), Arc::clone(&self.networks));
        Box::new(Partition::new(self.partition, engine, registry, &scripts, config, networks, engaged))
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
    /// No more deltas come.
    StreamEnded,
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

/// Hands deltas on; ends with the shard.
pub struct Pump(tokio::task::JoinHandle<()>);

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ThreadLocalActor for ShardActor {
    type Msg = ShardMessage;
    type State = (ShardState, Pump);
    type Arguments = ShardArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let backlog = args.backlog.clone();
        let (state, mut deltas) = ShardState::begin(args).await?;
        let credit = Arc::new(Semaphore::new(CREDIT));
        let pump = tokio::spawn(async move {
            while let Some(delta) = deltas.next().await {
                let under_way = backlog.enter();
                let Ok(place) = Arc::clone(&credit).acquire_owned().await else { return };
                let credit = Credit { _under_way: under_way, _place: place };
                if myself.cast(ShardMessage::Delta(delta, credit)).is_err() {
                    return;
                }
            }
            // The bus has closed, or the stream is another one: a shard begins there anew.
            drop(myself.cast(ShardMessage::StreamEnded));
        });
        Ok((state, Pump(pump)))
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        (state, _pump): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // Who asked may have gone; then nobody needs the answer.
        match message {
            ShardMessage::Delta(delta, credit) => {
                state.delta(delta).await?;
                drop(credit);
            }
            ShardMessage::StreamEnded => return Err("the stream of deltas has ended".into()),
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
            ShardMessage::Run(request, reply) => drop(reply.send(state.run_on_demand(&request).await?)),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        (state, _pump): &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.leave().await
    }
}
