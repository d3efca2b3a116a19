//! Starts the lanes and the dispatcher, restarts those that fail, answers questions.
//!
//! Stops in order: first the dispatcher, which finishes its batch, then the lanes, which finish
//! what is under way. When a child fails too often the supervisor ends with an error, and with it
//! the role.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use shared::backoff::unit_random;
use shared::bus::SharedBus;
use shared::clock::SharedClock;
use shared::events::Emitter;
use shared::settings::LiveSettings;
use shared::store::hooks::HookStore;
use shared::store::{Ledger, StoreError};
use shared::supervise::{Decision, RestartBudget, RestartPolicy};
use shared::wire::subject::Subjects;
use tokio::task::{JoinHandle, JoinSet};

use crate::bridge::{self, BridgeArgs};
use crate::config::NotifierConfig;
use crate::criteria::Criteria;
use crate::dispatcher::{Dispatcher, DispatcherArgs};
use crate::endpoint::{self, EndpointDeps, Gone, Manners};
use crate::hook::manager::{Health, HookManager, ManagerArgs, Shared};
use crate::hook::runner::Tools;
use crate::hook::scripts::Scripts;
use crate::http::HttpClient;
use crate::lane::Policy;
use crate::metrics;
use crate::questions::{self, Desk, Known};
use crate::recipient::{LaneHandle, RecipientActor, RecipientArgs};
use crate::route::{ALERT_STORE, Router, SCRIPT_HTTP};

/// Time between looks at the queues.
const TICK: Duration = Duration::from_secs(10);

/// Ticks between two prunings: an hour.
const TICKS_PER_PRUNE: u64 = 360;

/// How long a child may take to stop: longer than a lane waits for the try under way.
const STOP_WAIT: Duration = Duration::from_secs(15);

/// What the notifier needs.
#[derive(Clone)]
pub struct NotifierDeps {
    /// The bus.
    pub bus: SharedBus,
    /// The ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Executions of hooks on events.
    pub hooks: Arc<dyn HookStore>,
    /// Tells events.
    pub events: Emitter,
    /// Wall clock.
    pub clock: SharedClock,
    /// Subjects.
    pub subjects: Subjects,
    /// Host pools and silences.
    pub settings: LiveSettings,
    /// Its section of the configuration.
    pub config: NotifierConfig,
    /// Site of this node.
    pub site: String,
    /// Name of this node, in whose name deliveries are claimed.
    pub owner: String,
}

/// Why the notifier cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NotifierError {
    /// The configuration says something impossible.
    #[error("configuration: {}", .0.join("; "))]
    Config(Vec<String>),
    /// TLS cannot be set up.
    #[error("cannot set up the HTTP client: {0}")]
    Http(String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// An actor did not start.
    #[error("cannot start the notifier: {0}")]
    Start(String),
}

/// Starts the notifier; it consumes when this returns.
///
/// # Errors
/// [`NotifierError`] names what is wrong.
pub async fn spawn(deps: NotifierDeps) -> Result<(ActorRef<NotifierMessage>, JoinHandle<()>), NotifierError> {
    let plan = Plan::new(deps).await?;
    Actor::spawn(None, NotifierSupervisor, plan).await.map_err(|e| NotifierError::Start(e.to_string()))
}

/// Messages to the supervisor.
#[derive(Debug)]
pub enum NotifierMessage {
    /// Start a child again.
    Restart(Child),
    /// Look at the queues.
    Tick,
}

/// One of the supervisor's children.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Child {
    /// The dispatcher.
    Dispatcher,
    /// The lane of this recipient.
    Lane(String),
    /// The hook manager.
    Hooks,
}

impl std::fmt::Display for Child {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dispatcher => f.write_str("dispatcher"),
            Self::Lane(name) => write!(f, "lane {name}"),
            Self::Hooks => f.write_str("hook manager"),
        }
    }
}

