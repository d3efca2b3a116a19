//! What of scripts outlives a run.

use std::collections::BTreeMap;

use shared::model::Timestamp;
use shared::script::engine::Run;
use shared::script::memory::SharedMemory;
use shared::script::quarantine::Quarantine;
use shared::store::memory::Remembered;

use crate::snapshot;

/// State of scripts between runs.
#[derive(Default)]
pub struct ScriptStates {
    /// Runs that live from load to unload, by script, site and interface.
    pub(super) loaded: BTreeMap<(String, String, u32), Run>,
    /// Scripts that have failed of late.
    pub(super) failures: BTreeMap<String, Quarantine>,
    /// What scripts remember, by script, site and interface.
    pub(super) memories: BTreeMap<(String, String, u32), SharedMemory>,
}

impl ScriptStates {
    /// Puts back what scripts remembered before a restart.
    pub fn recall(&mut self, remembered: Vec<Remembered>) {
        for Remembered { site, ifid, script, key, value, .. } in remembered {
            let value = value.as_deref().map(|text| (text.len(), serde_json::from_str(text)));
            let Some((len, Ok(value))) = value else { continue };
            let memory = self.memories.entry((script, site, ifid)).or_default();
            // The quota may have been larger when it was remembered.
            let _ = memory.borrow_mut().set(&key, value, len, usize::MAX);
        }
    }

    /// Scripts that have failed of late, to be kept somewhere.
    pub fn save_failures(&self) -> Vec<snapshot::Failing> {
        let saved = self.failures.iter().map(|(script, failing)| {
            let (in_a_row, times, until) = failing.parts();
            let until = until.map(Timestamp::ns);
            snapshot::Failing { script: script.clone(), in_a_row, times, until }
        });
        saved.collect()
    }

    /// Puts back what [`ScriptStates::save_failures`] gave.
    pub fn restore_failures(&mut self, saved: Vec<snapshot::Failing>) {
        let failing = |snapshot::Failing { script, in_a_row, times, until }| {
            (script, Quarantine::of_parts(in_a_row, times, until.map(Timestamp::from_ns)))
        };
        self.failures = saved.into_iter().map(failing).collect();
    }

    /// What scripts remember, to be kept somewhere.
    pub fn save_memories(&self) -> Vec<snapshot::Memory> {
        let mut saved = Vec::new();
        for ((script, site, ifid), memory) in &self.memories {
            let (script, site, ifid) = (script.clone(), site.clone(), *ifid);
            saved.extend(memory.borrow().values().map(|(key, value)| snapshot::Memory {
                script: script.clone(),
                site: site.clone(),
                ifid,
                key: key.to_owned(),
                value: value.to_string(),
            }));
        }
        saved
    }

    /// Puts back what [`ScriptStates::save_memories`] gave, in place of what scripts remember.
    ///
    /// # Errors
    /// Says what is no JSON.
    pub fn restore_memories(&mut self, saved: Vec<snapshot::Memory>) -> Result<(), String> {
        self.memories.clear();
        for snapshot::Memory { script, site, ifid, key, value: text } in saved {
            let value = serde_json::from_str(&text).map_err(|e| format!("memory of {script}: {e}"))?;
            let memory = self.memories.entry((script, site, ifid)).or_default();
            // The quota may have been larger when it was remembered.
            let _ = memory.borrow_mut().set(&key, value, text.len(), usize::MAX);
        }
        Ok(())
    }

    /// Forgets scripts that have changed: their next run begins anew.
    pub fn forget(&mut self, scripts: &[String]) {
        self.loaded.retain(|(script, ..), _| !scripts.contains(script));
        self.failures.retain(|script, _| !scripts.contains(script));
    }
}
