//! Starts the interfaces, restarts those that fail, and answers questions about live flows.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use shared::backoff::unit_random;
use shared::bus::{Message, SharedBus};
use shared::clock::SharedClock;
use shared::model::{LocalNetworks, Severity};
use shared::script::live::LiveScripts;
use shared::supervise::{Decision, RestartBudget, RestartPolicy};
use shared::wire::subject::Subjects;
use tokio::sync::watch;

use crate::capture::{self, CaptureError, Progress};
use crate::config::CollectorConfig;
use crate::flow_alert::Place;
use crate::interface::{FlowSink, InterfaceActor, InterfaceArgs, InterfaceMessage, InterfaceTotals};
use crate::metrics;
use crate::report::CollectorReport;

mod failed;
mod questions;

/// How often to look for the device of an interface that has gone away.
const LOOK_FOR_DEVICE: Duration = Duration::from_secs(1);

/// What the collector role needs.
#[derive(Clone)]
pub struct CollectorDeps {
    /// Its section of the configuration.
    pub config: CollectorConfig,
    /// Site of this node.
    pub site: String,
    /// Name of this node.
    pub node: String,
    /// Local networks.
    pub networks: Arc<LocalNetworks>,
    /// Scripts.
    pub scripts: LiveScripts,
    /// Applications.
    pub apps: Arc<crate::l7::apps::AppTable>,
    /// The bus.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// Wall clock.
    pub clock: SharedClock,
    /// Distinguishes this run of the node from earlier ones; larger is later.
    pub epoch: u64,
    /// Seed of the flow tables' hashes and of jitter.
    pub seed: u64,
    /// Where ended flows are written too.
    pub flow_sink: Option<FlowSink>,
    /// Folder for what the bus does not take; nothing where the bus is never away.
    pub spool_dir: Option<PathBuf>,
}

/// Why the collector cannot start.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// An interface cannot be opened.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// An actor did not start, or a subscription failed.
    #[error("cannot start the collector: {0}")]
    Start(String),
}

/// The running role.
pub struct Collector {
    /// Its supervisor; stop it to drain and end.
    pub actor: ActorRef<CollectorMessage>,
    /// Ends with the supervisor.
    pub handle: tokio::task::JoinHandle<()>,
    /// Becomes true when every capture file has been read and published.
    pub finished: watch::Receiver<bool>,
    totals: Vec<Arc<Mutex<InterfaceTotals>>>,
}

impl Collector {
    /// What all interfaces have done.
    pub fn report(&self) -> CollectorReport {
        self.reporter()()
    }

    /// Tells the same at any time later.
    pub fn reporter(&self) -> impl Fn() -> CollectorReport + Send + Sync + 'static {
        let all = self.totals.clone();
        move || {
            let mut report = CollectorReport::default();
            for totals in &all {
                if let Ok(totals) = totals.lock() {
                    report.add(&totals.report());
                }
            }
            report
        }
    }

    /// Why the first capture that failed did.
    pub fn failure(&self) -> Option<Arc<CaptureError>> {
        let failure = |t: &Arc<Mutex<InterfaceTotals>>| t.lock().ok().and_then(|t| t.failure.clone());
        self.totals.iter().find_map(failure)
    }

    /// How far all interfaces have read, where every one reads files.
    pub fn progress(&self) -> Option<Progress> {
        let mut sum = Progress { bytes_read: 0, bytes_total: Some(0), packets: 0 };
        for totals in &self.totals {
            let progress = totals.lock().ok()?.progress?;
            sum.bytes_read += progress.bytes_read;
            sum.bytes_total = sum.bytes_total.zip(progress.bytes_total).map(|(a, b)| a + b);
            sum.packets += progress.packets;
        }
        Some(sum)
    }
}