/// Everything that children are started with, again and again.
pub struct Plan {
    deps: NotifierDeps,
    dispatcher: DispatcherArgs,
    lanes: BTreeMap<String, RecipientArgs>,
    hooks: ManagerArgs,
    known: Vec<Known>,
    restarts: RestartPolicy,
}

impl Plan {
    async fn new(deps: NotifierDeps) -> Result<Self, NotifierError> {
        let wrong = deps.config.check();
        if !wrong.is_empty() {
            return Err(NotifierError::Config(wrong));
        }
        let timeout = Duration::from_secs(deps.config.http_timeout_s);
        let http = HttpClient::new(timeout, deps.config.allow_private_targets, Arc::clone(&deps.clock))
            .map_err(NotifierError::Http)?;
        let known = recipients(&deps, &http).map_err(|e| NotifierError::Config(vec![e]))?;
        let router = Arc::new(Router::new(&deps.config, deps.settings.clone()));
        let lanes = lanes(&deps, &known).await?;
        let handles = lanes.iter().map(|(name, lane)| (name.clone(), Arc::clone(&lane.handle))).collect();
        let dispatcher = DispatcherArgs {
            bus: Arc::clone(&deps.bus),
            ledger: Arc::clone(&deps.ledger),
            events: deps.events.clone(),
            clock: Arc::clone(&deps.clock),
            subjects: deps.subjects.clone(),
            router,
            lanes: Arc::new(handles),
            batch: deps.config.batch,
        };
        let hooks = hook_manager(&deps).map_err(NotifierError::Start)?;
        Ok(Self { deps, dispatcher, lanes, hooks, known, restarts: RestartPolicy::default() })
    }
}

/// What the hook manager is started with.
fn hook_manager(deps: &NotifierDeps) -> Result<ManagerArgs, String> {
    let config = deps.config.hooks.clone();
    let tools = Tools {
        bus: Arc::clone(&deps.bus),
        subjects: deps.subjects.clone(),
        clock: Arc::clone(&deps.clock),
        node: deps.owner.clone(),
        site: deps.site.clone(),
        dir: config.dir(),
        python: config.python.clone().into(),
        scripts: Scripts::start(config.script_threads, &deps.clock)?,
    };
    let shared = Shared {
        store: Arc::clone(&deps.hooks),
        tools,
        woken: tokio::sync::Notify::new(),
        max_depth: config.max_depth,
        health: Health::default(),
    };
    Ok(ManagerArgs { shared: Arc::new(shared), settings: deps.settings.clone(), config })
}

/// The built-in recipients and the configured ones.
fn recipients(deps: &NotifierDeps, http: &HttpClient) -> Result<Vec<Known>, String> {
    let endpoint_deps = EndpointDeps {
        http: http.clone(),
        bus: Arc::clone(&deps.bus),
        subjects: deps.subjects.clone(),
        clock: Arc::clone(&deps.clock),
        node: deps.owner.clone(),
        batch: deps.config.batch,
        shell_dir: deps.config.shell_dir(),
    };
    let none = toml::Table::new();
    let mut known = Vec::new();
    for (name, kind) in [(ALERT_STORE, "alert_store"), (SCRIPT_HTTP, "http_post")] {
        let kind = endpoint::kind(kind).ok_or_else(|| format!("there is no kind '{kind}'"))?;
        known.push(Known {
            name: name.to_owned(),
            endpoint: name.to_owned(),
            kind: kind.name(),
            builtin: true,
            enabled: true,
            criteria: Criteria::default(),
            target: kind.build(&none, &none, &endpoint_deps)?,
            lane: Arc::default(),
        });
    }
    for recipient in &deps.config.recipient {
        let endpoint = deps.config.endpoint_of(recipient)?;
        let kind =
            endpoint::kind(&endpoint.kind).ok_or_else(|| format!("there is no kind '{}'", endpoint.kind))?;
        known.push(Known {
            name: recipient.name.clone(),
            endpoint: endpoint.name.clone(),
            kind: kind.name(),
            builtin: false,
            enabled: recipient.enabled,
            criteria: recipient.criteria(),
            target: kind.build(&endpoint.params.0, &recipient.params.0, &endpoint_deps)?,
            lane: Arc::default(),
        });
    }
    Ok(known)
}

