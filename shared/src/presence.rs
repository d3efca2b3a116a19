//! Says once a second that a role of a process is there ([`Heartbeat`]), for as long as the bus is open.

use std::time::Duration;

use crate::bus::{BusError, SharedBus};
use crate::clock::SharedClock;
use crate::model::Timestamp;
use crate::wire::heartbeat::Heartbeat;
use crate::wire::subject::Subjects;

/// How long the last word may take: a bus that is away takes none.
const LAST: Duration = Duration::from_secs(1);

/// Between two words of a node.
const BEAT: Duration = Duration::from_secs(1);

/// Says `word` again and again, each time with the time of then. A word that is lost is not repeated.
pub async fn say(bus: SharedBus, subjects: Subjects, clock: SharedClock, mut word: Heartbeat) {
    let subject = subjects.heartbeat(&word.node);
    loop {
        word.sent = clock.now();
        match bus.publish(&subject, word.encode()).await {
            Ok(()) => {}
            Err(BusError::Closed) => return,
            Err(error) => tracing::debug!(%error, "heartbeat lost"),
        }
        tokio::time::sleep(BEAT).await;
    }
}

/// Says, once, that it goes.
pub async fn leave(bus: &SharedBus, subjects: &Subjects, word: Heartbeat, now: Timestamp) {
    let word = Heartbeat { leaves: true, sent: now, ..word };
    let subject = subjects.heartbeat(&word.node);
    let said = tokio::time::timeout(LAST, bus.publish(&subject, word.encode()));
    if !matches!(said.await, Ok(Ok(()))) {
        tracing::debug!(role = word.role, "nobody was told that it goes");
    }
}
