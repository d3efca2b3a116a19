//! Flow events become calls of scripts, and calls become effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use shared::clock::Stopwatch;
use shared::geo::GeoBases;
use shared::model::status::StatusBits;
use shared::model::{Alert, AlertRules, FlowRecord, HostPools, Timestamp};
use shared::script::engine::{Run, ScriptEngine};
use shared::script::observer::Observer;
use shared::script::quarantine::Quarantine;
use shared::script::registry::{Registry, ScriptInfo, ScriptSetup};
use shared::script::{
    CallResult, Effect, FlowHook, HookName, ScriptCounts, ScriptError, ScriptLimits, ScriptMeta,
};

use crate::flow::{Flow, Names};

mod budget;
mod effects;
mod filter;
mod reload;
mod suspects;

use budget::Budget;
use filter::Filters;
use suspects::{Purse, Suspects};

/// Of so many calls of a script one is timed.
const SAMPLED: u64 = 64;

/// Calls made and failed since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookCounts {
    /// Calls by hook.
    pub calls: BTreeMap<String, u64>,
    /// Scripts that failed too often and are left alone for a while.
    pub quarantined: Vec<String>,
}

/// What a script asked for.
#[derive(Debug)]
pub struct Asked {
    /// Place of the script in the registry, for [`HookRunner::meta`].
    pub script: usize,
    /// What it asked for.
    pub effect: Effect,
}

struct Hooked {
    run: Option<Run>,
    quarantine: Quarantine,
    counts: ScriptCounts,
    /// What its calls may cost, whatever the others take.
    own: Budget,
    /// What it may ask for.
    effects: Budget,
    /// Its last call cost much.
    dear: bool,
    /// It failed or cost too much and is not trusted until then.
    suspect_until: Option<Timestamp>,
    /// Events, by hook, that there had been when they began to pass it by.
    left_out_at: Option<[u64; FlowHook::ALL.len()]>,
    /// What went wrong last.
    last_error: Option<String>,
    interval_s: u32,
}

/// Runs the flow scripts of one interface. Lives on the interface's thread.
pub struct HookRunner {
    engine: ScriptEngine,
    /// Name of the interface.
    interface: String,
    /// Host pools, by which settings may differ.
    pools: Arc<HostPools>,
    /// Alerts that are not raised.
    exclusions: AlertRules,
    /// Where addresses are.
    geo: GeoBases,
    registry: Registry,
    /// State of the registry's scripts, by place.
    states: Vec<Hooked>,
    /// What the scripts of each hook accept, but for the suspects.
    filters: [Filters; FlowHook::ALL.len()],
    /// Those that did wrong of late.
    suspects: Suspects,
    /// Who is suspected has changed.
    to_sort: bool,
    /// Places of the scripts of each hook, in order of their calls.
    called: [Vec<usize>; FlowHook::ALL.len()],
    /// Interval of scripts that name none.
    default_periodic_s: u32,
    periodic_s: u32,
    /// Intervals of the scripts with `periodicUpdate`.
    intervals: Vec<u32>,
    limits: ScriptLimits,
    /// What they may cost together.
    purse: Purse,
    /// Calls by hook, and those told by [`take_counts`](Self::take_counts).
    calls: [u64; FlowHook::ALL.len()],
    calls_told: [u64; FlowHook::ALL.len()],
    /// Scripts quarantined since the last [`take_counts`](Self::take_counts).
    quarantined: Vec<String>,
}

impl HookRunner {
    /// Loads the flow scripts and calls their `setup`. Returns also what is wrong with scripts and
    /// what their `setup` asked for.
    pub fn load(
        setup: &ScriptSetup,
        periodic_s: u32,
        now: Timestamp,
    ) -> (Self, Vec<ScriptError>, Vec<Asked>) {
        Self::load_on(setup, "", periodic_s, now)
    }

    /// The same on a named interface, which is in the scope of some scripts and not of others.
    pub fn load_on(
        setup: &ScriptSetup,
        interface: &str,
        periodic_s: u32,
        now: Timestamp,
    ) -> (Self, Vec<ScriptError>, Vec<Asked>) {
        let mut limits = setup.limits.clone();
        limits.max_operations = limits.max_operations.min(limits.max_flow_operations);
        let engine = ScriptEngine::new(limits);
        let (registry, _) = Registry::load(&engine, Vec::new(), &BTreeMap::new());
        let mut runner = Self {
            engine,
            interface: interface.to_owned(),
            pools: Arc::default(),
            exclusions: AlertRules::default(),
            geo: GeoBases::default(),
            registry,
            states: Vec::new(),
            filters: FlowHook::ALL.map(|_| Filters::new(Vec::new())),
            suspects: Suspects::default(),
            to_sort: false,
            called: Default::default(),
            default_periodic_s: periodic_s,
            periodic_s,
            intervals: Vec::new(),
            limits: setup.limits.clone(),
            purse: Purse::new(&setup.limits),
            calls: [0; FlowHook::ALL.len()],
            calls_told: [0; FlowHook::ALL.len()],
            quarantined: Vec::new(),
        };
        let (_, errors, asked) = runner.reload(setup, now);
        (runner, errors, asked)
    }