/// One lane for each recipient, and one for each that is owed something and is there no longer.
async fn lanes(deps: &NotifierDeps, known: &[Known]) -> Result<BTreeMap<String, RecipientArgs>, StoreError> {
    let of = |name: &str| deps.config.recipient.iter().find(|recipient| recipient.name == name);
    let handle_of = |name: &str| known.iter().find(|known| known.name == name).map(|k| Arc::clone(&k.lane));
    let lane = |name: &str, endpoint: Arc<dyn endpoint::Endpoint>, handle: Arc<LaneHandle>| {
        let manners: Manners = endpoint.manners();
        let args = RecipientArgs {
            name: name.to_owned(),
            owner: format!("{}/{name}", deps.owner),
            ledger: Arc::clone(&deps.ledger),
            events: deps.events.clone(),
            clock: Arc::clone(&deps.clock),
            endpoint,
            policy: Policy::new(&deps.config, manners, of(name)),
            lease: Duration::from_secs(deps.config.claim_lease_s),
            handle,
            fallback: of(name).and_then(|recipient| recipient.fallback.as_deref()).and_then(handle_of),
        };
        (name.to_owned(), args)
    };
    let mut lanes: BTreeMap<_, _> = known
        .iter()
        .map(|known| match known.enabled {
            true => lane(&known.name, Arc::clone(&known.target), Arc::clone(&known.lane)),
            false => {
                let gone = Gone { reason: "the recipient is disabled" };
                lane(&known.name, Arc::new(gone), Arc::clone(&known.lane))
            }
        })
        .collect();
    for stats in deps.ledger.stats().await? {
        if stats.pending > 0 && !lanes.contains_key(&stats.recipient) {
            tracing::warn!(recipient = ?stats.recipient, owed = stats.pending, "recipient is not configured any more");
            let gone = Gone { reason: "the recipient is not configured any more" };
            lanes.extend([lane(&stats.recipient, Arc::new(gone), Arc::default())]);
        }
    }
    Ok(lanes)
}

/// The supervisor actor.
pub struct NotifierSupervisor;

/// State of the supervisor.
pub struct SupervisorState {
    plan: Plan,
    running: HashMap<ActorId, (Child, ActorCell)>,
    budgets: HashMap<Child, RestartBudget>,
    ticks: u64,
    /// End with the state.
    listeners: JoinSet<()>,
}

