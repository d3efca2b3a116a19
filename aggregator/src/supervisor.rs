//! Starts the shards, the outbox, the writers and the API, and starts again what fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use ractor::thread_local::ThreadLocalActorSpawner;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SpawnErr, SupervisionEvent};
use shared::backoff::unit_random;
use shared::clock::Stopwatch;
use shared::store::{AlertStore, StoreError};
use shared::supervise::{Decision, RestartBudget, RestartPolicy};
use shared::wire::partition;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::api::{self, ApiDeps, ApiServer};
use crate::keeper::{Event, Keeper};
use crate::live::LiveState;
use crate::metrics;
use crate::outbox;
use crate::report::AggregatorReport;
use crate::shard::{Backlog, ShardMessage};
use crate::syslog::listen::Sockets;

mod children;
mod deps;
mod leases;
mod notices;
mod roll_call;
mod stop;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;

pub use deps::{AggregatorDeps, AggregatorError, Levels, MetricsText};
use tasks::Task;

/// Threads that shards share.
const SHARD_THREADS: usize = 2;

/// The running role.
pub struct Aggregator {
    /// Its supervisor; stop it to drain and end.
    pub actor: ActorRef<AggregatorMessage>,
    /// Ends with the supervisor.
    pub handle: JoinHandle<()>,
    /// Where the API listens.
    pub api_address: Option<SocketAddr>,
    /// Where log lines are listened for, by UDP and TCP.
    pub syslog_address: Option<SocketAddr>,
    live: LiveState,
    backlog: Backlog,
    alerts: Arc<dyn AlertStore>,
}

impl Aggregator {
    /// What has been done.
    pub async fn report(&self) -> AggregatorReport {
        self.live.report().await.0
    }

    /// True when no shard has a delta in hand and every transition has been told.
    pub async fn is_idle(&self) -> bool {
        // In this order: what a delta causes is in the outbox before the delta is settled.
        self.backlog.count() == 0 && outbox::is_empty(&*self.alerts).await
    }
}

/// Starts the aggregator.
///
/// # Errors
/// [`AggregatorError`] names the address that is taken, or why an actor did not start.
pub async fn spawn(deps: AggregatorDeps) -> Result<Aggregator, AggregatorError> {
    let live = match deps.alone {
        true => LiveState::new(),
        false => {
            let (bus, subjects) = (Arc::clone(&deps.bus), deps.subjects.clone());
            LiveState::new().with_others(bus, subjects, deps.node.clone())
        }
    };
    let backlog = Backlog::default();
    let api_deps = ApiDeps::new(&deps, live.clone());
    let api = match deps.config.api.enabled {
        true => Some(api::serve(&api_deps)?),
        false => None,
    };
    let api_address = api.as_ref().map(|api| api.address);
    let syslog = log_sockets(&deps.config.syslog.listen)?;
    let syslog_address = syslog.as_ref().map(|sockets| sockets.address);
    let alerts = Arc::clone(&deps.alerts);
    let args = SupervisorArgs { deps, live: live.clone(), backlog: backlog.clone(), api_deps, api, syslog };
    let (actor, handle) = Actor::spawn(None, AggregatorSupervisor, args)
        .await
        .map_err(|e| AggregatorError::Start(e.to_string()))?;
    Ok(Aggregator { actor, handle, api_address, syslog_address, live, backlog, alerts })
}

/// Begins to listen for log lines, where that is wanted.
fn log_sockets(listen: &str) -> Result<Option<Sockets>, AggregatorError> {
    if listen.is_empty() {
        return Ok(None);
    }
    let cannot = |cause: String| AggregatorError::Syslog { address: listen.to_owned(), cause };
    let address = listen.parse().map_err(|_| cannot("it is not ADDRESS:PORT".to_owned()))?;
    Sockets::bind(address).map(Some).map_err(|error| cannot(error.to_string()))
}

/// What the supervisor starts again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Child {
    /// The shard of a partition.
    Shard(u32),
    /// Who probes hosts.
    Monitor,
    /// Who reads log lines.
    Syslog,
    /// A task.
    Task(Task),
}

/// Messages to the supervisor.
#[derive(Debug)]
pub enum AggregatorMessage {
    /// Start a child again.
    Restart(Child),
    /// A task has ended, which none does by itself; why.
    Ended(Task, String),
    /// Something for the keeper of leases.
    Keeper(Event),
    /// Another aggregator, of this name, knows so many partitions.
    OtherPartitions(String, u32),
}

/// The supervisor actor.
pub struct AggregatorSupervisor;

/// What the supervisor is started with.
pub struct SupervisorArgs {
    deps: AggregatorDeps,
    live: LiveState,
    backlog: Backlog,
    api_deps: ApiDeps,
    api: Option<ApiServer>,
    syslog: Option<Sockets>,
}

/// State of the supervisor.
pub struct SupervisorState {
    deps: AggregatorDeps,
    live: LiveState,
    backlog: Backlog,
    api_deps: ApiDeps,
    /// How to stop the API.
    api: Option<api::ApiHandle>,
    /// Those of shards, and one of who probes hosts and reads log lines.
    spawners: Vec<ThreadLocalActorSpawner>,
    shards: BTreeMap<u32, ActorRef<ShardMessage>>,
    /// Who probes hosts, and who reads log lines.
    others: HashMap<Child, ActorCell>,
    syslog: Option<Sockets>,
    children: HashMap<ActorId, Child>,
    budgets: HashMap<Child, RestartBudget>,
    outbox: Arc<Notify>,
    tasks: HashMap<Task, JoinHandle<()>>,
    keeper: Keeper,
    /// Partitions of which it was told that their leases are held here.
    told_leases: BTreeSet<u32>,
    /// The keeper's time.
    watch: Stopwatch,
    /// Hears other aggregators.
    hearing: Option<JoinHandle<()>>,
    stopping: bool,
}

