//! The interface actor: one capture, its threads, one sequence of items.
//!
//! It owns the thread, or threads, that capture and run the flow hooks, and the task that publishes. Its
//! supervisor sends it [`InterfaceMessage`]s; it answers live-flow questions by passing them to the
//! thread. A restart loses the flow table and says so in a counter.

use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use shared::bus::{Reply, SharedBus};
use shared::clock::SharedClock;
use shared::model::query::FlowQuery;
use shared::model::{LocalNetworks, Severity};
use shared::script::live::LiveScripts;
use shared::wire::subject::Subjects;
use tokio::sync::mpsc;

use crate::capture::{CaptureError, Progress};
use crate::capture_thread::Order;
use crate::config::{CollectorConfig, InterfaceConfig};
use crate::flow_alert::{self, Place};
use crate::l7::apps::AppTable;
use crate::publisher;
use crate::publisher::spooling::SpoolPlan;
use crate::report::CollectorReport;
use crate::script_answer::ScriptAnswer;
use crate::shards::{self, Answer, Stop};

/// Writes each ended flow as one JSON line.
pub type FlowSink = Arc<Mutex<dyn Write + Send>>;

/// What an interface actor needs.
#[derive(Clone)]
pub struct InterfaceArgs {
    /// Its section of the configuration.
    pub interface: InterfaceConfig,
    /// Where it is.
    pub place: Place,
    /// The collector's settings.
    pub collector: CollectorConfig,
    /// Local networks.
    pub networks: Arc<LocalNetworks>,
    /// Applications.
    pub apps: Arc<AppTable>,
    /// Scripts.
    pub scripts: LiveScripts,
    /// The bus.
    pub bus: SharedBus,
    /// Subjects.
    pub subjects: Subjects,
    /// Wall clock, for live interfaces.
    pub clock: SharedClock,
    /// Distinguishes this run from earlier ones.
    pub epoch: u64,
    /// Seed of the flow table's hash.
    pub seed: u64,
    /// Where ended flows are written too.
    pub flow_sink: Option<FlowSink>,
    /// Folder for what the bus does not take; nothing where the bus is never away.
    pub spool_dir: Option<PathBuf>,
    /// The capture had failed before: say that it works again.
    pub resumes: bool,
    /// Where totals are kept over restarts.
    pub totals: Arc<Mutex<InterfaceTotals>>,
}

impl InterfaceArgs {
    /// How to spool; not at all for files, which wait.
    fn spool_plan(&self) -> Option<SpoolPlan> {
        let dir = self.spool_dir.as_ref().filter(|_| self.interface.files.is_empty())?;
        let max_bytes = u64::from(self.collector.spool_mib) << 20;
        if max_bytes == 0 {
            return None;
        }
        let (totals, place, clock) = (Arc::clone(&self.totals), self.place.clone(), Arc::clone(&self.clock));
        Some(SpoolPlan {
            dir: dir.join(self.place.ifid.to_string()),
            max_bytes,
            count: Arc::new(move |kind, count| {
                if let Ok(mut totals) = totals.lock() {
                    totals.shard(0).error(kind, count);
                }
            }),
            alert: Arc::new(move |kind, text| {
                flow_alert::interface_alert(&place, kind, Severity::Error, text, clock.now())
            }),
        })
    }
}

/// Totals of one interface, over restarts.
#[derive(Clone, Debug, Default)]
pub struct InterfaceTotals {
    /// What earlier runs of the interface did.
    pub before: CollectorReport,
    /// What each shard of the present run has done.
    pub current: Vec<CollectorReport>,
    /// Live flows of each shard.
    pub live_flows: Vec<usize>,
    /// The present run has opened its sources.
    pub opened: bool,
    /// How much of its files has been read.
    pub progress: Option<Progress>,
    /// Why the capture ended.
    pub failure: Option<Arc<CaptureError>>,
}

impl InterfaceTotals {
    /// Everything so far.
    pub fn report(&self) -> CollectorReport {
        let mut report = self.before.clone();
        for shard in &self.current {
            report.add(shard);
        }
        report
    }

    /// What a shard of the present run has done.
    pub fn shard(&mut self, number: usize) -> &mut CollectorReport {
        if self.current.len() <= number {
            self.current.resize_with(number + 1, CollectorReport::default);
        }
        &mut self.current[number]
    }

