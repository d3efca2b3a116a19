//! One run: the scripts of one kind and period over the elements of one interface.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use shared::clock::Stopwatch;
use shared::model::{Granularity, HostPools, Timestamp};
use shared::script::engine::{Run, ScriptEngine};
use shared::script::memory::SharedMemory;
use shared::script::registry::{Entry, Registry};
use shared::script::{
    CallResult, Effect, ElementParams, HookName, Lifecycle, ScriptCounts, ScriptError, ScriptKind,
    ScriptLimits,
};

mod event;
mod states;

pub use states::ScriptStates;

/// Something a script asked for in a run.
#[derive(Debug)]
pub struct Asked {
    /// Place of the script in the registry.
    pub script: usize,
    /// Place of the element in the run; `None` for `setup` and `teardown`.
    pub element: Option<usize>,
    /// What it asked for.
    pub effect: Effect,
}

/// How a run went.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What scripts asked for, in order.
    pub asked: Vec<Asked>,
    /// Keys of the scripts that ran over every element without an error.
    pub complete: Vec<String>,
    /// Calls made.
    pub calls: u64,
    /// Elements reached, in order of the run; the rest comes first next time.
    pub reached: usize,
    /// Wall time that it took.
    pub took: Duration,
    /// Failed calls by script.
    pub errors: BTreeMap<String, u64>,
    /// What went wrong last, by script.
    pub last_errors: BTreeMap<String, String>,
    /// What each script did, by its place in the registry.
    pub counts: BTreeMap<usize, ScriptCounts>,
    /// Scripts that have failed too often and are left alone for a while.
    pub quarantined: Vec<String>,
    /// Elements that were called, and calls that failed; kept of a run on demand.
    pub called: Vec<usize>,
    /// What failed, by element; `None` for `setup` and `teardown`.
    pub failed: Vec<(Option<usize>, ScriptError)>,
}

impl Outcome {
    fn count_call(&mut self, script: usize, watch: Stopwatch) {
        let micros = u64::try_from(watch.elapsed().as_micros()).unwrap_or(u64::MAX);
        let call = ScriptCounts { calls: 1, micros, ..ScriptCounts::default() };
        self.counts.entry(script).or_default().add(&call);
        self.calls += 1;
    }
}

/// An element as a run calls it.
#[derive(Clone, Debug)]
pub struct RunElement {
    /// What the hook is called with.
    pub params: ElementParams,
    /// True for a local host; others count as local.
    pub local: bool,
}

/// What is run, and under which limits.
pub struct RunPlan<'a> {
    /// The engine.
    pub engine: &'a ScriptEngine,
    /// The scripts.
    pub registry: &'a Registry,
    /// Kind of elements.
    pub kind: ScriptKind,
    /// Period.
    pub granularity: Granularity,
    /// Only the script of this key, on demand: also when it is off, and the answer tells of each call.
    pub only: Option<&'a str>,
    /// Site of the interface.
    pub site: &'a str,
    /// Interface id.
    pub ifid: u32,
    /// Its name.
    pub interface: &'a str,
    /// True when exporters report the interface's flows.
    pub collected: bool,
    /// Event time: the end of the window.
    pub when: Timestamp,
    /// Wall time after which the remaining elements wait for the next run.
    pub deadline: Duration,
    /// Failures in a row after which a script is no longer called.
    pub quarantine_after: u32,
    /// Host pools, by which settings may differ.
    pub pools: &'a HostPools,
}

/// A run under way: what is kept of it between two slices.
pub struct Running {
    active: Vec<Active>,
    outcome: Outcome,
}

/// A script that takes part in a run.
struct Active {
    /// Its place in the registry.
    place: usize,
    run: Run,
    memory: SharedMemory,
    failed: bool,
    /// What it asked for in this run, and the bytes of that.
    asked: (usize, usize),
    /// It asked for too much, and is called no more in this run.
    out: bool,
}

