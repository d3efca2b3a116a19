//! Starts the lanes and the dispatcher, restarts those that fail, answers questions.
//!
//! Stops in order: first the dispatcher, which finishes its batch, then the lanes, which finish
//! what is under way. When a child fails too often the supervisor ends with an error, and with it
//! the role.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use shared::backoff::unit_random;
use shared::bus::SharedBus;
use shared::clock::SharedClock;
use shared::events::Emitter;
use shared::seal::Sealer;
use shared::settings::LiveSettings;
use shared::store::hooks::HookStore;
use shared::store::{Ledger, LedgerAudit, StoreError};
use shared::supervise::{Decision, RestartBudget};
use shared::wire::subject::Subjects;
use tokio::task::{JoinHandle, JoinSet};

use crate::bridge::{self, BridgeArgs};
use crate::config::NotifierConfig;
use crate::dispatcher::Dispatcher;
use crate::hook::manager::HookManager;
use crate::metrics;
use crate::plan::Plan;
use crate::questions::Desk;
use crate::recipient::RecipientActor;

/// Time between looks at the queues.
const TICK: Duration = Duration::from_secs(10);

/// Ticks between two prunings: an hour.
const TICKS_PER_PRUNE: u64 = 360;

/// Ticks between two searches of the ledger for what must not be: half a minute.
const TICKS_PER_AUDIT: u64 = 3;

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
    /// Host pools, silences, and edited endpoints and recipients.
    pub settings: LiveSettings,
    /// Opens the secrets of those.
    pub sealer: Arc<Sealer>,
    /// Its section of the configuration.
    pub config: NotifierConfig,
    /// Site of this node.
    pub site: String,
    /// Name of this node, in whose name deliveries are claimed.
    pub owner: String,
    /// Tells it from another node of that name, and stays the same over its restarts: what it had claimed
    /// when it died it gives back when it starts, and nothing of the other's.
    pub instance: String,
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
    /// Something was edited.
    Edited,
    /// A recipient is about to be removed; another gets what is still owed to it.
    Moves {
        /// The one that goes.
        from: String,
        /// The other.
        to: String,
    },
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

/// The supervisor actor.
pub struct NotifierSupervisor;

/// State of the supervisor.
pub struct SupervisorState {
    plan: Plan,
    running: HashMap<ActorId, (Child, ActorCell)>,
    /// Children that were told to stop, because they are to be others.
    stopping: HashSet<ActorId>,
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
            roster: plan.dispatcher.roster.clone(),
            directory: plan.directory.clone(),
            endpoint_deps: plan.endpoint_deps.clone(),
            supervisor: myself.clone(),
            ledger: Arc::clone(&plan.deps.ledger),
            clock: Arc::clone(&plan.deps.clock),
        };
        let mut listeners =
            crate::answering::listen(&plan.deps.bus, &plan.deps.subjects, &plan.deps.site, desk).await?;
        if plan.deps.config.bridge.enabled {
            listeners.spawn(bridge::run(BridgeArgs {
                bus: Arc::clone(&plan.deps.bus),
                subjects: plan.deps.subjects.clone(),
                clock: Arc::clone(&plan.deps.clock),
                config: plan.deps.config.bridge.clone(),
            }));
        }
        let (mut edits, me) = (plan.deps.settings.clone(), myself.clone());
        // What was edited since the plan was made counts as an edit.
        edits.mark_changed();
        listeners.spawn(async move {
            while edits.changed().await.is_ok() {
                if me.cast(NotifierMessage::Edited).is_err() {
                    return;
                }
            }
        });
        let children: Vec<Child> = plan.lanes.keys().cloned().map(Child::Lane).collect();
        let (running, stopping, budgets) = Default::default();
        let mut state = SupervisorState { plan, running, stopping, budgets, ticks: 0, listeners };
        let hooks = state.plan.deps.config.hooks.enabled.then_some(Child::Hooks);
        for child in children.into_iter().chain(hooks).chain([Child::Dispatcher]) {
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
            NotifierMessage::Tick => {
                state.tick().await;
                if state.plan.is_behind().await {
                    state.edited(&myself).await?;
                }
            }
            NotifierMessage::Edited => state.edited(&myself).await?,
            NotifierMessage::Moves { from, to } => drop(state.plan.moves.insert(from, to)),
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
        let planned = state.stopping.remove(&cell.get_id());
        match state.running.remove(&cell.get_id()) {
            Some((child, _)) if planned => state.start(child, &myself).await,
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
    /// Stops lanes that are to be others, each of which is started anew when it has ended, and starts
    /// those that are new.
    async fn edited(&mut self, myself: &ActorRef<NotifierMessage>) -> Result<(), ActorProcessingErr> {
        let changed = match self.plan.update().await {
            Ok(changed) => changed,
            Err(error) => {
                metrics::ledger_failed("update");
                tracing::warn!(%error, "edited recipients are not in force yet");
                drop(myself.send_after(TICK, || NotifierMessage::Edited));
                return Ok(());
            }
        };
        let mut new: Vec<Child> = changed.into_iter().map(Child::Lane).collect();
        for (id, (child, cell)) in &self.running {
            let removed = matches!(child, Child::Lane(name) if !self.plan.lanes.contains_key(name));
            if removed || new.contains(child) {
                // What is under way comes to its end first.
                self.stopping.insert(*id);
                cell.stop(None);
            }
            new.retain(|other| other != child);
        }
        for child in new {
            self.start(child, myself).await?;
        }
        Ok(())
    }

    async fn start(
        &mut self,
        child: Child,
        myself: &ActorRef<NotifierMessage>,
    ) -> Result<(), ActorProcessingErr> {
        if self.running.values().any(|(running, _)| *running == child) {
            // An edit was faster than the pause after a failure.
            return Ok(());
        }
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
        if self.ticks.is_multiple_of(TICKS_PER_AUDIT) {
            let (ledger, now) = (Arc::clone(&self.plan.deps.ledger), self.plan.deps.clock.now());
            tokio::spawn(async move {
                match ledger.audit(now).await {
                    Ok(audit) if audit == LedgerAudit::default() => metrics::audited(&audit),
                    Ok(audit) => {
                        metrics::audited(&audit);
                        tracing::error!(?audit, "the ledger holds what must not be");
                    }
                    Err(_) => metrics::ledger_failed("audit"),
                }
            });
        }
        self.ticks += 1;
    }
}

#[cfg(test)]
mod tests;
