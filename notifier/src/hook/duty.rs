//! Which notifier runs hooks: one at a time of all that share a store.
//!
//! Whoever runs them says so in the store every few seconds. One that is not heard of for [`LEASE`] is
//! replaced: the next ends what it has left running, as killed, and goes on where it was. One that cannot
//! say so any more stops by itself before that ([`PATIENCE`]), and ends its programs.

use std::sync::Arc;
use std::time::Duration;

use shared::bus::{BusError, Consumer, Stream, Subscription, WHOLE_STREAM};
use shared::clock::Stopwatch;
use shared::settings::LiveSettings;
use shared::store::StoreError;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::desk::Desk;
use super::executor::Executor;
use super::intake::Intake;
use super::manager::{CONSUMER, Shared, known};
use super::plan::Plan;

/// How long it is believed of a node that it runs hooks.
const LEASE: Duration = Duration::from_secs(10);

/// Time between two times that it says so, and between two looks of one that waits.
const RENEW: Duration = Duration::from_secs(3);

/// How long one goes on that cannot say so.
const PATIENCE: Duration = Duration::from_secs(7);

/// Why hooks could not be taken up.
#[derive(Debug, thiserror::Error)]
pub enum DutyError {
    /// The bus gives no events.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What whoever runs hooks takes from the bus.
pub struct Sources {
    events: Consumer,
    unkept: Subscription,
    questions: JoinSet<()>,
    /// Since when this node has said that it runs hooks.
    said: Stopwatch,
}

/// Runs hooks, or waits for its turn.
pub struct Duty {
    /// What the hook manager has.
    pub shared: Arc<Shared>,
    /// The hooks in force.
    pub plan: watch::Receiver<Arc<Plan>>,
    /// Where definitions come from.
    pub settings: LiveSettings,
    /// Executions at once.
    pub concurrency: usize,
}

impl Duty {
    /// Takes hooks up, unless another node runs them.
    ///
    /// # Errors
    /// [`DutyError`]; it may be tried again.
    pub async fn take_up(&self) -> Result<Option<Sources>, DutyError> {
        let Shared { store, tools, .. } = &*self.shared;
        // Before it is said: who waits counts from when the store hears it, which is later.
        let said = Stopwatch::start();
        if !self.hold().await? {
            return Ok(None);
        }
        let released = store.release_runs(&tools.node, tools.clock.now()).await?;
        if released > 0 {
            tracing::warn!(released, "executions were broken off by the last end; each is tried once more");
        }
        let desk = Desk { shared: Arc::clone(&self.shared), plan: self.plan.clone() };
        Ok(Some(Sources {
            events: tools.bus.consume(Stream::Event, CONSUMER, WHOLE_STREAM).await?,
            unkept: tools.bus.subscribe(&tools.subjects.prefixed("event.flow.>")).await?,
            questions: crate::answering::listen(&tools.bus, &tools.subjects, &tools.site, desk).await?,
            said,
        }))
    }

    async fn hold(&self) -> Result<bool, StoreError> {
        let Shared { store, tools, .. } = &*self.shared;
        store.hold_runs(&tools.node, tools.clock.now(), LEASE).await
    }

    /// Runs hooks whenever it is this node's turn, until bus or store are closed.
    pub async fn run(self, mut sources: Option<Sources>) {
        let mut waited = sources.is_none();
        loop {
            let Some(taken) = sources.take() else {
                waited = true;
                // Nobody waits for loops to go round that another node runs.
                let now = self.shared.tools.clock.now();
                self.shared.health.looped(now);
                self.shared.health.fetched(now);
                tokio::time::sleep(RENEW).await;
                match self.take_up().await {
                    Ok(taken) => sources = taken,
                    Err(DutyError::Store(StoreError::Closed) | DutyError::Bus(BusError::Closed)) => return,
                    Err(error) => tracing::warn!(%error, "hooks cannot be taken up, trying again"),
                }
                continue;
            };
            match std::mem::take(&mut waited) {
                true => tracing::info!(node = self.shared.tools.node, "this node runs hooks from now on"),
                false => tracing::debug!(node = self.shared.tools.node, "this node runs hooks"),
            }
            let said = taken.said;
            tokio::select! {
                () = self.work(taken) => return,
                () = self.until_lost(said) => {
                    tracing::warn!(node = self.shared.tools.node, "this node runs hooks no longer");
                }
            }
        }
    }

    /// Takes events, runs what is due and answers questions. Events wait on the bus, and executions in the
    /// store, until it is known which hooks there are.
    async fn work(&self, sources: Sources) {
        let Sources { events, unkept, questions, .. } = sources;
        let intake = Arc::new(Intake::new(Arc::clone(&self.shared), self.plan.clone()));
        let executor = Executor::new(Arc::clone(&self.shared), self.plan.clone(), self.concurrency);
        // They end with this.
        let mut parts = JoinSet::new();
        let (of_flows, settings) = (Arc::clone(&intake), self.settings.clone());
        parts.spawn(async move {
            known(settings).await;
            of_flows.run_unkept(unkept).await;
        });
        let settings = self.settings.clone();
        parts.spawn(async move {
            known(settings).await;
            intake.run(events).await;
        });
        let settings = self.settings.clone();
        parts.spawn(async move {
            known(settings).await;
            executor.run().await;
        });
        parts.spawn(async move { drop(questions.join_all().await) });
        if let Some(Err(error)) = parts.join_next().await {
            tracing::error!(%error, "a part of the hook manager failed");
        }
    }

    /// Says again and again that this node runs hooks, until another one does or it cannot be said.
    async fn until_lost(&self, mut said: Stopwatch) {
        loop {
            tokio::time::sleep(RENEW).await;
            let begun = Stopwatch::start();
            let left = PATIENCE.saturating_sub(said.elapsed());
            match tokio::time::timeout(left, self.hold()).await {
                Ok(Ok(true)) => said = begun,
                Ok(Ok(false)) => return,
                // Nobody else uses that disk.
                Ok(Err(StoreError::Disk(_))) => said = begun,
                Ok(Err(StoreError::Closed)) => std::future::pending().await,
                Ok(Err(error)) => tracing::warn!(%error, "it cannot be said that this node runs hooks"),
                Err(_) => {}
            }
            if said.elapsed() >= PATIENCE {
                return;
            }
        }
    }
}
