//! The shard actor: one partition's state, on a thread of its own.
//!
//! Its supervisor starts it under the fence of the partition's lease; a task pumps the partition's deltas
//! into it, at most `CREDIT` at a time. It answers questions about live elements. It begins with the state
//! that the store keeps ([`state`]) and goes through what came after it again, where the bus still has it.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use shared::bus::Queued;
use shared::clock::SharedClock;
use shared::model::{LocalNetworks, Position};
use shared::script::engine::ScriptEngine;
use shared::script::live::LiveScripts;
use shared::script::registry::Registry;
use shared::store::memory::Remembered;
use shared::store::{EngagedAlert, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::carrier::Carrier;
use crate::config::AggregatorConfig;
use crate::live::{HostQuery, HostRow, InterfaceRow, NetworkRow};
use crate::partition::{Partition, RunAnswer, RunRequest};
use crate::report::AggregatorReport;
use crate::supervisor::Levels;

mod refusal;
pub mod state;
mod waiting;

use refusal::Poison;
use state::ShardState;
use waiting::{Held, Waiting};

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
    /// The fence of its lease; 0 where there is none.
    pub fence: u64,
    /// Takes the deltas of this site alone.
    pub site: Option<String>,
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
    /// How full the process is.
    pub levels: Levels,
    /// Wall clock, for what is told of messages that cannot be taken.
    pub clock: SharedClock,
    /// Deltas that no state of the partition survived: they are left out.
    pub refused: BTreeSet<Position>,
    /// It consumes when it has started: on a bus inside the process nobody keeps what comes before.
    pub at_once: bool,
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
        let partition = Partition::new(self.partition, engine, registry, &scripts, config, networks, engaged);
        Box::new(partition.telling_hosts(self.carrier.events.config().hosts))
    }

    /// How full the process is now.
    fn levels(&self) -> Vec<(&'static str, u64)> {
        let mut levels = (self.levels)();
        levels.push(("deltas_waiting", self.backlog.count()));
        levels
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
    under_way: UnderWay,
    _place: OwnedSemaphorePermit,
}

