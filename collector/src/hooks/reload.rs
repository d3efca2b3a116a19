//! Scripts come and go while the interface runs.

use shared::model::Timestamp;
use shared::script::quarantine::Quarantine;
use shared::script::registry::{Entry, Registry, ScriptSetup};
use shared::script::{Effect, FlowHook, HookName, ScriptCounts, ScriptError, ScriptKind};
use std::sync::Arc;

use super::{Asked, HookRunner, Hooked, effects};

impl HookRunner {
    /// Loads other scripts in place of those that there are. What has not changed keeps its state; what
    /// goes gets its `teardown`, what comes its `setup`. Returns what those that go asked for, by their
    /// key, what is wrong, and what those that come asked for.
    pub fn reload(
        &mut self,
        setup: &ScriptSetup,
        now: Timestamp,
    ) -> (Vec<(String, Effect)>, Vec<ScriptError>, Vec<Asked>) {
        self.take_all_up();
        self.engine.set_lists(setup.lists.clone());
        self.pools = Arc::clone(&setup.pools);
        self.exclusions = setup.exclusions.clone();
        self.geo = setup.geo.clone();
        let (registry, mut errors) = Registry::of_setup_again(&self.engine, setup, &self.registry);
        let before = std::mem::replace(&mut self.registry, registry);
        let mut old: Vec<Option<Hooked>> = std::mem::take(&mut self.states).into_iter().map(Some).collect();
        let (mut asked, mut last_words, mut states) = (Vec::new(), Vec::new(), Vec::new());
        for (place, entry) in self.registry.scripts().iter().enumerate() {
            let same = before.scripts().iter().position(|known| known.is_same(entry));
            let meta = entry.script.meta();
            let enabled = FlowHook::ALL.iter().any(|hook| entry.enabled(HookName::Flow(*hook)))
                && entry.is_for(&self.interface)
                && meta.needs_lists.iter().all(|list| setup.lists.contains(list));
            // A list may have come or gone.
            let kept = |state: &mut Option<Hooked>| {
                state.take_if(|state| enabled == (state.run.is_some() || !state.quarantine.is_clean()))
            };
            if let Some(state) = same.and_then(|place| old.get_mut(place)).and_then(kept) {
                states.push(state);
                continue;
            }
            let (mut run, mut last_error, mut quarantine) = (None, None, Quarantine::default());
            if meta.kind == ScriptKind::Flow && enabled {
                let started = self.engine.start(&entry.script, now);
                asked
                    .extend(started.result.effects.into_iter().map(|effect| Asked { script: place, effect }));
                if let Some(error) = started.result.error {
                    last_error = Some(error.to_string());
                    errors.push(error);
                    // Nothing of it can be called: it is left alone, and tried again later.
                    quarantine.failed(1, now);
                    self.quarantined.push(meta.key.clone());
                }
                run = started.run;
            }
            let interval_s = meta.periodic_update_seconds.unwrap_or(self.default_periodic_s);
            states.push(Hooked {
                run,
                quarantine,
                counts: ScriptCounts::default(),
                own: Hooked::own_share(self.limits.operations_per_second),
                effects: effects::allowance(&self.limits, entry.script.origin()),
                dear: false,
                suspect_until: None,
                left_out_at: None,
                last_error,
                interval_s,
            });
        }
        for (entry, state) in before.scripts().iter().zip(old) {
            let Some(run) = state.and_then(|state| state.run) else { continue };
            let effects = run.teardown(&self.engine, now).effects;
            last_words.extend(effects.into_iter().map(|effect| (entry.script.meta().key.clone(), effect)));
        }
        self.states = states;
        let (registry, states) = (&self.registry, &self.states);
        self.called = FlowHook::ALL.map(|hook| {
            let scripts = registry.scripts().iter().zip(states).enumerate();
            let called = |(_, (entry, state)): &(usize, (&Entry, &Hooked))| {
                (state.run.is_some() || !state.quarantine.is_clean()) && entry.enabled(HookName::Flow(hook))
            };
            scripts.filter(called).map(|(place, _)| place).collect()
        });
        let periodic = self.called[FlowHook::PeriodicUpdate as usize].iter();
        self.intervals = periodic.map(|place| states[*place].interval_s).filter(|s| *s > 0).collect();
        self.intervals.sort_unstable();
        self.intervals.dedup();
        let intervals = self.intervals.iter().copied();
        self.periodic_s = intervals.reduce(common_divisor).unwrap_or(self.default_periodic_s);
        self.read_filters();
        (last_words, errors, asked)
    }
}

pub(super) fn common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
