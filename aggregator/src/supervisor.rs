//! Starts the shards, the outbox, the writers and the API, and restarts shards that fail.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ractor::thread_local::{ThreadLocalActor, ThreadLocalActorSpawner};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use shared::backoff::unit_random;
use shared::bus::SharedBus;
use shared::clock::SharedClock;
use shared::model::LocalNetworks;
use shared::script::registry::ScriptSetup;
use shared::store::{AlertStore, FlowStore};
use shared::supervise::{Decision, RestartBudget, RestartPolicy};
use shared::wire::partition::PARTITIONS;
use shared::wire::subject::Subjects;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::api::{self, ApiDeps, ApiServer};
use crate::config::AggregatorConfig;
use crate::live::LiveState;
use crate::metrics;
use crate::outbox;
use crate::report::AggregatorReport;
use crate::shard::{ShardActor, ShardArgs, ShardMessage};
use crate::writer;

/// Threads that shards share.
const SHARD_THREADS: usize = 2;

/// How long the outbox may take to empty at a stop.
const OUTBOX_PATIENCE: Duration = Duration::from_secs(15);

/// A function that gives all metrics in Prometheus text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// What the aggregator role needs.
#[derive(Clone)]
pub struct AggregatorDeps {
    /// The bus.
    pub bus: SharedBus,
    /// Alert history, engaged alerts, outbox.
    pub alerts: Arc<dyn AlertStore>,
    /// Ended flows.
    pub flows: Arc<dyn FlowStore>,
    /// Wall clock.
    pub clock: SharedClock,
    /// Subjects.
    pub subjects: Subjects,
    /// Local networks.
    pub networks: Arc<LocalNetworks>,
    /// Its section of the configuration.
    pub config: AggregatorConfig,
    /// Scripts.
    pub scripts: ScriptSetup,
    /// Name of this node.
    pub node: String,
    /// Metrics for `/metrics`.
    pub metrics_text: MetricsText,
}

/// Why the aggregator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// Another program listens there.
    #[error("aggregator.api.listen: {address} is in use by another program")]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("aggregator.api.listen: cannot listen on {address}: {cause}")]
    Listen {
        /// The address as configured.
        address: String,
        /// Why.
        cause: String,
    },
    /// An actor did not start.
    #[error("cannot start the aggregator: {0}")]
    Start(String),
}

/// The running role.
pub struct Aggregator {
    /// Its supervisor; stop it to drain and end.
    pub actor: ActorRef<AggregatorMessage>,
    /// Ends with the supervisor.
    pub handle: JoinHandle<()>,
    /// Where the API listens.
    pub api_address: Option<SocketAddr>,
    live: LiveState,
    alerts: Arc<dyn AlertStore>,
}

impl Aggregator {
    /// What has been done.
    pub async fn report(&self) -> AggregatorReport {
        self.live.report().await
    }

    /// True when every transition has been told.
    pub async fn is_idle(&self) -> bool {
        outbox::is_empty(&*self.alerts).await
    }
}

/// Starts the aggregator.
///
/// # Errors
/// [`AggregatorError`] names the address that is taken, or why an actor did not start.
pub async fn spawn(deps: AggregatorDeps) -> Result<Aggregator, AggregatorError> {
    let live = LiveState::new();
    let api = match deps.config.api.enabled {
        true => Some(api::serve(&ApiDeps::new(&deps, live.clone()))?),
        false => None,
    };
    let api_address = api.as_ref().map(|api| api.address);
    let alerts = Arc::clone(&deps.alerts);
    let args = SupervisorArgs { deps, live: live.clone(), api };
    let (actor, handle) = Actor::spawn(None, AggregatorSupervisor, args)
        .await
        .map_err(|e| AggregatorError::Start(e.to_string()))?;
    Ok(Aggregator { actor, handle, api_address, live, alerts })
}

/// Messages to the supervisor.
#[derive(Debug)]
pub enum AggregatorMessage {
    /// Start a shard again.
    Restart(u32),
}

/// The supervisor actor.
pub struct AggregatorSupervisor;

/// What the supervisor is started with.
pub struct SupervisorArgs {
    deps: AggregatorDeps,
    live: LiveState,
    api: Option<ApiServer>,
}

