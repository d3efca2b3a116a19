//! Which message of a chat tells of which alert, so that its end can be written into the same message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use shared::clock::SharedClock;
use shared::model::Timestamp;
use shared::store::{Ledger, StoreError};

/// Days after which a message whose alert never ended is forgotten.
const DAYS: i64 = 30;

/// Messages noted between two looks for forgotten ones.
const NOTED: u32 = 256;

/// Messages by alert, in the ledger's notes.
pub struct Messages {
    ledger: Arc<dyn Ledger>,
    clock: SharedClock,
    noted: AtomicU32,
}

#[derive(Serialize, Deserialize)]
struct Noted {
    message: String,
    at: Timestamp,
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Messages")
    }
}

impl Messages {
    /// Those that this ledger notes.
    pub fn new(ledger: Arc<dyn Ledger>, clock: SharedClock) -> Self {
        Self { ledger, clock, noted: AtomicU32::new(0) }
    }

    /// What the far end calls the message that told `recipient` of an alert. A ledger that fails knows none.
    pub async fn of(&self, recipient: &str, alert: &str) -> Option<String> {
        let notes = self.ledger.notes(&scope(recipient)).await.ok()?;
        serde_json::from_str::<Noted>(notes.get(alert)?).ok().map(|noted| noted.message)
    }

    /// Notes it. What cannot be noted is told by a message of its own later.
    pub async fn note(&self, recipient: &str, alert: &str, message: String) {
        let noted = Noted { message, at: self.clock.now() };
        let text = serde_json::to_string(&noted).unwrap_or_default();
        self.change(recipient, vec![(alert.to_owned(), Some(text))]).await;
        if self.noted.fetch_add(1, Ordering::Relaxed) % NOTED == NOTED - 1 {
            self.forget_old(recipient).await;
        }
    }

    /// Forgets it: the alert is over.
    pub async fn forget(&self, recipient: &str, alert: &str) {
        self.change(recipient, vec![(alert.to_owned(), None)]).await;
    }

    async fn forget_old(&self, recipient: &str) {
        let Ok(notes) = self.ledger.notes(&scope(recipient)).await else { return };
        let before = self.clock.now().plus_secs(-DAYS * 86_400);
        let is_old = |text: &str| serde_json::from_str::<Noted>(text).map_or(true, |noted| noted.at < before);
        let old = notes.into_iter().filter(|(_, text)| is_old(text)).map(|(alert, _)| (alert, None));
        self.change(recipient, old.collect()).await;
    }

    async fn change(&self, recipient: &str, changes: Vec<(String, Option<String>)>) {
        let noted: Result<(), StoreError> = self.ledger.note(&scope(recipient), changes).await;
        if let Err(error) = noted {
            tracing::warn!(recipient, %error, "which message tells of an alert is not noted");
        }
    }
}

fn scope(recipient: &str) -> String {
    format!("messages/{recipient}")
}
