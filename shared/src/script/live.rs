//! The scripts in force, which may change while the program runs.

use std::sync::Arc;

use tokio::sync::watch;

use super::registry::ScriptSetup;

/// Tells every [`LiveScripts`] of a change.
pub type ScriptSender = watch::Sender<Arc<ScriptSetup>>;

/// The scripts in force. Whoever runs scripts asks from time to time for news; asking costs little.
#[derive(Clone, Debug)]
pub struct LiveScripts(watch::Receiver<Arc<ScriptSetup>>);

impl LiveScripts {
    /// Scripts, and who can change them.
    pub fn channel(setup: ScriptSetup) -> (ScriptSender, Self) {
        let (sender, receiver) = watch::channel(Arc::new(setup));
        (sender, Self(receiver))
    }

    /// The scripts in force; they are no news any more.
    pub fn take(&mut self) -> Arc<ScriptSetup> {
        Arc::clone(&self.0.borrow_and_update())
    }

    /// The scripts in force, when they have changed since the last time.
    pub fn news(&mut self) -> Option<Arc<ScriptSetup>> {
        self.0.has_changed().unwrap_or(false).then(|| self.take())
    }
}

impl From<ScriptSetup> for LiveScripts {
    /// Scripts that never change.
    fn from(setup: ScriptSetup) -> Self {
        Self::channel(setup).1
    }
}

impl Default for LiveScripts {
    fn default() -> Self {
        ScriptSetup::default().into()
    }
}