    /// True when some script may want `hook` of this flow; spares the record when none does.
    /// `old` are the status bits at the previous call, `tick` is the flow's age in base intervals.
    #[inline]
    pub fn wants_flow(
        &mut self,
        hook: FlowHook,
        flow: &Flow,
        names: &Names,
        old: StatusBits,
        tick: u64,
        now: Timestamp,
    ) -> bool {
        if hook == FlowHook::PeriodicUpdate
            && !self.intervals.iter().any(|interval| due(tick, self.periodic_s, *interval))
        {
            return false;
        }
        let news = news(hook, flow.status, old);
        if !self.suspects.is_empty() {
            self.note_event(hook, now);
        }
        self.filters[hook as usize].accept(flow, names, news) || self.suspects.want(hook, flow, names, news)
    }

    /// Tells `observer` of every call.
    pub fn observe(&self, observer: Observer) {
        self.engine.observe(observer);
    }

    /// Base interval of `periodicUpdate` in seconds: every script's interval is a multiple of it.
    pub fn periodic_s(&self) -> u32 {
        self.periodic_s
    }

    /// Where addresses are.
    pub fn geo(&self) -> &GeoBases {
        &self.geo
    }

    /// Attributes of a script.
    pub fn meta(&self, script: usize) -> &ScriptMeta {
        self.registry.scripts()[script].script.meta()
    }

    /// Whether some alerts may be excluded.
    pub fn has_exclusions(&self) -> bool {
        !self.exclusions.is_empty()
    }

    /// True for an alert that is not raised.
    pub fn excludes(&self, alert: &Alert) -> bool {
        self.has_exclusions() && self.exclusions.find(alert, alert.tstamp, &self.pools).is_some()
    }

    /// Loaded scripts for the API, with what the flow scripts have done.
    pub fn infos(&self) -> Vec<ScriptInfo> {
        let mut infos = self.registry.infos();
        for (place, (info, state)) in infos.iter_mut().zip(&self.states).enumerate() {
            info.counts = Some(self.counts(place));
            info.last_error.clone_from(&state.last_error);
        }
        infos
    }

    /// What was called and quarantined since the last time.
    pub fn take_counts(&mut self) -> HookCounts {
        let new = self.calls.iter().zip(self.calls_told).map(|(now, told)| now - told);
        let named = FlowHook::ALL.iter().zip(new).filter(|(_, calls)| *calls > 0);
        let calls = named.map(|(hook, calls)| (hook.name().to_owned(), calls)).collect();
        self.calls_told = self.calls;
        HookCounts { calls, quarantined: std::mem::take(&mut self.quarantined) }
    }

    /// All calls by hook.
    pub fn total_calls(&self) -> BTreeMap<String, u64> {
        let called = FlowHook::ALL.iter().zip(self.calls).filter(|(_, calls)| *calls > 0);
        called.map(|(hook, calls)| (hook.name().to_owned(), calls)).collect()
    }

    /// What each script that was called has done.
    pub fn script_counts(&self) -> impl Iterator<Item = (&str, ScriptCounts)> {
        let scripts = self.registry.scripts().iter().enumerate();
        let counted = scripts.map(|(place, entry)| (entry.script.meta().key.as_str(), self.counts(place)));
        counted.filter(|(_, counts)| *counts != ScriptCounts::default())
    }

    fn counts(&self, place: usize) -> ScriptCounts {
        let counts = self.states.get(place).map(|state| state.counts).unwrap_or_default();
        ScriptCounts { skips: counts.skips + self.passed_by(place), ..counts }
    }

    /// Calls `hook` of every script that wants `flow`; `tick` is the flow's age in base intervals.
    pub fn call(
        &mut self,
        hook: FlowHook,
        flow: &FlowRecord,
        old_status: StatusBits,
        tick: u64,
        now: Timestamp,
    ) -> Vec<Asked> {
        let mut asked = Vec::new();
        let event = Event { hook, flow, old_status, tick, now };
        for number in 0..self.called[hook as usize].len() {
            let Some(place) = self.called[hook as usize].get(number).copied() else { break };
            if !self.suspects.leave_out(place) && self.is_for(place, &event) && self.admits(place, now) {
                self.call_one(place, &event, &mut asked);
            }
        }
        self.sort_out();
        asked
    }

