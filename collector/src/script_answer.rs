//! The answer to the question which scripts are loaded and what they have done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use shared::bus::Reply;
use shared::script::registry::ScriptInfo;

/// Gathers what every capture thread says; when the last has spoken, or is gone, it is sent.
#[derive(Clone, Debug)]
pub struct ScriptAnswer(Arc<Gathering>);

#[derive(Debug)]
struct Gathering {
    reply: Mutex<Option<Reply>>,
    known: Mutex<BTreeMap<String, ScriptInfo>>,
}

impl ScriptAnswer {
    /// An answer to be sent by `reply`.
    pub fn new(reply: Reply) -> Self {
        Self(Arc::new(Gathering { reply: Mutex::new(Some(reply)), known: Mutex::default() }))
    }

    /// One thread's scripts.
    pub fn give(self, scripts: Vec<ScriptInfo>) {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        for info in scripts {
            match known.get_mut(&info.key) {
                Some(before) => before.add(info),
                None => drop(known.insert(info.key.clone(), info)),
            }
        }
    }
}

impl Drop for Gathering {
    fn drop(&mut self) {
        let known = std::mem::take(self.known.get_mut().unwrap_or_else(PoisonError::into_inner));
        // When nobody spoke the reply ends unsent, and the asker is told so.
        let reply = self.reply.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reply) = reply.filter(|_| !known.is_empty()) {
            let infos: Vec<ScriptInfo> = known.into_values().collect();
            reply.send(serde_json::to_vec(&infos).unwrap_or_default());
        }
    }
}
