//! A capture thread of an interface: source → pipeline → publisher, and orders in between.
//!
//! Nothing here is async. The thread ends when its source does, when it is told to drain, or with
//! the error of its capture; whatever it had is handed over first.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex};

use shared::clock::{SharedClock, Stopwatch};
use shared::model::query::FlowQuery;
use shared::model::{FlowEnd, Severity, Timestamp};
use shared::script::live::LiveScripts;

use crate::affinity;
use crate::capture::{Batch, CaptureError, PacketSource, SourceState};
use crate::decode::Decoder;
use crate::delivery::Delivery;
use crate::flow::FlowTable;
use crate::flow_alert::Place;
use crate::hooks::HookRunner;
use crate::interface::{InterfaceArgs, InterfaceTotals};
use crate::metrics;
use crate::pipeline::{Item, Pipeline, PipelineParts};
use crate::report::{CollectorReport, Drops};
use crate::script_answer::ScriptAnswer;
use crate::shards::{Answer, Outlet, Stop};

mod steps;

use steps::Steps;

/// Items handed over at once at most; smaller when the source is idle.
const ITEMS_PER_BATCH: usize = 256;

/// Batches of a file between two times that its progress is told: some 10 ms.
const TELL_PROGRESS: u32 = 64;

/// How long a live wire may be silent before the wall clock moves event time on.
const SILENCE_NS: i64 = 1_000_000_000;

/// How often the interface is looked at: its counters and whether it is up.
const WATCH: std::time::Duration = std::time::Duration::from_millis(if cfg!(test) { 5 } else { 1000 });

/// Orders to the thread.
#[derive(Debug)]
pub enum Order {
    /// Answer a question about live flows.
    LiveFlows(FlowQuery, Answer),
    /// Answer which scripts are loaded.
    Scripts(ScriptAnswer),
}

/// Captures until the source ends or `stop` is told.
///
/// # Errors
/// Why the source failed; what came before was handed over.
pub fn run(
    args: InterfaceArgs,
    source: Box<dyn PacketSource>,
    outlet: Outlet,
    inbox: Receiver<Order>,
    stop: &Stop,
) -> Result<(), CaptureError> {
    if let Some(core) = args.interface.cores.get(outlet.shard()) {
        // Before anything of the thread's is in memory, so that it lies near that core.
        affinity::stay_on(*core).map_err(|error| CaptureError::Live {
            name: args.interface.name.clone(),
            cause: format!("cores: core {core}: {error}"),
        })?;
    }
    CaptureThread::new(args, source, outlet, inbox).run(stop)
}

struct CaptureThread {
    source: Box<dyn PacketSource>,
    pipeline: Pipeline,
    delivery: Delivery,
    inbox: Receiver<Order>,
    scripts: LiveScripts,
    out: Vec<Item>,
    clock: SharedClock,
    place: Place,
    totals: Arc<Mutex<InterfaceTotals>>,
    published: CollectorReport,
    drops: Drops,
    /// Since the interface was last looked at.
    watched: Stopwatch,
    /// What was last said about it.
    up: bool,
    /// Batches of a file since its progress was told.
    untold: u32,
    /// What the packets' clock has shown, and the system's.
    steps: [Steps; 2],
}

impl CaptureThread {
    fn new(
        args: InterfaceArgs,
        source: Box<dyn PacketSource>,
        outlet: Outlet,
        inbox: Receiver<Order>,
    ) -> Self {
        // One shard alone speaks for the interface: what scripts ask for in `setup` is done once.
        let first = outlet.shard() == 0;
        let start = if source.is_live() { args.clock.now() } else { Timestamp::ZERO };
        let mut scripts = args.scripts;
        let setup = scripts.take();
        let (hooks, errors, asked) = {
            let (name, periodic) = (&args.place.interface, args.collector.periodic_update_s);
            HookRunner::load_on(&setup, name, periodic, start)
        };
        for error in errors.iter().filter(|_| first) {
            tracing::error!(line = error.line, column = error.column, "{error}");
        }
        let mut settings = args.collector.table(hooks.periodic_s(), args.seed);
        settings.max_flows = settings.max_flows.div_ceil(outlet.shards());
        let mut table = FlowTable::with_apps(settings, args.apps);
        table.number_flows(1 + outlet.shard() as u64, outlet.shards() as u64);
        let parts = PipelineParts {
            place: args.place.clone(),
            epoch: args.epoch,
            networks: args.networks,
            decoder: Decoder::new(args.collector.decoder(&args.interface, args.seed)),
            feed: args.collector.feed(&args.interface, args.seed),
            table,
            hooks,
            summary_interval_s: args.collector.summary_interval_s,
            summaries: true,
            alerts: true,
        };
        let mut pipeline = Pipeline::new(parts);
        pipeline.sample_flow_events(args.collector.flow_events);
        let mut out = Vec::new();
        if first {
            pipeline.count_error("script_load", errors.len() as u64);
            pipeline.started(asked, start, &mut out);
        }
        if first && args.resumes {
            let message = format!("Capture on interface {} works again", args.place.interface);
            pipeline.tell("capture_resumed", Severity::Notice, message, start, &mut out);
        }
        if source.is_live() {
            pipeline.announce(start, &mut out);
        }
        let delivery = Delivery::new(outlet, args.place.site.clone(), args.subjects, args.flow_sink);
        Self {
            source,
            pipeline,
            delivery,
            inbox,
            scripts,
            out,
            clock: args.clock,
            place: args.place,
            totals: args.totals,
            published: CollectorReport::default(),
            drops: Drops::default(),
            watched: Stopwatch::start(),
            up: true,
            untold: 0,
            steps: Default::default(),
        }
    }

