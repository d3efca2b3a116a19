//! Says once a second that a role of a process is there ([`Heartbeat`]), for as long as the bus is open.

use std::time::Duration;

use crate::bus::{BusError, SharedBus};
use crate::clock::SharedClock;
use crate::wire::heartbeat::Heartbeat;
use crate::wire::subject::Subjects;

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
