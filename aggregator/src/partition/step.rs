//! A delta is gone through: it is added, and the windows that it closes are run, in slices of time where
//! that takes long. Nothing else changes the partition in between, so slices decide nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use shared::clock::Stopwatch;
use shared::model::{Granularity, HostKey, SystemCounters, Timestamp};
use shared::script::ScriptKind;
use shared::wire::delta::{Delta, Producer};

use super::elements::{Keys, Missed};
use super::host_events::{self, ACTIVE};
use super::running::Doing;
use super::series::Largest;
use super::walk::Walk;
use super::{InterfaceState, KINDS, Output, Partition, runs};
use crate::ingest::Verdict;
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
pub(super) struct Window {
    pub(super) closed: Closed,
    /// Event time up to which it was seen.
    pub(super) seen: Timestamp,
    pub(super) missed: Missed,
    /// How many kinds of elements have had their run.
    kinds: usize,
    pub(super) run: Option<(Keys, Doing)>,
    /// Its hosts are gone through: before the runs, and after them.
    pub(super) walk: Walk,
    /// Hosts that a run calls.
    pub(super) hosts: Vec<HostKey>,
    /// Hosts of which the series tell.
    pub(super) largest: Largest,
}

/// Time that may be spent before others have their turn.
pub(super) struct Slice {
    watch: Stopwatch,
    length: Duration,
}

impl Slice {
    /// What is left of it; none when it is over.
    pub(super) fn left(&self) -> Option<Duration> {
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
        let largest = Largest::new(self.config.time_series.max_hosts);
        let (missed, walk) = (Missed::default(), Walk::default());
        Window { closed, seen, missed, kinds: 0, run: None, walk, hosts: Vec::new(), largest }
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
        while !window.walk.is_open() {
            self.open_hosts(state, &mut window, output);
            if slice.left().is_none() {
                return Some(window);
            }
        }
        while let Some((kind, entity)) = KINDS.get(window.kinds).copied() {
            if !self.run(state, (kind, entity), &mut window, output, slice) {
                return Some(window);
            }
            window.kinds += 1;
            if slice.left().is_none() {
                return Some(window);
            }
        }
        while !self.close_hosts(state, &mut window, cause, output) {
            if slice.left().is_none() {
                return Some(window);
            }
        }
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
}