impl Actor for NotifierSupervisor {
    type Msg = NotifierMessage;
    type State = SupervisorState;
    type Arguments = Plan;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        plan: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let desk = Desk {
            recipients: plan.known.clone(),
            router: Arc::clone(&plan.dispatcher.router),
            ledger: Arc::clone(&plan.deps.ledger),
            clock: Arc::clone(&plan.deps.clock),
        };
        let mut listeners = questions::listen(&plan.deps.bus, &plan.deps.subjects, desk).await?;
        if plan.deps.config.bridge.enabled {
            listeners.spawn(bridge::run(BridgeArgs {
                bus: Arc::clone(&plan.deps.bus),
                subjects: plan.deps.subjects.clone(),
                clock: Arc::clone(&plan.deps.clock),
                config: plan.deps.config.bridge.clone(),
            }));
        }
        let children: Vec<Child> = plan.lanes.keys().cloned().map(Child::Lane).collect();
        let (running, budgets) = (HashMap::new(), HashMap::new());
        let mut state = SupervisorState { plan, running, budgets, ticks: 0, listeners };
        for child in children.into_iter().chain([Child::Hooks, Child::Dispatcher]) {
            state.start(child, &myself).await?;
        }
        myself.send_interval(TICK, || NotifierMessage::Tick);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NotifierMessage::Restart(child) => {
                if let Err(error) = state.start(child.clone(), &myself).await {
                    return state.failed(child, &error.to_string(), &myself);
                }
            }
            NotifierMessage::Tick => state.tick().await,
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, cause) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, ..) => (cell, "it ended by itself".to_owned()),
            _ => return Ok(()),
        };
        match state.running.remove(&cell.get_id()) {
            Some((child, _)) => state.failed(child, &cause, &myself),
            None => Ok(()),
        }
    }

    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.listeners.abort_all();
        let (dispatchers, lanes): (Vec<_>, Vec<_>) =
            state.running.drain().map(|(_, child)| child).partition(|(child, _)| *child == Child::Dispatcher);
        for group in [dispatchers, lanes] {
            let stops = group.iter().map(|(child, cell)| async move {
                if cell.stop_and_wait(None, Some(STOP_WAIT)).await.is_err() {
                    tracing::error!(%child, "did not stop in time");
                }
            });
            futures::future::join_all(stops).await;
        }
        Ok(())
    }
}

impl SupervisorState {
    async fn start(
        &mut self,
        child: Child,
        myself: &ActorRef<NotifierMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let supervisor = myself.get_cell();
        let cell = match &child {
            Child::Dispatcher => {
                let args = self.plan.dispatcher.clone();
                Actor::spawn_linked(None, Dispatcher, args, supervisor).await?.0.get_cell()
            }
            Child::Hooks => {
                let args = self.plan.hooks.clone();
                Actor::spawn_linked(None, HookManager, args, supervisor).await?.0.get_cell()
            }
            Child::Lane(name) => {
                let Some(args) = self.plan.lanes.get(name).cloned() else { return Ok(()) };
                Actor::spawn_linked(None, RecipientActor, args, supervisor).await?.0.get_cell()
            }
        };
        self.running.insert(cell.get_id(), (child, cell));
        Ok(())
    }

    /// A child failed: it is started again after a while, or everything ends.
    fn failed(
        &mut self,
        child: Child,
        cause: &str,
        myself: &ActorRef<NotifierMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.plan.deps.clock.now();
        let unspent = || RestartBudget::new(self.plan.restarts);
        let budget = self.budgets.entry(child.clone()).or_insert_with(unspent);
        match budget.on_failure(now, unit_random(now.ns().unsigned_abs())) {
            Decision::RestartAfter(wait) => {
                tracing::error!(%child, ?cause, "failed, starting it again");
                metrics::restarted(&child.to_string());
                drop(myself.send_after(wait, move || NotifierMessage::Restart(child)));
                Ok(())
            }
            Decision::GiveUp => {
                tracing::error!(%child, ?cause, "fails again and again");
                Err(format!("{child} fails again and again: {cause}").into())
            }
        }
    }

    async fn tick(&mut self) {
        match self.plan.deps.ledger.stats().await {
            Ok(stats) => metrics::queues(&stats),
            Err(_) => metrics::ledger_failed("stats"),
        }
        if self.ticks.is_multiple_of(TICKS_PER_PRUNE) {
            let keep = i64::from(self.plan.deps.config.keep_days) * 86_400;
            let ledger = Arc::clone(&self.plan.deps.ledger);
            let before = self.plan.deps.clock.now().plus_secs(-keep);
            // Takes its time; the supervisor has other things to do.
            tokio::spawn(async move {
                match ledger.prune(before).await {
                    Ok(pruned) => tracing::debug!(pruned, "finished deliveries forgotten"),
                    Err(error) => {
                        metrics::ledger_failed("prune");
                        tracing::warn!(%error, "finished deliveries could not be forgotten");
                    }
                }
            });
        }
        self.ticks += 1;
    }
}

#[cfg(test)]
mod tests;