    /// True for what the script's attributes and its interval take.
    fn is_for(&self, place: usize, event: &Event<'_>) -> bool {
        let (entry, state) = (&self.registry.scripts()[place], &self.states[place]);
        let Event { hook, flow, old_status, tick, .. } = *event;
        entry.accepts_flow(flow, news(hook, flow.status, old_status))
            && (state.run.is_some() || !state.quarantine.is_clean())
            && (hook != FlowHook::PeriodicUpdate || due(tick, self.periodic_s, state.interval_s))
    }

    fn call_one(&mut self, place: usize, event: &Event<'_>, asked: &mut Vec<Asked>) {
        let Event { hook, flow, old_status, now, .. } = *event;
        if self.states[place].run.is_none() {
            self.begin_again(place, now, asked);
        }
        let (entry, state) = (&self.registry.scripts()[place], &mut self.states[place]);
        let Some(run) = &mut state.run else { return };
        // Reading the clock costs as much as a lowered call does.
        let watch = state.counts.calls.is_multiple_of(SAMPLED).then(Stopwatch::start);
        let name = HookName::Flow(hook);
        let Some(config) = entry.config_for(name, || flow.target(), &self.pools) else { return };
        let result = run.flow(&self.engine, hook, flow, old_status, now, config);
        if let Some(watch) = watch {
            let took = u64::try_from(watch.elapsed().as_nanos()).unwrap_or(u64::MAX);
            state.counts.micros = state.counts.micros.saturating_add(took.saturating_mul(SAMPLED) / 1000);
        }
        state.counts.calls += 1;
        self.calls[hook as usize] += 1;
        if result.error.is_none() && !state.quarantine.is_clean() {
            state.quarantine.succeeded();
        }
        self.judge(place, result, now, asked);
    }

    /// Its time is over: the script begins anew.
    fn begin_again(&mut self, place: usize, now: Timestamp, asked: &mut Vec<Asked>) {
        let started = self.engine.start(&self.registry.scripts()[place].script, now);
        let state = &mut self.states[place];
        state.run = started.run;
        if state.run.is_none() && started.result.error.is_none() {
            // Its `setup` does not want it to run.
            state.quarantine.succeeded();
        }
        self.judge(place, started.result, now, asked);
    }

    /// Takes what a call asked for, and what it cost and how it failed into account.
    fn judge(&mut self, place: usize, mut result: CallResult, now: Timestamp, asked: &mut Vec<Asked>) {
        let (entry, state) = (&self.registry.scripts()[place], &mut self.states[place]);
        let key = &entry.script.meta().key;
        let effects = result.effects.len();
        let most = self.limits.max_effects_per_second;
        if let Some(refused) = effects::ration(&mut state.effects, &mut result.effects, now) {
            state.counts.errors += 1;
            state.last_error =
                Some(format!("script {key}: more effects than the limit of {most} a second: {refused} lost"));
        }
        asked.extend(result.effects.into_iter().map(|effect| Asked { script: place, effect }));
        let suspicious = state.charge(&mut self.purse, result.cost, effects, result.error.is_some());
        if let Some(error) = result.error {
            if state.quarantine.is_clean() {
                tracing::warn!(script = %error.script, line = error.line, cause = %error.cause, "flow hook failed");
            }
            state.last_error = Some(error.to_string());
            if state.failed(result.cost, self.limits.quarantine_after, now) {
                tracing::error!(script = %key, "script failed too often and is left alone for a while");
                self.quarantined.push(key.clone());
            }
        }
        if suspicious {
            self.suspect(place, now);
        }
    }

    /// Calls every script's `teardown`.
    pub fn teardown(&mut self, now: Timestamp) -> Vec<Asked> {
        let mut asked = Vec::new();
        for (place, state) in self.states.iter_mut().enumerate() {
            let Some(run) = state.run.take() else { continue };
            let result = run.teardown(&self.engine, now);
            asked.extend(result.effects.into_iter().map(|effect| Asked { script: place, effect }));
        }
        asked
    }
}

/// What a hook is called for.
struct Event<'a> {
    hook: FlowHook,
    flow: &'a FlowRecord,
    old_status: StatusBits,
    tick: u64,
    now: Timestamp,
}

/// The status bits for which a script may be called: those that are set, or for `statusChanged` those
/// that are set now and were not before.
fn news(hook: FlowHook, status: StatusBits, before: StatusBits) -> StatusBits {
    if hook == FlowHook::StatusChanged { status & !before } else { status }
}

/// True when an interval of `interval_s` ended between the previous tick and this one.
fn due(tick: u64, base_s: u32, interval_s: u32) -> bool {
    let (base, interval) = (u64::from(base_s), u64::from(interval_s));
    interval > 0 && (tick * base) / interval > (tick.saturating_sub(1) * base) / interval
}

#[cfg(test)]
mod tests;
