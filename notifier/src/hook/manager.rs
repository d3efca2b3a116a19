//! The actor: starts the parts of the hook manager, and fails when one of them does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use shared::model::Timestamp;
use shared::settings::LiveSettings;
use shared::store::StoreError;
use shared::store::hooks::HookStore;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::config::HooksConfig;
use super::duty::Duty;
use super::plan::Plan;
use super::runner::Tools;
use crate::{leftovers, metrics};

/// Name of the durable consumer.
pub const CONSUMER: &str = "hooks";

/// Time between looks at whether the loops go round.
const LOOK: Duration = Duration::from_secs(5);

/// Time between looks at what may be forgotten.
const PRUNE: Duration = Duration::from_secs(600);

/// How long a stop waits for the store.
const LET_GO: Duration = Duration::from_secs(2);

/// What every part of the hook manager has.
pub struct Shared {
    /// Executions and events.
    pub store: Arc<dyn HookStore>,
    /// What runners work with.
    pub tools: Tools,
    /// Notified when something may be due.
    pub woken: Notify,
    /// How many hooks may cause each other in a row.
    pub max_depth: u32,
    /// Whether the loops go round.
    pub health: Health,
}

/// When the loops last went round: liveness is measured there, not by the process being there.
#[derive(Debug, Default)]
pub struct Health {
    looped_ns: AtomicI64,
    fetched_ns: AtomicI64,
}

impl Health {
    /// The executor's loop has gone round.
    pub fn looped(&self, now: Timestamp) {
        self.looped_ns.store(now.ns(), Ordering::Relaxed);
    }

    /// Events have come, or it is known that there are none.
    pub fn fetched(&self, now: Timestamp) {
        self.fetched_ns.store(now.ns(), Ordering::Relaxed);
    }

    /// When the executor's loop last went round, and when the bus was last seen to give events or to have
    /// none.
    pub fn last(&self) -> (Timestamp, Timestamp) {
        let at = |ns: &AtomicI64| Timestamp::from_ns(ns.load(Ordering::Relaxed));
        (at(&self.looped_ns), at(&self.fetched_ns))
    }
}

/// What the hook manager is started with.
#[derive(Clone)]
pub struct ManagerArgs {
    /// What every part has.
    pub shared: Arc<Shared>,
    /// Where definitions come from.
    pub settings: LiveSettings,
    /// Its section of the configuration.
    pub config: HooksConfig,
}

/// The hook manager's actor.
pub struct HookManager;

/// Messages to the hook manager.
#[derive(Debug)]
pub enum ManagerMessage {
    /// A part has ended, which none does by itself while the bus is open.
    Ended(&'static str),
}

/// State of the hook manager.
pub struct ManagerState {
    /// End with the state.
    parts: JoinSet<()>,
    shared: Arc<Shared>,
}

impl Actor for HookManager {
    type Msg = ManagerMessage;
    type State = ManagerState;
    type Arguments = ManagerArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let ManagerArgs { shared, settings, config } = args;
        let tools = &shared.tools;
        // From here on somebody waits for the loops to go round.
        shared.health.looped(tools.clock.now());
        shared.health.fetched(tools.clock.now());
        // Programs of a process that was killed would run beside their next try.
        tokio::task::spawn_blocking(leftovers::end_of_the_dead).await?;
        let first = Arc::new(Plan::new(&settings.borrow().hooks, &config.subjects));
        let (sender, plan) = watch::channel(first);
        let concurrency = config.concurrency;
        let duty = Duty { shared: Arc::clone(&shared), plan, settings: settings.clone(), concurrency };
        let sources = duty.take_up().await?;
        if sources.is_none() {
            tracing::info!("another node runs hooks");
        }
        let mut parts = JoinSet::new();
        let mut part = |name: &'static str, part: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let myself = myself.clone();
            parts.spawn(async move {
                part.await;
                // The actor may be gone already.
                let _ = myself.cast(ManagerMessage::Ended(name));
            });
        };
        part("duty", Box::pin(duty.run(sources)));
        part("settings", Box::pin(follow(settings, sender, config.subjects.clone(), Arc::clone(&shared))));
        part("watch", Box::pin(watch_loops(Arc::clone(&shared))));
        part("pruner", Box::pin(prune(Arc::clone(&shared), config)));
        Ok(ManagerState { parts, shared })
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        ManagerMessage::Ended(part): Self::Msg,
        _: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        Err(format!("the hook manager's {part} has ended").into())
    }

    async fn post_stop(
        &self,
        _: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // What runs is killed with the executor, and tried once more after the next start.
        state.parts.shutdown().await;
        // So that another one need not wait until it is not heard of this one.
        let Shared { store, tools, .. } = &*state.shared;
        match tokio::time::timeout(LET_GO, store.let_runs_go(&tools.node)).await {
            Ok(Ok(()) | Err(StoreError::Closed)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the next to run hooks begins later"),
            Err(_) => tracing::warn!("the store does not answer: the next to run hooks begins later"),
        }
        Ok(())
    }
}

/// Waits until what is edited is known: before, hooks that were edited look as if they were not there.
pub(super) async fn known(mut settings: LiveSettings) {
    // An error means that nobody will tell any more; then what is known is all there is.
    let _ = settings.wait_for(|settings| settings.edits_known).await;
}

/// Keeps the plan as the settings are.
async fn follow(
    mut settings: LiveSettings,
    plan: watch::Sender<Arc<Plan>>,
    allowed: Vec<String>,
    shared: Arc<Shared>,
) {
    known(settings.clone()).await;
    settings.mark_changed();
    // Of a hook that was deleted while nobody looked there may still be records.
    match shared.store.hook_counts().await {
        Ok(counts) => {
            let there = Arc::clone(&settings.borrow().hooks);
            for gone in counts.iter().filter(|counts| !there.contains_key(&counts.hook)) {
                if let Err(error) = shared.store.forget_hook(&gone.hook).await {
                    tracing::warn!(%error, hook = gone.hook, "records of a deleted hook are kept for now");
                }
            }
        }
        Err(error) => tracing::warn!(%error, "records of deleted hooks are kept for now"),
    }
    while settings.changed().await.is_ok() {
        let hooks = Arc::clone(&settings.borrow_and_update().hooks);
        let new = Plan::new(&hooks, &allowed);
        let before = plan.send_replace(Arc::new(new));
        for gone in before.names().filter(|name| !hooks.contains_key(*name)) {
            if let Err(error) = shared.store.forget_hook(gone).await {
                tracing::warn!(%error, hook = gone, "records of a deleted hook are kept for now");
            }
        }
        shared.woken.notify_one();
    }
    // Nobody edits settings any more; the hooks go on.
    std::future::pending::<()>().await;
}

/// Measures how long ago the loops went round.
async fn watch_loops(shared: Arc<Shared>) {
    loop {
        let (looped, fetched) = shared.health.last();
        metrics::hook_loops(shared.tools.clock.now(), looped, fetched);
        tokio::time::sleep(LOOK).await;
    }
}

/// Forgets events that are too old or too many.
async fn prune(shared: Arc<Shared>, config: HooksConfig) {
    loop {
        let before = shared.tools.clock.now().plus_secs(-3600 * i64::from(config.keep_hours));
        if let Err(error) = shared.store.prune_recorded(before, config.keep_events).await {
            tracing::warn!(%error, "old events could not be forgotten");
        }
        tokio::time::sleep(PRUNE).await;
    }
}
