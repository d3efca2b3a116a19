//! A script that somebody calls by hand, with granularity `aperiodic`.

use std::collections::BTreeSet;

use serde::Serialize;
use shared::model::{Entity, Granularity};
use shared::script::settings::Override;
use shared::script::{Effect, ScriptKind};

use super::elements::Elements;
use super::{InterfaceState, KINDS, MONITORED, Output, Partition, Station};
use crate::run::{Outcome, RunPlan};
use crate::schedule::Closed;

/// Calls told of in one answer at most.
pub const MAX_ROWS: usize = 1000;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Key of the script.
    pub key: String,
    /// The hook that is called.
    pub hook: Granularity,
    /// Elements that fit one of these; all when there is none.
    pub only: Vec<Override>,
    /// At this site; any when absent.
    pub site: Option<String>,
    /// On this interface; any when absent.
    pub ifid: Option<u32>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct CallRow {
    /// Site.
    pub site: String,
    /// Interface id.
    pub ifid: u32,
    /// The element; absent for `setup` and `teardown`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// What it asked for.
    #[schema(value_type = Vec<Object>)]
    pub effects: Vec<Effect>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, utoipa::ToSchema)]
pub struct RunAnswer {
    /// Elements that the script was called for.
    pub calls: u64,
    /// Calls that failed.
    pub errors: u64,
    /// Elements that the run did not reach before its deadline.
    pub not_reached: u64,
    /// The calls, in order; those beyond a thousand are left out.
    pub rows: Vec<CallRow>,
}

impl RunAnswer {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.errors += other.errors;
        self.not_reached += other.not_reached;
        let room = MAX_ROWS.saturating_sub(self.rows.len());
        self.rows.extend(other.rows.into_iter().take(room));
    }
}

impl Partition {
    /// Calls a script for elements of the interfaces that are meant, and carries out what it asks for.
    pub fn run_on_demand(&mut self, request: &RunRequest) -> (Output, RunAnswer) {
        let (mut output, mut answer) = (Output::default(), RunAnswer::default());
        let Some((kind, entity)) = self.kind_of(&request.key, &KINDS) else { return (output, answer) };
        for (place, mut state) in std::mem::take(&mut self.interfaces) {
            if request.is_at(&state) {
                // Event time stands still between two summaries, and ids are made of it.
                state.asked += 1;
                let at = state.interface.watermark.plus_ns(state.asked);
                let window =
                    Closed { at, granularity: request.hook, from: at.plus_secs(-request.hook.seconds()) };
                let elements = Elements::new(&state, kind, window, self.config.time_series).on_demand();
                answer.add(self.run_one(request, &elements, (kind, entity), window, &mut output));
            }
            self.interfaces.insert(place, state);
        }
        (output, answer)
    }

    /// The same for hosts that are probed.
    pub fn run_monitored(&mut self, station: &mut Station, request: &RunRequest) -> (Output, RunAnswer) {
        let (mut output, mut answer) = (Output::default(), RunAnswer::default());
        if self.kind_of(&request.key, &[MONITORED]).is_some() && request.is_at(&station.state) {
            let at = station.next(station.state.interface.watermark);
            let window =
                Closed { at, granularity: request.hook, from: at.plus_secs(-request.hook.seconds()) };
            let elements = Elements::monitored(station, window, self.config.time_series).on_demand();
            answer = self.run_one(request, &elements, MONITORED, window, &mut output);
        }
        (output, answer)
    }

    fn kind_of(&self, key: &str, kinds: &[(ScriptKind, Entity)]) -> Option<(ScriptKind, Entity)> {
        let entry = self.registry.scripts().iter().find(|entry| entry.script.meta().key == key)?;
        kinds.iter().copied().find(|(kind, _)| *kind == entry.script.meta().kind)
    }

