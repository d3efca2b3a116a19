//! The capture thread of an interface: source → pipeline → publisher, and orders in between.
//!
//! Nothing here is async. The thread ends when its source does, when it is told to drain, or with
//! the error of its capture; whatever it had is handed over first.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};

use shared::bus::Reply;
use shared::clock::{SharedClock, Stopwatch};
use shared::model::query::FlowQuery;
use shared::model::{FlowEnd, FlowRecord, Timestamp};
use shared::wire::subject::Subjects;
use tokio::sync::mpsc;

use crate::capture::{self, Batch, CaptureError, PacketSource, SourceState};
use crate::decode::Decoder;
use crate::flow::FlowTable;
use crate::flow_alert::Place;
use crate::hooks::HookRunner;
use crate::interface::{FlowSink, InterfaceArgs, InterfaceTotals};
use crate::metrics;
use crate::pipeline::{Item, Pipeline, PipelineParts};
use crate::report::CollectorReport;

/// Items handed over at once at most; smaller when the source is idle.
const ITEMS_PER_BATCH: usize = 256;

/// How long a live wire may be silent before the wall clock moves event time on.
const SILENCE_NS: i64 = 1_000_000_000;

/// Orders to the thread.
#[derive(Debug)]
pub enum Order {
    /// Answer a question about live flows.
    LiveFlows(FlowQuery, Reply),
    /// Answer which scripts are loaded.
    Scripts(Reply),
    /// End flows, hand everything over, stop.
    Drain,
}

/// Opens the interface's source and captures until it ends.
///
/// # Errors
/// Why the source cannot be opened, or why it failed; what came before was handed over.
pub fn run(
    args: InterfaceArgs,
    items: mpsc::Sender<Vec<Item>>,
    inbox: Receiver<Order>,
) -> Result<(), CaptureError> {
    let source = CaptureThread::open(&args)?;
    CaptureThread::new(args, source, items, inbox).run()
}

struct CaptureThread {
    source: Box<dyn PacketSource>,
    pipeline: Pipeline,
    outlet: Outlet,
    inbox: Receiver<Order>,
    out: Vec<Item>,
    clock: SharedClock,
    place: Place,
    totals: Arc<Mutex<InterfaceTotals>>,
    published: CollectorReport,
    drops: u64,
}

/// Where items go.
struct Outlet {
    items: mpsc::Sender<Vec<Item>>,
    site: String,
    subjects: Subjects,
    flow_sink: Option<FlowSink>,
    /// Flows that could not be written to the sink.
    unwritten: u64,
    /// Nobody takes what is handed over.
    orphaned: bool,
}

impl Outlet {
    /// Gives items to the publisher; waits while it has no credit to give.
    fn deliver(&mut self, out: &mut Vec<Item>) {
        if out.is_empty() {
            return;
        }
        let mut out = std::mem::take(out);
        for item in &mut out {
            match item {
                Item::Flows(batch) => self.write_flows(&batch.flows),
                Item::Publish { subject, .. } => *subject = self.subjects.script(&self.site, subject),
                _ => {}
            }
        }
        // The publisher outlives the thread, unless it panicked: then there is nothing to go on for.
        self.orphaned |= self.items.blocking_send(out).is_err();
    }

    fn write_flows(&mut self, flows: &[FlowRecord]) {
        let Some(sink) = &self.flow_sink else { return };
        let Ok(mut sink) = sink.lock() else { return };
        for flow in flows {
            let line = FlowLine {
                community_id: flow.community_id(),
                name: flow.info.name(),
                status_names: shared::model::status::names(flow.status),
                flow,
            };
            let written = serde_json::to_writer(&mut *sink, &line).is_ok() && sink.write_all(b"\n").is_ok();
            self.unwritten += u64::from(!written);
        }
    }
}

impl CaptureThread {
    fn open(args: &InterfaceArgs) -> Result<Box<dyn PacketSource>, CaptureError> {
        match args.interface.files.as_slice() {
            [] => capture::live::open(&args.interface.live()),
            [one] => capture::file::open(one),
            many => capture::chain::open(many),
        }
    }

    fn new(
        args: InterfaceArgs,
        source: Box<dyn PacketSource>,
        items: mpsc::Sender<Vec<Item>>,
        inbox: Receiver<Order>,
    ) -> Self {
        let start = if source.is_live() { args.clock.now() } else { Timestamp::ZERO };
        let (hooks, errors, asked) = HookRunner::load(args.scripts, args.collector.periodic_update_s, start);
        for error in &errors {
            tracing::error!(line = error.line, column = error.column, "{error}");
        }
        let table = FlowTable::with_apps(args.collector.table(hooks.periodic_s(), args.seed), args.apps);
        let parts = PipelineParts {
            place: args.place.clone(),
            epoch: args.epoch,
            networks: args.networks,
            decoder: Decoder::new(args.collector.decoder(&args.interface, args.seed)),
            table,
            hooks,
            summary_interval_s: args.collector.summary_interval_s,
        };
        let mut pipeline = Pipeline::new(parts);
        pipeline.count_error("script_load", errors.len() as u64);
        let mut out = Vec::new();
        pipeline.started(asked, start, &mut out);
        if source.is_live() {
            pipeline.announce(start, &mut out);
        }
        let outlet = Outlet {
            items,
            site: args.place.site.clone(),
            subjects: args.subjects,
            flow_sink: args.flow_sink,
            unwritten: 0,
            orphaned: false,
        };
        Self {
            source,
            pipeline,
            outlet,
            inbox,
            out,
            clock: args.clock,
            place: args.place,
            totals: args.totals,
            published: CollectorReport::default(),
            drops: 0,
        }
    }

