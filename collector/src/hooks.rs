//! Flow events become calls of scripts, and calls become effects.

use std::collections::BTreeMap;

use shared::model::status::StatusBits;
use shared::model::{FlowRecord, Timestamp};
use shared::script::engine::{Run, ScriptEngine};
use shared::script::registry::{Entry, Registry, ScriptInfo, ScriptSetup};
use shared::script::{Effect, FlowHook, HookName, ScriptError, ScriptKind, ScriptLimits, ScriptMeta};

/// Calls made and failed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookCounts {
    /// Calls by hook.
    pub calls: BTreeMap<String, u64>,
    /// Failed calls by script.
    pub errors: BTreeMap<String, u64>,
    /// Scripts that failed too often and are no longer called.
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
    failures: u32,
    interval_s: u32,
}

/// Runs the flow scripts of one interface. Lives on the interface's thread.
pub struct HookRunner {
    engine: ScriptEngine,
    registry: Registry,
    /// State of the registry's scripts, by place.
    states: Vec<Hooked>,
    wanted: [bool; FlowHook::ALL.len()],
    periodic_s: u32,
    limits: ScriptLimits,
    /// What was called since the last [`take_counts`](Self::take_counts).
    counts: HookCounts,
    /// Everything called.
    pub totals: HookCounts,
}

impl HookRunner {
    /// Loads the flow scripts and calls their `setup`. Returns also what is wrong with scripts and
    /// what their `setup` asked for.
    pub fn load(setup: ScriptSetup, periodic_s: u32, now: Timestamp) -> (Self, Vec<ScriptError>, Vec<Asked>) {
        let engine = ScriptEngine::new(setup.limits.clone());
        let (registry, mut errors) = Registry::load(&engine, setup.sources, &setup.settings);
        let mut asked = Vec::new();
        let mut states = Vec::new();
        for (place, entry) in registry.scripts().iter().enumerate() {
            let meta = entry.script.meta();
            let enabled = FlowHook::ALL.iter().any(|hook| entry.enabled(HookName::Flow(*hook)));
            let mut run = None;
            if meta.kind == ScriptKind::Flow && enabled {
                let started = engine.start(&entry.script, now);
                asked
                    .extend(started.result.effects.into_iter().map(|effect| Asked { script: place, effect }));
                errors.extend(started.result.error);
                run = started.run;
            }
            let interval_s = meta.periodic_update_seconds.unwrap_or(periodic_s);
            states.push(Hooked { run, failures: 0, interval_s });
        }
        let on = |hook| {
            let called = |(place, entry): (usize, &Entry)| {
                states[place].run.is_some() && entry.enabled(HookName::Flow(hook))
            };
            registry.scripts().iter().enumerate().any(called)
        };
        let wanted = FlowHook::ALL.map(on);
        let periodic_s = states
            .iter()
            .filter(|s| s.run.is_some() && s.interval_s > 0)
            .map(|s| s.interval_s)
            .reduce(common_divisor)
            .unwrap_or(periodic_s);
        let runner = Self {
            engine,
            registry,
            states,
            wanted,
            periodic_s,
            limits: setup.limits,
            counts: HookCounts::default(),
            totals: HookCounts::default(),
        };
        (runner, errors, asked)
    }

    /// True when some script wants `hook`; spares the snapshot when none does.
    pub fn wants(&self, hook: FlowHook) -> bool {
        self.wanted[hook as usize]
    }

    /// Base interval of `periodicUpdate` in seconds: every script's interval is a multiple of it.
    pub fn periodic_s(&self) -> u32 {
        self.periodic_s
    }

    /// Attributes of a script.
    pub fn meta(&self, script: usize) -> &ScriptMeta {
        self.registry.scripts()[script].script.meta()
    }

    /// Loaded scripts for the API.
    pub fn infos(&self) -> Vec<ScriptInfo> {
        self.registry.infos()
    }

    /// What was called and failed since the last time.
    pub fn take_counts(&mut self) -> HookCounts {
        std::mem::take(&mut self.counts)
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
        if !self.wants(hook) {
            return asked;
        }
        for (place, entry) in self.registry.scripts().iter().enumerate() {
            let state = &mut self.states[place];
            let Some(run) = &mut state.run else { continue };
            let name = HookName::Flow(hook);
            if !entry.enabled(name) || !entry.accepts_flow(flow) {
                continue;
            }
            if hook == FlowHook::PeriodicUpdate && !due(tick, self.periodic_s, state.interval_s) {
                continue;
            }
            let result = run.flow(&self.engine, hook, flow, old_status, now, entry.config(name));
            for counts in [&mut self.counts, &mut self.totals] {
                *counts.calls.entry(hook.name().to_owned()).or_default() += 1;
            }
            asked.extend(result.effects.into_iter().map(|effect| Asked { script: place, effect }));
            let Some(error) = result.error else {
                state.failures = 0;
                continue;
            };
            if state.failures == 0 {
                tracing::warn!(script = %error.script, line = error.line, cause = %error.cause, "flow hook failed");
            }
            state.failures += 1;
            let key = &entry.script.meta().key;
            for counts in [&mut self.counts, &mut self.totals] {
                *counts.errors.entry(key.clone()).or_default() += 1;
            }
            if state.failures >= self.limits.quarantine_after {
                tracing::error!(script = %key, "script failed too often and is quarantined");
                state.run = None;
                self.counts.quarantined.push(key.clone());
                self.totals.quarantined.push(key.clone());
            }
        }
        asked
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

/// True when an interval of `interval_s` ended between the previous tick and this one.
fn due(tick: u64, base_s: u32, interval_s: u32) -> bool {
    let (base, interval) = (u64::from(base_s), u64::from(interval_s));
    interval > 0 && (tick * base) / interval > (tick.saturating_sub(1) * base) / interval
}

fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interval_ends_once() {
        let base = common_divisor(120, 90);
        assert_eq!(base, 30);
        let at = |interval| (1..=12).filter(|t| due(*t, base, interval)).map(|t| t * 30).collect::<Vec<_>>();
        assert_eq!(at(120), [120, 240, 360]);
        assert_eq!(at(90), [90, 180, 270, 360]);
    }
}