impl Active {
    /// Counts what a call asked for; drops all of it and puts the script out when that is too much for one
    /// run. What it asked for before stands.
    fn ration(&mut self, key: &str, result: &mut CallResult, limits: &ScriptLimits) {
        let bytes: usize = result.effects.iter().map(Effect::bytes).sum();
        self.asked = (self.asked.0 + result.effects.len(), self.asked.1.saturating_add(bytes));
        let (most, most_bytes) = (limits.max_effects_per_run, limits.max_effect_bytes_per_run);
        let limit = match self.asked {
            (effects, _) if effects > most => format!("more effects than the limit of {most}"),
            (_, bytes) if bytes > most_bytes => {
                format!("effects of more bytes than the limit of {most_bytes}")
            }
            _ => return,
        };
        self.out = true;
        result.effects = Vec::new();
        result.error.get_or_insert_with(|| ScriptError {
            script: key.to_owned(),
            line: 0,
            column: 0,
            cause: format!("{limit} in one run: it is not called again in this run"),
        });
    }
}

impl RunPlan<'_> {
    /// Runs: `setup` of each script, every script's hook for each element, `teardown` of each.
    ///
    /// There are `count` elements; `element` makes one when its turn comes, or tells that it is gone.
    pub fn run(
        &self,
        count: usize,
        element: impl Fn(usize) -> Option<RunElement>,
        states: &mut ScriptStates,
    ) -> Outcome {
        let mut running = self.begin(states);
        self.go_on(&mut running, count, element, states, Duration::MAX);
        self.end(running, count, states)
    }

    /// Begins a run: `setup` of each script.
    pub fn begin(&self, states: &mut ScriptStates) -> Running {
        let mut outcome = Outcome::default();
        let watch = Stopwatch::start();
        let active = self.start(states, &mut outcome);
        outcome.took = watch.elapsed();
        Running { active, outcome }
    }

    /// Goes on with a run for a `slice` of time, and one element at least; true when it has come to its end
    /// or its deadline.
    pub fn go_on(
        &self,
        running: &mut Running,
        count: usize,
        element: impl Fn(usize) -> Option<RunElement>,
        states: &mut ScriptStates,
        slice: Duration,
    ) -> bool {
        let Running { active, outcome } = running;
        let (watch, before, first) = (Stopwatch::start(), outcome.took, outcome.reached);
        let mut over = true;
        while outcome.reached < count {
            let elapsed = watch.elapsed();
            if before + elapsed > self.deadline {
                break;
            }
            if elapsed > slice && outcome.reached > first {
                over = false;
                break;
            }
            if let Some(element) = element(outcome.reached) {
                for script in &mut *active {
                    self.call(script, outcome.reached, &element, states, outcome);
                }
            }
            if !outcome.quarantined.is_empty() {
                active.retain(|script| !outcome.quarantined.contains(self.key(script.place)));
            }
            outcome.reached += 1;
        }
        outcome.took = before + watch.elapsed();
        over
    }

    /// Ends a run: `teardown` of each script.
    pub fn end(&self, running: Running, count: usize, states: &mut ScriptStates) -> Outcome {
        let Running { active, mut outcome } = running;
        let watch = Stopwatch::start();
        for script in active {
            let key = self.key(script.place);
            if outcome.reached == count && !script.failed {
                outcome.complete.push(key.clone());
            }
            if self.registry.scripts()[script.place].script.meta().lifecycle == Lifecycle::Load {
                states.loaded.insert(self.loaded_key(key), script.run);
                continue;
            }
            self.engine.set_memory(Some(script.memory));
            let result = script.run.teardown(self.engine, self.when);
            self.note(script.place, None, key, result, states, &mut outcome);
        }
        outcome.took += watch.elapsed();
        outcome
    }

    fn key(&self, place: usize) -> &String {
        &self.registry.scripts()[place].script.meta().key
    }

    fn loaded_key(&self, script: &str) -> (String, String, u32) {
        (script.to_owned(), self.site.to_owned(), self.ifid)
    }

    /// Scripts that take part, each with its state.
    fn start(&self, states: &mut ScriptStates, outcome: &mut Outcome) -> Vec<Active> {
        let mut active = Vec::new();
        for (place, entry) in self.registry.scripts().iter().enumerate() {
            let meta = entry.script.meta();
            let hook = HookName::Element(self.granularity);
            let on = match self.only {
                Some(key) => meta.key == key && meta.hooks.contains(&hook),
                None => entry.enabled(hook),
            };
            let wanted = meta.kind == self.kind
                && on
                && entry.is_for(self.interface)
                && !(meta.packet_interface_only && self.collected);
            if !wanted {
                continue;
            }
            active.extend(self.start_one(place, entry, states, outcome));
        }
        active
    }

    /// One script with its state, unless it declines, fails or is left alone.
    fn start_one(
        &self,
        place: usize,
        entry: &Entry,
        states: &mut ScriptStates,
        outcome: &mut Outcome,
    ) -> Option<Active> {
        let meta = entry.script.meta();
        if states.failures.get(&meta.key).is_some_and(|failing| failing.holds(self.when)) {
            outcome.counts.entry(place).or_default().skips += 1;
            return None;
        }
        let of = self.loaded_key(&meta.key);
        let kept = states.loaded.remove(&of);
        let memory = Rc::clone(states.memories.entry(of).or_default());
        self.engine.set_memory(Some(Rc::clone(&memory)));
        let run = match kept {
            Some(run) => run,
            None => {
                let started = self.engine.start(&entry.script, self.when);
                self.note(place, None, &meta.key, started.result, states, outcome);
                started.run?
            }
        };
        Some(Active { place, run, memory, failed: false, asked: (0, 0), out: false })
    }

    fn call(
        &self,
        script: &mut Active,
        number: usize,
        element: &RunElement,
        states: &mut ScriptStates,
        outcome: &mut Outcome,
    ) {
        let entry = &self.registry.scripts()[script.place];
        let meta = entry.script.meta();
        if script.out || (meta.local_hosts && !element.local) {
            return;
        }
        let hook = HookName::Element(self.granularity);
        let target = || element.params.target();
        let config = match self.only {
            Some(_) => Some(entry.config_on_demand(hook, target, self.pools)),
            None => entry.config_for(hook, target, self.pools),
        };
        let Some(config) = config else { return };
        self.engine.set_memory(Some(Rc::clone(&script.memory)));
        if self.only.is_some() {
            outcome.called.push(number);
        }
        let watch = Stopwatch::start();
        let mut result = script.run.element(self.engine, &element.params, config);
        outcome.count_call(script.place, watch);
        script.ration(&meta.key, &mut result, self.engine.limits());
        script.failed |= result.error.is_some();
        self.note(script.place, Some(number), &meta.key, result, states, outcome);
    }

    /// Keeps what a call asked for, and what failed.
    fn note(
        &self,
        script: usize,
        element: Option<usize>,
        key: &str,
        result: CallResult,
        states: &mut ScriptStates,
        outcome: &mut Outcome,
    ) {
        outcome.asked.extend(result.effects.into_iter().map(|effect| Asked { script, element, effect }));
        let Some(error) = result.error else {
            if element.is_some() && !states.failures.is_empty() {
                states.failures.remove(key);
            }
            return;
        };
        if self.only.is_some() {
            outcome.failed.push((element, error.clone()));
        }
        let count = outcome.errors.entry(key.to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            tracing::warn!(script = key, line = error.line, cause = %error.cause, "element hook failed");
        }
        outcome.last_errors.insert(key.to_owned(), error.to_string());
        let counts = outcome.counts.entry(script).or_default();
        counts.errors = counts.errors.saturating_add(1);
        let failing = states.failures.entry(key.to_owned()).or_default();
        if failing.failed(self.quarantine_after, self.when) {
            tracing::error!(script = key, "script failed too often and is left alone for a while");
            counts.quarantined = 1;
            outcome.quarantined.push(key.to_owned());
        }
    }
}

#[cfg(test)]
mod tests;