/// Starts the collector: opens every interface once to be sure that it can be, then starts one
/// actor each.
///
/// # Errors
/// [`CollectorError`] names the interface or file and the cause.
pub async fn spawn(deps: CollectorDeps) -> Result<Collector, CollectorError> {
    for interface in &deps.config.interface {
        if let Some(udp) = interface.udp() {
            drop(crate::ingest::udp::open(&udp, deps.clock.clone())?);
            continue;
        }
        match interface.files.as_slice() {
            [] => drop(capture::live::open(&interface.live())?),
            files => capture::files::check(files)?,
        }
    }
    let totals: Vec<_> = deps.config.interface.iter().map(|_| Arc::default()).collect();
    let (finished_tx, finished) = watch::channel(false);
    let args = SupervisorArgs { deps, totals: totals.clone(), finished: finished_tx };
    let (actor, handle) = Actor::spawn(None, CollectorSupervisor, args)
        .await
        .map_err(|e| CollectorError::Start(e.to_string()))?;
    Ok(Collector { actor, handle, finished, totals })
}

/// Messages to the supervisor.
#[derive(Debug)]
pub enum CollectorMessage {
    /// Start an interface again.
    Restart(usize),
    /// A question from the bus.
    Question(Message),
}

/// The supervisor actor.
pub struct CollectorSupervisor;

/// What the supervisor is started with.
pub struct SupervisorArgs {
    deps: CollectorDeps,
    totals: Vec<Arc<Mutex<InterfaceTotals>>>,
    finished: watch::Sender<bool>,
}

struct Slot {
    args: InterfaceArgs,
    actor: Option<ActorRef<InterfaceMessage>>,
    budget: RestartBudget,
    /// Failures of the capture since it last worked for a while.
    failures: u32,
    started_at: shared::model::Timestamp,
    done: bool,
}

/// State of the supervisor.
pub struct SupervisorState {
    deps: CollectorDeps,
    slots: Vec<Slot>,
    children: HashMap<ActorId, usize>,
    finished: watch::Sender<bool>,
    stopping: bool,
}

impl Actor for CollectorSupervisor {
    type Msg = CollectorMessage;
    type State = SupervisorState;
    type Arguments = SupervisorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let SupervisorArgs { deps, totals, finished } = args;
        questions::listen(&deps, myself.clone()).await?;
        let slots = deps.config.interface.iter().zip(totals).enumerate();
        let slots = slots
            .map(|(place, (interface, totals))| Slot {
                args: InterfaceArgs {
                    interface: interface.clone(),
                    place: Place {
                        site: deps.site.clone(),
                        node: deps.node.clone(),
                        ifid: interface.id.unwrap_or(place as u32),
                        interface: interface.name.clone(),
                    },
                    collector: deps.config.clone(),
                    networks: Arc::clone(&deps.networks),
                    apps: Arc::clone(&deps.apps),
                    scripts: deps.scripts.clone(),
                    bus: Arc::clone(&deps.bus),
                    subjects: deps.subjects.clone(),
                    clock: Arc::clone(&deps.clock),
                    epoch: deps.epoch,
                    seed: deps.seed,
                    flow_sink: deps.flow_sink.clone(),
                    spool_dir: deps.spool_dir.clone(),
                    resumes: false,
                    totals,
                },
                actor: None,
                budget: RestartBudget::new(RestartPolicy::default()),
                failures: 0,
                started_at: shared::model::Timestamp::ZERO,
                done: false,
            })
            .collect();
        let mut state = SupervisorState { deps, slots, children: HashMap::new(), finished, stopping: false };
        for place in 0..state.slots.len() {
            state.start(place, &myself).await?;
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
            CollectorMessage::Restart(place) if !state.stopping => match state.is_absent(place) {
                true => drop(myself.send_after(LOOK_FOR_DEVICE, move || CollectorMessage::Restart(place))),
                false => state.start(place, &myself).await?,
            },
            CollectorMessage::Restart(_) => {}
            CollectorMessage::Question(question) => state.answer(question),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, ..) => state.ended(cell.get_id(), None, &myself).await,
            SupervisionEvent::ActorFailed(cell, error) => {
                state.ended(cell.get_id(), Some(error.to_string()), &myself).await
            }
            _ => Ok(()),
        }
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.stopping = true;
        // All drain at once; each is then waited for, so that every flow has had its end.
        let actors: Vec<_> = state.slots.iter_mut().filter_map(|slot| slot.actor.take()).collect();
        for actor in &actors {
            let _ = actor.cast(InterfaceMessage::Drain);
        }
        for actor in &actors {
            if actor.wait(Some(Duration::from_secs(30))).await.is_err() {
                tracing::error!("an interface did not drain within 30 s");
            }
        }
        Ok(())
    }
}

