//! A delta is gone through: it is added, and the windows that it closes are run, in slices of time where
//! that takes long. Nothing else changes the partition in between, so slices decide nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::Stopwatch;
use shared::model::{Entity, Granularity, SystemCounters, Timestamp};
use shared::script::ScriptKind;
use shared::wire::delta::{Delta, Producer};

use super::elements::{Elements, Keys, Missed};
use super::host_events::{self, ACTIVE, IDLE, are_told_of};
use super::output::timer_event;
use super::{InterfaceState, KINDS, Output, Partition, runs};
use crate::ingest::Verdict;
use crate::report::RunCounts;
use crate::run::{Outcome, RunPlan, Running};
use crate::schedule::Closed;

/// The latest time that is taken for one: 2200-01-01T00:00:00Z.
const LATEST: Timestamp = Timestamp::from_secs(7_258_118_400);

/// How far a delta has been gone through.
pub(super) struct UnderWay {
    /// Site and id of its interface.
    place: (String, u32),
    cause: String,
    /// Windows that are to be run, in order.
    closed: VecDeque<Closed>,
    /// The delta has been added; before that, windows are run that ended before it began.
    added: bool,
    window: Option<Window>,
    /// Batches that were missing, and alerts refused, before it came.
    before: (u64, u64),
    output: Output,
}

/// A window whose elements are run.
struct Window {
    closed: Closed,
    /// Event time up to which it was seen.
    seen: Timestamp,
    missed: Missed,
    /// How many kinds of elements have had their run.
    kinds: usize,
    run: Option<(Keys, Running)>,
}

/// Time that may be spent before others have their turn.
struct Slice {
    watch: Stopwatch,
    length: Duration,
}

impl Slice {
    /// What is left of it; none when it is over.
    fn left(&self) -> Option<Duration> {
        self.length.checked_sub(self.watch.elapsed())
    }
}

impl Partition {
    /// Applies a delta and runs the hooks of the windows it closes.
    pub fn apply(&mut self, delta: &Delta) -> Output {
        loop {
            if let Some(output) = self.step(delta, Duration::MAX) {
                return output;
            }
        }
    }

    /// The same, for about a `slice` of time: gives what it caused when it is done, else it is to be called
    /// again with the same delta before anything else changes the partition.
    pub fn step(&mut self, delta: &Delta, slice: Duration) -> Option<Output> {
        let slice = Slice { watch: Stopwatch::start(), length: slice };
        let mut way = match self.under_way.take() {
            Some(way) => way,
            None => {
                let mut output = Output::default();
                match self.begin(delta, &mut output) {
                    Some(way) => way,
                    None => return Some(output),
                }
            }
        };
        let Some(mut state) = self.interfaces.remove(&way.place) else { return Some(way.output) };
        let done = self.go_on(&mut way, &mut state, delta, &slice);
        self.interfaces.insert(way.place.clone(), state);
        if done {
            self.hurried = false;
            way.output.caused_by(delta.traceparent.as_deref());
            return Some(way.output);
        }
        self.under_way = Some(way);
        None
    }

    /// True when a delta was begun and is to be gone on with.
    pub fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// The runs of the delta that is under way end now, as if their deadline had come: what they have not
    /// reached comes first the next time.
    pub fn hurry(&mut self) {
        self.hurried = self.is_under_way();
    }

    /// Takes a delta up; none when it is refused.
    fn begin(&mut self, delta: &Delta, output: &mut Output) -> Option<UnderWay> {
        let plausible = Timestamp::ZERO..=LATEST;
        if ![delta.from, delta.to, delta.watermark].iter().all(|time| plausible.contains(time)) {
            // One such watermark would close every window there will ever be.
            self.count_error("delta_times_implausible", 1);
            return None;
        }
        let before = (self.ingest.missing(), self.alerts.refused);
        match self.ingest.judge(&delta.producer) {
            Verdict::New => {}
            Verdict::Stale(first) => {
                self.refuse_stale(delta, first, output);
                return None;
            }
            Verdict::Duplicate | Verdict::Late => return None,
        }
        let place = (delta.producer.site.clone(), delta.producer.ifid);
        let mut state = self.interfaces.remove(&place).unwrap_or_else(|| self.new_interface(&delta.producer));
        if state.begins_anew(delta) {
            self.alerts.begin_anew(state.place());
            state = self.new_interface(&delta.producer);
        }
        state.levels = Arc::clone(&self.levels);
        if state.interface.node != delta.producer.node {
            // Of one site, two nodes whose interfaces have the same id are taken for one interface.
            self.count_error("interface_changed_node", 1);
        }
        let cause = {
            let Producer { node, epoch, sequence, .. } = &delta.producer;
            format!("{node}/{epoch}/{sequence}")
        };
        // Windows that ended before this delta began.
        state.interface.watermark = state.interface.watermark.max(delta.from);
        let closed = state.schedule.close_until(delta.from).into();
        self.interfaces.insert(place.clone(), state);
        let output = Output::default();
        Some(UnderWay { place, cause, closed, added: false, window: None, before, output })
    }

