//! Says in the log, again and again, that no aggregator is there: under a prefix that is written wrong
//! everything waits for one that never comes.

use std::time::Duration;

use bytes::Bytes;
use shared::bus::{BusError, SharedBus};
use shared::wire::subject::Subjects;

/// Between two questions, and before the first.
const EVERY: Duration = Duration::from_secs(10);

/// How long an aggregator may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks until somebody answers once; who is missed later, others tell of.
pub(super) async fn until_answered(bus: SharedBus, subjects: Subjects, prefix: String) {
    let subject = subjects.request_role("aggregator", "documents");
    loop {
        tokio::time::sleep(EVERY).await;
        match bus.request(&subject, Bytes::new(), PATIENCE).await {
            Err(BusError::NoResponder(_)) => tracing::error!(
                "nobody answers under prefix '{prefix}': no aggregator is there, or bus.prefix is another one; \
                 what this node has to tell waits"
            ),
            Ok(_) | Err(BusError::Closed) => return,
            // The bus is away, which it says itself, or somebody is slow.
            Err(_) => {}
        }
    }
}