impl Actor for AggregatorSupervisor {
    type Msg = AggregatorMessage;
    type State = SupervisorState;
    type Arguments = SupervisorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let SupervisorArgs { deps, live, backlog, api_deps, api, syslog } = args;
        let keeper = Keeper::new(deps.node.clone(), deps.run, deps.alone, deps.times);
        let mut state = SupervisorState {
            deps,
            live,
            backlog,
            api_deps,
            api: None,
            spawners: (0..=SHARD_THREADS).map(|_| ThreadLocalActorSpawner::new()).collect(),
            shards: BTreeMap::new(),
            others: HashMap::new(),
            syslog,
            children: HashMap::new(),
            budgets: HashMap::new(),
            outbox: Arc::new(Notify::new()),
            tasks: HashMap::new(),
            keeper,
            told_leases: BTreeSet::new(),
            watch: Stopwatch::start(),
            hearing: None,
            stopping: false,
        };
        state.keep_leases(&myself).await?;
        if state.deps.config.monitor.enabled {
            state.start_monitor(&myself).await?;
        }
        if state.syslog.is_some() {
            state.start_syslog(&myself).await?;
        }
        for task in Task::WORK {
            state.start_work(task, &myself).await?;
        }
        if let Some(server) = api {
            state.start_api(server, &myself);
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            AggregatorMessage::Restart(child) => {
                let Err(error) = state.start_again(child, &myself).await else { return Ok(()) };
                state.failed(child, &error.to_string(), &myself)
            }
            AggregatorMessage::Ended(task, cause) => state.failed(Child::Task(task), &cause, &myself),
            AggregatorMessage::Keeper(event) => state.keeper_step(event, &myself).await,
            AggregatorMessage::OtherPartitions(node, count) => state.other_partitions(&node, count),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => match state.children.remove(&cell.get_id()) {
                Some(Child::Shard(partition)) if is_stale(&error) => {
                    tracing::warn!(partition, %error, "shard ended");
                    state.shard_ended(partition, true, &myself).await
                }
                Some(child) => {
                    if let Child::Shard(partition) = child {
                        state.shards.remove(&partition);
                    }
                    state.failed(child, &error.to_string(), &myself)
                }
                None => Ok(()),
            },
            SupervisionEvent::ActorTerminated(cell, ..) => match state.children.remove(&cell.get_id()) {
                Some(Child::Shard(partition)) if !state.stopping => {
                    state.shard_ended(partition, false, &myself).await
                }
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.stop().await;
        Ok(())
    }
}

/// True when a shard ended because its partition is another's.
fn is_stale(error: &ActorProcessingErr) -> bool {
    let cause = match error.downcast_ref::<SpawnErr>() {
        Some(SpawnErr::StartupFailed(cause)) => cause,
        _ => error,
    };
    cause.downcast_ref::<StoreError>().is_some_and(|error| matches!(error, StoreError::StaleFence { .. }))
}

impl SupervisorState {
    async fn start_again(
        &mut self,
        child: Child,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        match child {
            _ if self.stopping => {}
            Child::Shard(partition) => match self.keeper.fence_of(partition) {
                Some(fence) => self.start_shard(partition, fence, myself).await?,
                // Its lease was let go meanwhile.
                None => self.shard_ended(partition, false, myself).await?,
            },
            Child::Monitor => self.start_monitor(myself).await?,
            Child::Syslog => self.start_syslog(myself).await?,
            Child::Task(Task::Api) => {
                let server = api::serve(&self.api_deps)?;
                self.start_api(server, myself);
            }
            Child::Task(task) => self.start_work(task, myself).await?,
        }
        Ok(())
    }

    /// A child has failed: it is started again after a while, as long as its budget lasts.
    fn failed(
        &mut self,
        child: Child,
        error: &str,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        if self.stopping {
            return Ok(());
        }
        tracing::error!(?child, error, "a part of the aggregator failed");
        if let Child::Shard(partition) = child {
            self.tell_shard(partition, "FAILED");
        }
        metrics::restarted();
        let budget = self.budgets.entry(child);
        let budget = budget.or_insert_with(|| RestartBudget::new(RestartPolicy::default()));
        match budget.on_failure(self.deps.clock.now(), unit_random(child.seed())) {
            Decision::RestartAfter(wait) => {
                // The timer runs by itself.
                drop(myself.send_after(wait, move || AggregatorMessage::Restart(child)));
                Ok(())
            }
            Decision::GiveUp => Err(format!("{child:?} fails again and again: {error}").into()),
        }
    }
}

impl Child {
    /// Spreads the restarts of several children.
    fn seed(self) -> u64 {
        match self {
            Self::Shard(partition) => partition.into(),
            Self::Monitor => partition::OF_MONITOR.into(),
            Self::Syslog => partition::OF_SYSLOG.into(),
            Self::Task(task) => u64::from(partition::OF_SYSLOG) + 1 + task as u64,
        }
    }
}