/// Messages to a shard.
pub enum ShardMessage {
    /// Take up the partition.
    Begin,
    /// A delta, with the credit that lets the next one come.
    Delta(Queued, Credit),
    /// Go on with what there is to do.
    GoOn,
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

impl Pump {
    /// Ends it: when this returns it hands over nothing more.
    async fn end(mut self) {
        self.0.abort();
        // That it was cut short is what was wanted.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// State of the actor.
pub struct Shard {
    args: ShardArgs,
    /// Where it stands; `None` before it has taken up its partition.
    begun: Option<(ShardState, Pump)>,
    /// Deltas that have come while it was at another one.
    waiting: Waiting,
    /// The place of the one that it is at.
    held: Option<Held>,
    /// Scripts that are to be called on demand when it is done with that.
    asked: VecDeque<(RunRequest, oneshot::Sender<RunAnswer>)>,
    /// It has told itself to go on.
    going: bool,
    /// No more deltas come.
    ended: bool,
}

impl Shard {
    async fn begin(&mut self, myself: &ActorRef<ShardMessage>) -> Result<(), ActorProcessingErr> {
        let backlog = self.args.backlog.clone();
        let (state, mut deltas) = ShardState::begin(self.args.clone()).await?;
        let (credit, myself) = (Arc::new(Semaphore::new(CREDIT)), myself.clone());
        let pump = tokio::spawn(async move {
            while let Some(delta) = deltas.next().await {
                let under_way = backlog.enter();
                let Ok(place) = Arc::clone(&credit).acquire_owned().await else { return };
                let credit = Credit { under_way, _place: place };
                if myself.cast(ShardMessage::Delta(delta, credit)).is_err() {
                    return;
                }
            }
            // The bus has closed, or the stream is another one: a shard begins there anew.
            drop(myself.cast(ShardMessage::StreamEnded));
        });
        self.begun = Some((state, Pump(pump)));
        Ok(())
    }

    /// Begins anew where the kept state ends, and leaves out the delta that spoiled this one.
    async fn begin_anew(
        &mut self,
        poison: &Poison,
        myself: &ActorRef<ShardMessage>,
    ) -> Result<(), ActorProcessingErr> {
        tracing::error!(partition = self.args.partition, %poison, "the partition begins anew without it");
        self.args.refused.retain(|at| !at.is_done_at(poison.kept));
        self.args.refused.insert(poison.at);
        // What the pump has handed over comes before the begin, and is passed by: the bus gives it again.
        if let Some((_, pump)) = self.begun.take() {
            pump.end().await;
        }
        if !self.args.at_once {
            self.waiting.clear();
        }
        Ok(myself.cast(ShardMessage::Begin)?)
    }

    /// Does a piece of what there is to do, and comes back for the next one when others had their turn.
    async fn piece(&mut self, myself: &ActorRef<ShardMessage>) -> Result<(), ActorProcessingErr> {
        let Some((state, _)) = &mut self.begun else { return Ok(()) };
        let taken = if state.is_busy() {
            state.go_on().await
        } else if let Some((request, reply)) = self.asked.pop_front() {
            // Who asked may have gone; then nobody needs the answer.
            let _ = reply.send(state.run_on_demand(&request).await?);
            Ok(())
        } else if let Some((delta, held)) = self.waiting.next() {
            self.held = Some(held);
            state.take(delta).await
        } else {
            Ok(())
        };
        let busy = state.is_busy();
        self.held.take_if(|_| !busy);
        match taken.map_err(|error| error.downcast::<Poison>()) {
            Ok(()) => {}
            Err(Ok(poison)) => return self.begin_anew(&poison, myself).await,
            Err(Err(error)) => return Err(error),
        }
        if busy || !self.asked.is_empty() || !self.waiting.is_empty() {
            self.going = true;
            // The pump is on this thread: it has its turn first.
            tokio::task::yield_now().await;
            myself.cast(ShardMessage::GoOn)?;
        } else if self.ended {
            return Err("the stream of deltas has ended".into());
        }
        Ok(())
    }
}

impl ThreadLocalActor for ShardActor {
    type Msg = ShardMessage;
    type State = Shard;
    type Arguments = ShardArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut shard = Shard {
            args,
            begun: None,
            waiting: Waiting::default(),
            held: None,
            asked: VecDeque::new(),
            going: false,
            ended: false,
        };
        if shard.args.at_once {
            shard.begin(&myself).await?;
        } else {
            // Its supervisor has leases to renew, and does not wait for store and bus.
            myself.cast(ShardMessage::Begin)?;
        }
        Ok(shard)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        shard: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardMessage::Begin => {
                shard.begin(&myself).await?;
                return shard.piece(&myself).await;
            }
            ShardMessage::GoOn => {
                shard.going = false;
                return shard.piece(&myself).await;
            }
            ShardMessage::StreamEnded => {
                shard.ended = true;
                return if shard.going { Ok(()) } else { shard.piece(&myself).await };
            }
            ShardMessage::Delta(delta, credit) if shard.begun.is_some() => {
                if shard.going {
                    shard.waiting.push(delta, credit);
                    return Ok(());
                }
                shard.waiting.push_first(delta, credit);
                return shard.piece(&myself).await;
            }
            ShardMessage::Run(request, reply) if shard.begun.is_some() => {
                shard.asked.push_back((request, reply));
                return if shard.going { Ok(()) } else { shard.piece(&myself).await };
            }
            _ => {}
        }
        let Some((state, _)) = &mut shard.begun else { return Ok(()) };
        // Who asked may have gone; then nobody needs the answer.
        match message {
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
            _ => {}
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        shard: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let Some((state, _)) = &mut shard.begun else { return Ok(()) };
        let last = async {
            state.finish().await?;
            // On a bus inside the process nobody gives them again.
            while let Some((delta, _held)) = shard.waiting.next().filter(|_| shard.args.at_once) {
                state.take(delta).await?;
                state.finish().await?;
            }
            state.leave().await
        };
        match tokio::time::timeout(LAST_WRITE, last).await {
            Ok(left) => left,
            Err(_) => {
                tracing::error!("the last state of a partition is not kept: no store");
                crate::metrics::lost("state");
                Ok(())
            }
        }
    }
}