    /// Notes how many flows of a shard live, and returns how many of all.
    pub fn live(&mut self, shard: usize, flows: usize) -> usize {
        if self.live_flows.len() <= shard {
            self.live_flows.resize(shard + 1, 0);
        }
        self.live_flows[shard] = flows;
        self.live_flows.iter().sum()
    }
}

/// Messages to an interface actor.
#[derive(Debug)]
pub enum InterfaceMessage {
    /// Answer a question about live flows.
    LiveFlows(FlowQuery, Reply),
    /// Answer which scripts are loaded and what they have done.
    Scripts(ScriptAnswer),
    /// The thread has ended.
    Ended(Result<(), Arc<CaptureError>>),
    /// The thread has panicked.
    Panicked,
    /// End flows, publish everything, stop.
    Drain,
}

/// The actor.
pub struct InterfaceActor;

/// Its state.
pub struct InterfaceState {
    /// To each shard.
    orders: Vec<SyncSender<Order>>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
    publisher: Option<tokio::task::JoinHandle<u64>>,
    totals: Arc<Mutex<InterfaceTotals>>,
}

impl Actor for InterfaceActor {
    type Msg = InterfaceMessage;
    type State = InterfaceState;
    type Arguments = InterfaceArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let (orders, inboxes): (Vec<_>, Vec<_>) =
            (0..args.interface.threads.max(1)).map(|_| sync_channel(64)).unzip();
        let stop = Stop::default();
        let told = stop.clone();
        let (items, batches) = mpsc::channel(publisher::CREDIT);
        let totals = Arc::clone(&args.totals);
        let publisher = tokio::spawn(publisher::run(
            Arc::clone(&args.bus),
            args.subjects.clone(),
            args.collector.compress,
            batches,
            args.spool_plan(),
        ));
        let thread = std::thread::Builder::new().name(format!("capture-{}", args.place.interface)).spawn(
            move || {
                let run = || shards::run(args, items, inboxes, &told);
                // The pipeline is dropped with the panic, so nobody sees it half-changed.
                let message = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)) {
                    Ok(result) => InterfaceMessage::Ended(result.map_err(Arc::new)),
                    Err(_) => InterfaceMessage::Panicked,
                };
                let _ = myself.cast(message);
            },
        )?;
        Ok(InterfaceState { orders, stop, thread: Some(thread), publisher: Some(publisher), totals })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            // A full inbox drops the question: its reply ends, and the asker is told at once.
            InterfaceMessage::LiveFlows(query, reply) => {
                let answers = Answer::split(reply, &query, state.orders.len());
                for (orders, answer) in state.orders.iter().zip(answers) {
                    let _ = orders.try_send(Order::LiveFlows(query.clone(), answer));
                }
            }
            InterfaceMessage::Scripts(answer) => {
                for orders in &state.orders {
                    let _ = orders.try_send(Order::Scripts(answer.clone()));
                }
            }
            InterfaceMessage::Drain => state.stop.tell(),
            InterfaceMessage::Panicked => {
                state.finish().await;
                state.count_error("panics", 1);
                return Err("capture thread panicked".into());
            }
            InterfaceMessage::Ended(result) => {
                if !state.finish().await {
                    return Err("publisher panicked".into());
                }
                let failure = result.err();
                if let Ok(mut totals) = state.totals.lock() {
                    totals.failure.clone_from(&failure);
                }
                match failure {
                    Some(error) => return Err(Box::new(CaptureFailed(error))),
                    None => myself.stop(None),
                }
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.stop.tell();
        state.finish().await;
        Ok(())
    }
}

/// The capture of an interface failed; the supervisor decides what follows.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CaptureFailed(pub Arc<CaptureError>);

impl InterfaceState {
    /// Waits for the thread and for everything it published; false when the publisher panicked.
    async fn finish(&mut self) -> bool {
        if let Some(thread) = self.thread.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        if let Some(publisher) = self.publisher.take() {
            let Ok(lost) = publisher.await else {
                self.count_error("panics", 1);
                return false;
            };
            self.count_error("messages_lost", lost);
        }
        true
    }

    fn count_error(&self, kind: &str, count: u64) {
        if let Ok(mut totals) = self.totals.lock() {
            totals.shard(0).error(kind, count);
        }
    }
}