    fn run_one(
        &mut self,
        request: &RunRequest,
        elements: &Elements<'_>,
        (kind, entity): (ScriptKind, Entity),
        window: Closed,
        output: &mut Output,
    ) -> RunAnswer {
        let interface = &elements.state.interface;
        let plan = RunPlan {
            engine: &self.engine,
            registry: &self.registry,
            kind,
            granularity: window.granularity,
            only: Some(&request.key),
            site: &interface.site,
            ifid: interface.id,
            interface: &interface.name,
            collected: interface.collected,
            when: window.at,
            deadline: self.config.run_deadline(window.granularity),
            quarantine_after: self.quarantine_after,
            pools: &self.pools,
        };
        let wanted = |n: usize| {
            let element = elements.get(n, &self.alerts, &self.pools)?;
            let target = element.params.target();
            let fits = request.only.is_empty() || request.only.iter().any(|o| o.fits(&target, &self.pools));
            fits.then_some(element)
        };
        let mut outcome = plan.run(elements.len(), wanted, &mut self.states);
        let answer = RunAnswer {
            calls: outcome.calls,
            errors: outcome.errors.values().sum(),
            not_reached: (elements.len() - outcome.reached) as u64,
            rows: rows(&outcome, elements),
        };
        *self.report.hooks.entry(Granularity::Aperiodic.name().to_owned()).or_default() += outcome.calls;
        // What the script does not confirm is released of the elements that it was called for, and of
        // no others.
        let failed: BTreeSet<usize> = outcome.failed.iter().filter_map(|(element, _)| *element).collect();
        let called: Vec<usize> = outcome.called.iter().filter(|n| !failed.contains(n)).copied().collect();
        outcome.complete.clear();
        let told = Closed { granularity: Granularity::Aperiodic, from: window.at, ..window };
        let triggered = self.carry_out(outcome, entity, told, elements, output);
        let meta = self.registry.scripts().iter().map(|entry| entry.script.meta());
        let Some(meta) = meta.into_iter().find(|meta| meta.key == request.key).cloned() else {
            return answer;
        };
        for subject in called.into_iter().filter_map(|n| elements.subject(n)) {
            for alert in self.alerts.current(elements.state.place(), entity, &subject.value) {
                let confirmed = triggered.contains(&meta.key, &subject.value, &alert.alert_type);
                if alert.script == meta.key && !confirmed {
                    let kind = Some(alert.alert_type.as_str());
                    let released =
                        self.alerts.release(kind, &meta, &subject, Granularity::Aperiodic, told.at);
                    self.tell(released.into_iter().collect(), output);
                }
            }
        }
        answer
    }
}

impl RunRequest {
    fn is_at(&self, state: &InterfaceState) -> bool {
        self.site.as_ref().is_none_or(|site| *site == state.interface.site)
            && self.ifid.is_none_or(|ifid| ifid == state.interface.id)
    }
}

/// The calls of a run, each with what it asked for; those of `setup` and `teardown` where there was
/// something.
fn rows(outcome: &Outcome, elements: &Elements<'_>) -> Vec<CallRow> {
    let interface = &elements.state.interface;
    let row = |element: Option<usize>| CallRow {
        site: interface.site.clone(),
        ifid: interface.id,
        element: element.and_then(|n| elements.value(n)),
        effects: Vec::new(),
        error: None,
    };
    let shown: Vec<Option<usize>> =
        std::iter::once(None).chain(outcome.called.iter().copied().map(Some)).take(MAX_ROWS).collect();
    let mut rows: Vec<CallRow> = shown.iter().map(|element| row(*element)).collect();
    // Elements are called in order.
    let place = |element: Option<usize>| shown.binary_search(&element).ok();
    for asked in &outcome.asked {
        if let Some(place) = place(asked.element) {
            rows[place].effects.push(asked.effect.clone());
        }
    }
    for (element, error) in &outcome.failed {
        if let Some(place) = place(*element) {
            rows[place].error = Some(error.to_string());
        }
    }
    let whole = rows.first().is_some_and(|row| row.effects.is_empty() && row.error.is_none());
    if whole {
        rows.remove(0);
    }
    rows
}

#[cfg(test)]
mod tests;