    fn run(mut self) -> Result<(), CaptureError> {
        let mut batch = Batch::default();
        let live = self.source.is_live();
        let mut pace = Pace::new();
        self.hand_over();
        loop {
            if self.obey() || self.outlet.orphaned {
                self.finish(FlowEnd::Shutdown, false);
                return Ok(());
            }
            batch.clear();
            let state = self.source.next_batch(&mut batch);
            self.process(&batch, live, &mut pace);
            match state {
                Ok(SourceState::More) => {}
                Ok(SourceState::Idle) => self.tick(),
                Ok(SourceState::End) => {
                    self.finish(FlowEnd::EndOfFile, true);
                    return Ok(());
                }
                Err(error) => {
                    self.pipeline.count_error(error.kind(), 1);
                    let reason = if live { FlowEnd::Shutdown } else { FlowEnd::EndOfFile };
                    self.finish(reason, !live);
                    return Err(error);
                }
            }
        }
    }

    fn process(&mut self, batch: &Batch, live: bool, pace: &mut Pace) {
        if batch.is_empty() {
            return;
        }
        let work = Stopwatch::start();
        let interface = self.place.interface.clone();
        let packets = batch.len();
        let mut span = None;
        let mut trace = || {
            let span = span.get_or_insert_with(|| {
                tracing::info_span!("packet_batch", interface, packets, otel.kind = "producer")
            });
            shared::telemetry::traceparent(span)
        };
        self.pipeline.packets(batch, &mut trace, &mut self.out);
        if live {
            let was = self.pipeline.overloaded;
            self.pipeline.overloaded = pace.busy(work.elapsed());
            if self.pipeline.overloaded && !was {
                self.pipeline.tell_overload(&mut self.out);
            }
        }
        if self.out.len() >= ITEMS_PER_BATCH || live {
            self.hand_over();
        }
    }

    /// The wire is silent: the wall clock moves event time on, a little behind, so that packets
    /// still in the ring are not late.
    fn tick(&mut self) {
        let now = self.clock.now().plus_ns(-SILENCE_NS);
        self.pipeline.tick(now, &mut || None, &mut self.out);
        self.hand_over();
    }

    fn finish(&mut self, reason: FlowEnd, end_of_stream: bool) {
        self.count_drops();
        let interface = self.place.interface.clone();
        let mut span = None;
        let mut trace = || {
            let span = span.get_or_insert_with(|| {
                tracing::info_span!("packet_batch", interface, packets = 0, otel.kind = "producer")
            });
            shared::telemetry::traceparent(span)
        };
        let outlet = &mut self.outlet;
        let mut deliver = |out: &mut Vec<Item>| outlet.deliver(out);
        self.pipeline.finish(reason, end_of_stream, &mut trace, &mut self.out, &mut deliver);
        self.hand_over();
    }

    /// Hands over what there is, and tells how far it is.
    fn hand_over(&mut self) {
        if self.source.is_live() {
            self.count_drops();
        }
        self.outlet.deliver(&mut self.out);
        self.pipeline.count_error("flows_out", std::mem::take(&mut self.outlet.unwritten));
        let report = self.pipeline.report();
        metrics::publish(&self.place.interface, &self.published, &report, self.pipeline.live());
        if let Ok(mut totals) = self.totals.lock() {
            totals.current.clone_from(&report);
            totals.progress = self.source.progress();
        }
        self.published = report;
    }

    fn count_drops(&mut self) {
        let stats = self.source.stats();
        let drops = stats.dropped_kernel + stats.dropped_interface;
        self.pipeline.count_drops(drops.saturating_sub(self.drops));
        self.drops = self.drops.max(drops);
    }

    /// Carries out waiting orders; true when the thread is to stop.
    fn obey(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Order::LiveFlows(query, reply)) => {
                    let page = self.pipeline.live_flows(&query);
                    reply.send(serde_json::to_vec(&page).unwrap_or_default());
                }
                Ok(Order::Scripts(reply)) => {
                    reply.send(serde_json::to_vec(&self.pipeline.scripts()).unwrap_or_default());
                }
                Ok(Order::Drain) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
    }
}

/// An ended flow as `--flows-out` writes it.
#[derive(serde::Serialize)]
struct FlowLine<'a> {
    community_id: String,
    name: &'a str,
    status_names: Vec<String>,
    #[serde(flatten)]
    flow: &'a FlowRecord,
}

/// Tells whether a live interface keeps up: work against wall time, by the second.
struct Pace {
    second: Stopwatch,
    worked: std::time::Duration,
    busy: bool,
}

impl Pace {
    fn new() -> Self {
        Self { second: Stopwatch::start(), worked: std::time::Duration::ZERO, busy: false }
    }

    /// Adds work; true while the last whole second was worked for more than 80 %.
    fn busy(&mut self, work: std::time::Duration) -> bool {
        self.worked += work;
        let wall = self.second.elapsed();
        if wall.as_secs() >= 1 {
            self.busy = self.worked.as_secs_f64() > 0.8 * wall.as_secs_f64();
            *self = Self { busy: self.busy, ..Self::new() };
        }
        self.busy
    }
}
