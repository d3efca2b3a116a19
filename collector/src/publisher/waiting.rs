//! Waits for the bus as long as it takes.

use std::collections::VecDeque;
use std::time::Duration;

use shared::backoff::{Backoff, unit_random};
use shared::bus::{BusError, Receipt, SharedBus};

use super::{IN_FLIGHT, Kind, Message};
use crate::metrics;

/// Tries of a message that may be shed before it is.
const SHED_AFTER: u32 = 5;

/// Messages sent and not yet safe.
pub(super) struct Waiting {
    bus: SharedBus,
    in_flight: VecDeque<(Message, Receipt)>,
    lost: u64,
}

impl Waiting {
    /// Nothing is sent yet.
    pub(super) fn new(bus: SharedBus) -> Self {
        Self { bus, in_flight: VecDeque::new(), lost: 0 }
    }

    /// Sends a message; waits while too many are not safe.
    pub(super) async fn send(&mut self, message: Message) {
        if self.in_flight.len() >= IN_FLIGHT
            && let Some((oldest, receipt)) = self.in_flight.pop_front()
        {
            self.make_safe(oldest, receipt).await;
        }
        if let Some(receipt) = self.append_until_taken(&message).await {
            self.in_flight.push_back((message, receipt));
        }
    }

    /// Waits until everything is safe; gives how many messages were lost.
    pub(super) async fn finish(mut self) -> u64 {
        while let Some((message, receipt)) = self.in_flight.pop_front() {
            self.make_safe(message, receipt).await;
        }
        self.lost
    }

    /// Appends with backoff until the bus takes it. Flow records are shed after some tries; a
    /// closed bus loses everything.
    async fn append_until_taken(&mut self, message: &Message) -> Option<Receipt> {
        let Message { kind, subject, id, payload } = message;
        let what = kind.name();
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(5) };
        for attempt in 1.. {
            let error = match self.bus.append(subject, id, payload.clone()).await {
                Ok(receipt) => return Some(receipt),
                Err(error) => error,
            };
            metrics::append_retried(what);
            let hopeless = matches!(error, BusError::Closed | BusError::TooLarge { .. });
            if hopeless || (*kind == Kind::Flows && attempt >= SHED_AFTER) {
                self.lost += 1;
                tracing::error!(%error, what, id, "message lost");
                return None;
            }
            if attempt == 1 {
                tracing::warn!(%error, what, "bus refuses messages, trying again");
            }
            tokio::time::sleep(backoff.wait(attempt, unit_random(u64::from(attempt)))).await;
        }
        None
    }

    /// Waits until a message is safe, appending it again when it turns out not to be.
    async fn make_safe(&mut self, message: Message, mut receipt: Receipt) {
        loop {
            let Err(error) = receipt.stored().await else { return };
            if matches!(error, BusError::Closed) {
                self.lost += 1;
                return;
            }
            metrics::append_retried(message.kind.name());
            match self.append_until_taken(&message).await {
                Some(again) => receipt = again,
                None => return,
            }
        }
    }
}