impl SupervisorState {
    /// True while an interface's device does not exist, so that a try would be in vain.
    fn is_absent(&self, place: usize) -> bool {
        self.slots.get(place).is_some_and(|slot| {
            let device = slot.args.interface.live().name;
            let live = slot.args.interface.files.is_empty() && device != capture::live::ANY;
            live && !capture::link::exists(&device)
        })
    }

    async fn start(
        &mut self,
        place: usize,
        myself: &ActorRef<CollectorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let now = self.deps.clock.now();
        let Some(slot) = self.slots.get_mut(place) else { return Ok(()) };
        slot.started_at = now;
        let (actor, _) =
            Actor::spawn_linked(None, InterfaceActor, slot.args.clone(), myself.get_cell()).await?;
        self.children.insert(actor.get_id(), place);
        slot.actor = Some(actor);
        Ok(())
    }

    /// A child ended, with an error or without.
    async fn ended(
        &mut self,
        child: ActorId,
        error: Option<String>,
        myself: &ActorRef<CollectorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(place) = self.children.remove(&child) else { return Ok(()) };
        let slot = &mut self.slots[place];
        slot.actor = None;
        let from_file = !slot.args.interface.files.is_empty();
        let (failure, opened) =
            slot.args.totals.lock().map_or((None, false), |t| (t.failure.clone(), t.opened));
        let capture_failed = failure.is_some();
        let set_back = matches!(failure.as_deref(), Some(CaptureError::ClockSetBack { .. }));
        if self.stopping || error.is_none() || (from_file && capture_failed) {
            slot.done = true;
            if self.slots.iter().all(|slot| slot.done) {
                let _ = self.finished.send(true);
            }
            return Ok(());
        }
        let error = error.unwrap_or_default();
        tracing::error!(interface = %slot.args.place.interface, error, "capture failed");
        metrics::restarted(&slot.args.place.interface);
        let wait = match capture_failed {
            // The device may come back: keep trying, ever more seldom.
            true => Some(slot.next_try(self.deps.clock.now(), self.deps.seed)),
            false => match slot.budget.on_failure(self.deps.clock.now(), unit_random(self.deps.seed)) {
                Decision::RestartAfter(wait) => Some(wait),
                Decision::GiveUp => None,
            },
        };
        slot.keep_totals();
        // The next run of the producer is a new one, numbered from 1.
        slot.args.epoch += 1;
        let Some(wait) = wait else {
            return Err(
                format!("interface {} fails again and again: {error}", slot.args.place.interface).into()
            );
        };
        // The timer runs by itself.
        drop(myself.send_after(wait, move || CollectorMessage::Restart(place)));
        if set_back {
            let text = format!("{error}; the capture begins anew");
            self.tell(place, "clock_stepped", Severity::Warning, text).await;
            return Ok(());
        }
        // A device that stays away has been told of when it went.
        let told = std::mem::replace(&mut slot.args.resumes, true);
        if !told || opened {
            let text = format!("Capture on interface {} failed: {error}", slot.args.place.interface);
            self.tell(place, "capture_failed", Severity::Error, text).await;
        }
        Ok(())
    }
}
