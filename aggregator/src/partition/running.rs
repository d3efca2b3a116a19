//! The run of one kind of elements in a window: scripts are called, then what they asked for is carried out;
//! each in slices of time.

use std::time::Duration;

use shared::model::{Entity, SystemCounters};
use shared::script::ScriptKind;

use super::effects::Telling;
use super::elements::{Elements, Keys};
use super::output::timer_event;
use super::step::{Slice, Window};
use super::{InterfaceState, Output, Partition};
use crate::report::RunCounts;
use crate::run::{Outcome, RunPlan, Running};
use crate::schedule::Closed;

/// How far a run is.
pub(super) enum Doing {
    Calling(Running),
    Telling(Telling),
}

impl Doing {
    fn running(self) -> Option<Running> {
        match self {
            Self::Calling(running) => Some(running),
            Self::Telling(_) => None,
        }
    }
}

impl Partition {
    /// Goes on with the run of a kind of elements, for a `slice` of time; true when it is done.
    pub(super) fn run(
        &mut self,
        state: &mut InterfaceState,
        (kind, entity): (ScriptKind, Entity),
        window: &mut Window,
        output: &mut Output,
        slice: &Slice,
    ) -> bool {
        let closed = window.closed;
        let series = self.config.time_series;
        let left = || slice.left().unwrap_or_default();
        let (elements, doing) = match window.run.take() {
            Some((keys, doing)) => (Elements::of_keys(state, closed, series, keys), Some(doing)),
            None if self.registry.for_element(kind, closed.granularity).next().is_none() => return true,
            None => {
                let first = state.resume.remove(&(kind, closed.granularity));
                let mut elements = match kind {
                    ScriptKind::Host => {
                        let hosts = Keys::Hosts(std::mem::take(&mut window.hosts));
                        Elements::of_keys(state, closed, series, hosts)
                    }
                    _ => Elements::new(state, kind, closed, series),
                };
                if let Some(first) = first {
                    elements.begin_at(&first);
                }
                (elements, None)
            }
        };
        let mut telling = match doing {
            Some(Doing::Telling(telling)) => telling,
            doing => {
                let mut running = doing.and_then(Doing::running);
                let Some(outcome) = self.call(&elements, kind, closed, &mut running, left()) else {
                    window.run = running.map(|running| (elements.into_keys(), Doing::Calling(running)));
                    return false;
                };
                self.begin_telling(outcome, closed)
            }
        };
        if !self.go_on_telling(&mut telling, &elements, closed, output, left()) {
            window.run = Some((elements.into_keys(), Doing::Telling(telling)));
            return false;
        }
        let (health, reached) = self.ran(telling, &elements, (kind, entity), closed, output);
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
                let mut telling = self.begin_telling(outcome, window);
                self.go_on_telling(&mut telling, elements, window, output, Duration::MAX);
                return self.ran(telling, elements, (kind, entity), window, output);
            }
        }
    }

    /// A run has ended, and what it asked for is carried out.
    fn ran(
        &mut self,
        telling: Telling,
        elements: &Elements<'_>,
        (kind, entity): (ScriptKind, Entity),
        window: Closed,
        output: &mut Output,
    ) -> (SystemCounters, usize) {
        let outcome = &telling.outcome;
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
        self.end_telling(telling, entity, window, elements.state, output);
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