    /// Goes on with a delta; true when it is done.
    fn go_on(
        &mut self,
        way: &mut UnderWay,
        state: &mut InterfaceState,
        delta: &Delta,
        slice: &Slice,
    ) -> bool {
        loop {
            loop {
                let window = match way.window.take() {
                    Some(window) => window,
                    None => match way.closed.pop_front() {
                        Some(closed) => self.open(state, closed, &mut way.output),
                        None => break,
                    },
                };
                // However short the slice, something is done in it.
                way.window = self.go_on_window(state, window, &way.cause, &mut way.output, slice);
                if way.window.is_some() || slice.left().is_none() {
                    return false;
                }
            }
            if way.added {
                let refused = self.alerts.refused - way.before.1;
                state.health.add(&SystemCounters { alerts_refused: refused, ..SystemCounters::default() });
                return true;
            }
            way.added = true;
            self.add(delta, state, way);
        }
    }

    /// Adds the delta to what its interface has counted.
    fn add(&mut self, delta: &Delta, state: &mut InterfaceState, way: &mut UnderWay) {
        // A late batch makes them fewer; what was told to be missing stays told.
        let (missing, now_missing) = (way.before.0, self.ingest.missing());
        let summaries_missing = now_missing.saturating_sub(missing);
        state.health.add(&SystemCounters { summaries_missing, ..SystemCounters::default() });
        state.counts_batch(&delta.producer.node, now_missing.cast_signed() - missing.cast_signed());
        for (key, before) in state.apply(delta, &mut self.geo, self.hosts_told) {
            if let Some(host) = state.hosts.get(key) {
                let (interface, at) = (&state.interface, delta.from);
                way.output.events.push(host_events::draft(interface, key, host, ACTIVE, before, at));
            }
        }
        self.note_of_flows(state, delta);
        way.closed.extend(state.schedule.close_until(delta.watermark));
        if delta.end_of_stream {
            way.closed.extend(state.schedule.close_all());
        }
    }

    /// Takes up a window that has ended: hosts that were silent in it are idle.
    fn open(&mut self, state: &mut InterfaceState, closed: Closed, output: &mut Output) -> Window {
        // The end of a stream closes windows early: the time that was not seen makes nobody idle.
        let seen = closed.at.min(state.interface.watermark);
        if !std::mem::replace(&mut state.orphans_released, true) {
            let released = self.alerts.release_orphans(state.place(), runs(&self.registry), seen);
            self.tell(released, output);
        }
        for gone in state.hosts.mark_idle(seen) {
            let value = gone.to_string();
            let released = self.alerts.element_gone(state.place(), Entity::Host, &value, seen);
            self.tell(released, output);
            if let Some(host) = state.hosts.get(gone).filter(|_| are_told_of(gone, self.hosts_told)) {
                let (interface, before) = (&state.interface, Some(ACTIVE));
                output.events.push(host_events::draft(interface, gone, host, IDLE, before, seen));
            }
        }
        Window { closed, seen, missed: Missed::default(), kinds: 0, run: None }
    }

    /// Goes on with a window; gives it back when it is not done.
    fn go_on_window(
        &mut self,
        state: &mut InterfaceState,
        mut window: Window,
        cause: &str,
        output: &mut Output,
        slice: &Slice,
    ) -> Option<Window> {
        let closed = window.closed;
        while let Some((kind, entity)) = KINDS.get(window.kinds).copied() {
            let left = slice.left().unwrap_or_default();
            if !self.run(state, (kind, entity), &mut window, output, left) {
                return Some(window);
            }
            window.kinds += 1;
            if slice.left().is_none() {
                return Some(window);
            }
        }
        output.samples.extend(self.sample(state, closed, cause));
        state.ran(closed.granularity, &mut window.missed);
        let ends = match self.registry.for_element(ScriptKind::Host, Granularity::Day).next() {
            Some(_) => Granularity::Day,
            None => Granularity::Hour,
        };
        if closed.granularity == ends && window.seen == closed.at {
            // No hook would call them.
            state.hosts.forget_idle();
        }
        None
    }

