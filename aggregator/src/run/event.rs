//! A log line, and the scripts that are called for it. Their state lives from load to unload.

use std::rc::Rc;

use shared::clock::Stopwatch;
use shared::script::{HookName, LogEvent, ScriptKind};

use super::{Outcome, RunPlan, ScriptStates};

impl RunPlan<'_> {
    /// Calls every script of kind `syslog` that wants the line.
    pub fn event(&self, event: &LogEvent, states: &mut ScriptStates) -> Outcome {
        let mut outcome = Outcome::default();
        for (place, entry) in self.registry.scripts().iter().enumerate() {
            let meta = entry.script.meta();
            let wanted = meta.kind == ScriptKind::Syslog
                && entry.enabled(HookName::Event)
                && meta.producer.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(&event.producer));
            if !wanted {
                continue;
            }
            let Some(config) = entry.config_for(HookName::Event, || event.target(), self.pools) else {
                continue;
            };
            let Some(mut script) = self.start_one(place, entry, states, &mut outcome) else { continue };
            self.engine.set_memory(Some(Rc::clone(&script.memory)));
            let watch = Stopwatch::start();
            let result = script.run.event(self.engine, event, config);
            outcome.count_call(place, watch);
            self.note(place, Some(0), &meta.key, result, states, &mut outcome);
            states.loaded.insert(self.loaded_key(&meta.key), script.run);
        }
        outcome
    }
}