    fn run(mut self, stop: &Stop) -> Result<(), CaptureError> {
        let mut batch = Batch::default();
        let live = self.source.is_live();
        let mut pace = Pace::new();
        self.hand_over();
        loop {
            if stop.told() || self.obey() || self.delivery.is_orphaned() {
                self.finish(FlowEnd::Shutdown, false);
                return Ok(());
            }
            self.reload_scripts(live);
            batch.clear();
            let state = self.source.next_batch(&mut batch);
            let stepped = if live { self.stepped(&batch) } else { Ok(()) };
            if stepped.is_ok() {
                self.process(&batch, live, &mut pace);
            }
            match state.and_then(|state| stepped.and_then(|()| self.watch(live)).map(|()| state)) {
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
        self.untold += 1;
        if !live && self.untold >= TELL_PROGRESS {
            self.untold = 0;
            if let Ok(mut totals) = self.totals.lock() {
                totals.progress = self.source.progress();
            }
        }
    }

    /// Fails when a clock was set back: in time that was counted already, nothing would be told until it
    /// has passed again.
    fn stepped(&mut self, batch: &Batch) -> Result<(), CaptureError> {
        let shown = match batch.descs().last() {
            Some(last) => self.steps[0].shown(last.ts),
            None => self.steps[1].shown(self.clock.now()),
        };
        let failed = |seconds| CaptureError::ClockSetBack { name: self.place.interface.clone(), seconds };
        shown.map_or(Ok(()), |seconds| Err(failed(seconds)))
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
        let (delivery, closed) = (&mut self.delivery, self.pipeline.closed_until());
        let mut deliver = |out: &mut Vec<Item>| delivery.deliver(out, closed);
        self.pipeline.finish(reason, end_of_stream, &mut trace, &mut self.out, &mut deliver);
        self.hand_over();
        self.delivery.end();
    }

    /// Looks once a second at what the system says of a live interface.
    fn watch(&mut self, live: bool) -> Result<(), CaptureError> {
        if !live || self.watched.elapsed() < WATCH {
            return Ok(());
        }
        self.watched = Stopwatch::start();
        self.count_drops();
        let up = self.source.is_up()?;
        if up != self.up && self.delivery.shard() == 0 {
            let name = &self.place.interface;
            let (kind, severity, message) = match up {
                true => ("interface_up", Severity::Notice, format!("Interface {name} is up again")),
                false => (
                    "interface_down",
                    Severity::Warning,
                    format!("Interface {name} is down: nothing is captured until it is up again"),
                ),
            };
            self.pipeline.tell(kind, severity, message, self.clock.now(), &mut self.out);
        }
        self.up = up;
        Ok(())
    }

    /// Hands over what there is, and tells how far it is.
    fn hand_over(&mut self) {
        let (shard, live) = (self.delivery.shard(), self.pipeline.live());
        self.delivery.deliver(&mut self.out, self.pipeline.closed_until());
        self.pipeline.count_error("flows_out", self.delivery.take_unwritten());
        let report = self.pipeline.report();
        let mut of_all = live;
        if let Ok(mut totals) = self.totals.lock() {
            totals.shard(shard).clone_from(&report);
            totals.progress = self.source.progress();
            of_all = totals.live(shard, live);
        }
        metrics::publish(&self.place.interface, &self.published, &report, of_all);
        self.published = report;
    }

    fn count_drops(&mut self) {
        let stats = self.source.stats();
        let drops = Drops {
            kernel: stats.dropped_kernel,
            // All shards see the same interface.
            interface: if self.delivery.shard() == 0 { stats.dropped_interface } else { 0 },
            own: stats.dropped_own,
        };
        self.pipeline.count_drops(&drops.since(&self.drops));
        self.drops = drops;
    }

    /// Takes on scripts that have changed.
    fn reload_scripts(&mut self, live: bool) {
        let Some(setup) = self.scripts.news() else { return };
        let speaks = self.delivery.shard() == 0;
        let now = if live { self.clock.now() } else { Timestamp::ZERO };
        let errors = self.pipeline.reload_scripts(&setup, speaks, now, &mut self.out);
        for error in errors.iter().filter(|_| speaks) {
            tracing::error!(line = error.line, column = error.column, "{error}");
        }
    }

    /// Carries out waiting orders; true when the thread is to stop.
    fn obey(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Order::LiveFlows(query, answer)) => answer.give(self.pipeline.live_flows(&query)),
                Ok(Order::Scripts(answer)) => answer.give(self.pipeline.scripts()),
                Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
    }
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