    /// Goes on with the run of a kind of elements, for a `slice` of time; true when it is done.
    fn run(
        &mut self,
        state: &mut InterfaceState,
        (kind, entity): (ScriptKind, Entity),
        window: &mut Window,
        output: &mut Output,
        slice: Duration,
    ) -> bool {
        let closed = window.closed;
        let series = self.config.time_series;
        let (elements, mut running) = match window.run.take() {
            Some((keys, running)) => (Elements::of_keys(state, closed, series, keys), Some(running)),
            None if self.registry.for_element(kind, closed.granularity).next().is_none() => return true,
            None => {
                let first = state.resume.remove(&(kind, closed.granularity));
                let mut elements = Elements::new(state, kind, closed, series);
                if let Some(first) = first {
                    elements.begin_at(&first);
                }
                (elements, None)
            }
        };
        let Some(outcome) = self.call(&elements, kind, closed, &mut running, slice) else {
            window.run = running.map(|running| (elements.into_keys(), running));
            return false;
        };
        let (health, reached) = self.ran(outcome, &elements, (kind, entity), closed, output);
        output.events.push(timer_event(&elements, entity, closed, reached));
        elements.add_missed(reached, &mut window.missed);
        let next = elements.next_after(reached);
        state.health.add(&health);
        if let Some(next) = next {
            state.resume.insert((kind, closed.granularity), next);
        }
        true
    }

    /// Calls the scripts of a kind for these elements, for a `slice` of time; what came of the run when it is
    /// done.
    fn call(
        &mut self,
        elements: &Elements<'_>,
        kind: ScriptKind,
        window: Closed,
        running: &mut Option<Running>,
        slice: Duration,
    ) -> Option<Outcome> {
        let interface = &elements.state.interface;
        let plan = RunPlan {
            engine: &self.engine,
            registry: &self.registry,
            kind,
            granularity: window.granularity,
            only: None,
            site: &interface.site,
            ifid: interface.id,
            interface: &interface.name,
            collected: interface.collected,
            when: window.at,
            deadline: if self.hurried {
                Duration::ZERO
            } else {
                self.config.run_deadline(window.granularity)
            },
            quarantine_after: self.quarantine_after,
            pools: &self.pools,
        };
        let under_way = running.get_or_insert_with(|| plan.begin(&mut self.states));
        let element = |n| elements.get(n, &self.alerts, &self.pools);
        let over = plan.go_on(under_way, elements.len(), element, &mut self.states, slice);
        let ended = running.take_if(|_| over)?;
        Some(plan.end(ended, elements.len(), &mut self.states))
    }

    /// Calls the scripts of a kind for these elements, and carries out what they ask for. Tells how it
    /// went, and how many elements were reached, in the order of the run.
    pub(super) fn run_over(
        &mut self,
        elements: &Elements<'_>,
        (kind, entity): (ScriptKind, Entity),
        window: Closed,
        output: &mut Output,
    ) -> (SystemCounters, usize) {
        let mut running = None;
        loop {
            if let Some(outcome) = self.call(elements, kind, window, &mut running, Duration::MAX) {
                return self.ran(outcome, elements, (kind, entity), window, output);
            }
        }
    }

    /// A run has ended: what it asked for is carried out.
    fn ran(
        &mut self,
        outcome: Outcome,
        elements: &Elements<'_>,
        (kind, entity): (ScriptKind, Entity),
        window: Closed,
        output: &mut Output,
    ) -> (SystemCounters, usize) {
        let reached = outcome.reached;
        let missed = (elements.len() - reached) as u64;
        let runs = RunCounts {
            runs: 1,
            reached: reached as u64,
            missed,
            micros: u64::try_from(outcome.took.as_micros()).unwrap_or(u64::MAX),
        };
        let (period, name) = (window.granularity.name().to_owned(), kind.name().to_owned());
        self.report.runs.entry((period, name)).or_default().add(&runs);
        let (errors, quarantined) = (outcome.errors.values().sum::<u64>(), outcome.quarantined.len() as u64);
        *self.report.hooks.entry(window.granularity.name().to_owned()).or_default() += outcome.calls;
        self.carry_out(outcome, entity, window, elements, output);
        if missed > 0 {
            self.count_error("elements_not_reached", missed);
        }
        let health = SystemCounters {
            elements_not_reached: missed,
            script_errors: errors,
            scripts_quarantined: quarantined,
            ..SystemCounters::default()
        };
        (health, reached)
    }
}