/// State of the supervisor.
pub struct SupervisorState {
    deps: AggregatorDeps,
    live: LiveState,
    api: Option<ApiServer>,
    spawners: Vec<ThreadLocalActorSpawner>,
    shards: HashMap<u32, ActorRef<ShardMessage>>,
    children: HashMap<ActorId, u32>,
    budgets: HashMap<u32, RestartBudget>,
    outbox: Arc<Notify>,
    tasks: Vec<JoinHandle<()>>,
    outbox_task: Option<JoinHandle<()>>,
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
        let SupervisorArgs { deps, live, api } = args;
        let mut state = SupervisorState {
            deps,
            live,
            api,
            spawners: (0..SHARD_THREADS).map(|_| ThreadLocalActorSpawner::new()).collect(),
            shards: HashMap::new(),
            children: HashMap::new(),
            budgets: HashMap::new(),
            outbox: Arc::new(Notify::new()),
            tasks: Vec::new(),
            outbox_task: None,
            stopping: false,
        };
        state.start_tasks();
        for partition in 0..PARTITIONS {
            state.start_shard(partition, &myself).await?;
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
            AggregatorMessage::Restart(partition) if !state.stopping => {
                state.start_shard(partition, &myself).await
            }
            AggregatorMessage::Restart(_) => Ok(()),
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => {
                state.failed(cell.get_id(), &error.to_string(), &myself)
            }
            SupervisionEvent::ActorTerminated(cell, ..) => {
                state.children.remove(&cell.get_id());
                Ok(())
            }
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

impl SupervisorState {
    fn start_tasks(&mut self) {
        let deps = &self.deps;
        let told = |what: &'static str, result: Result<(), String>| {
            if let Err(error) = result {
                tracing::error!(what, error, "writer ended");
            }
        };
        let (bus, subjects, alerts, flows) = (&deps.bus, &deps.subjects, &deps.alerts, &deps.flows);
        let task = writer::flows(Arc::clone(bus), subjects.clone(), Arc::clone(flows));
        self.tasks.push(tokio::spawn(async move { told("flows", task.await) }));
        let task = writer::alerts(Arc::clone(bus), subjects.clone(), Arc::clone(alerts));
        self.tasks.push(tokio::spawn(async move { told("alerts", task.await) }));
        self.tasks.push(tokio::spawn(writer::prune(
            Arc::clone(alerts),
            Arc::clone(flows),
            Arc::clone(&deps.clock),
            deps.config.alert_retention_days,
            deps.config.flow_retention_days,
        )));
        let woken = Arc::clone(&self.outbox);
        let task = outbox::run(Arc::clone(bus), subjects.clone(), Arc::clone(alerts), woken);
        self.outbox_task = Some(tokio::spawn(task));
    }

    async fn start_shard(
        &mut self,
        partition: u32,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let args = ShardArgs {
            partition,
            bus: Arc::clone(&self.deps.bus),
            subjects: self.deps.subjects.clone(),
            alerts: Arc::clone(&self.deps.alerts),
            outbox: Arc::clone(&self.outbox),
            networks: Arc::clone(&self.deps.networks),
            config: self.deps.config.clone(),
            scripts: self.deps.scripts.clone(),
        };
        let spawner = self.spawners[partition as usize % SHARD_THREADS].clone();
        let (actor, _) = ShardActor::spawn_linked(None, args, myself.get_cell(), spawner).await?;
        self.children.insert(actor.get_id(), partition);
        self.shards.insert(partition, actor);
        self.live.set(self.shards.values().cloned().collect());
        Ok(())
    }

    fn failed(
        &mut self,
        child: ActorId,
        error: &str,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(partition) = self.children.remove(&child) else { return Ok(()) };
        if self.stopping {
            return Ok(());
        }
        tracing::error!(partition, error, "shard failed");
        metrics::restarted();
        let budget = self.budgets.entry(partition);
        let budget = budget.or_insert_with(|| RestartBudget::new(RestartPolicy::default()));
        match budget.on_failure(self.deps.clock.now(), unit_random(partition.into())) {
            Decision::RestartAfter(wait) => {
                // The timer runs by itself.
                drop(myself.send_after(wait, move || AggregatorMessage::Restart(partition)));
                Ok(())
            }
            Decision::GiveUp => Err(format!("shard {partition} fails again and again: {error}").into()),
        }
    }

    /// Stops in order: shards, then the outbox when it is empty, then the API.
    async fn stop(&mut self) {
        self.stopping = true;
        for shard in self.shards.values() {
            shard.stop(None);
        }
        for shard in self.shards.values() {
            if shard.wait(Some(Duration::from_secs(10))).await.is_err() {
                tracing::error!("a shard did not stop within 10 s");
            }
        }
        self.outbox.notify_one();
        let empty = async {
            while !outbox::is_empty(&*self.deps.alerts).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(OUTBOX_PATIENCE, empty).await.is_err() {
            tracing::warn!("alerts are still to be told; they are told after the next start");
        }
        for task in self.tasks.drain(..).chain(self.outbox_task.take()) {
            task.abort();
        }
        if let Some(api) = self.api.take() {
            api.stop().await;
        }
    }
}

#[cfg(test)]
mod tests;
