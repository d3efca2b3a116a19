//! One try: from handing a batch to the endpoint to what is known of its end.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use shared::clock::Stopwatch;
use shared::store::{Delivery, Outcome};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

use super::{RecipientMessage, RecipientState};
use crate::endpoint::{DeliveryError, Endpoint, Told};
use crate::gate::Telling;
use crate::metrics;

/// A try under way; dropping it ends it.
pub(super) struct Attempt {
    batch: Arc<Vec<Delivery>>,
    /// What each of the batch tells.
    tellings: Vec<Telling>,
    results: oneshot::Receiver<Vec<Told>>,
    task: JoinHandle<()>,
    watch: Stopwatch,
    /// Requests that the endpoint had made before.
    requests: Option<u64>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RecipientState {
    /// Hands a batch to the endpoint, on a task of its own.
    pub(super) fn start(&mut self, tellings: Vec<Telling>) {
        /// Tells the lane also when the endpoint panics.
        struct TellDone(ActorRef<RecipientMessage>);
        impl Drop for TellDone {
            fn drop(&mut self) {
                // A lane that is gone does not want to know.
                let _ = self.0.cast(RecipientMessage::Done);
            }
        }
        let batch: Arc<Vec<Delivery>> = Arc::new(tellings.iter().map(|t| t.carrier.clone()).collect());
        let (sender, results) = oneshot::channel();
        let (endpoint, tried) = (Arc::clone(&self.args.endpoint), Arc::clone(&batch));
        // Ends before the claim does, so that no other lane tries the same at the same time.
        let limit = self.args.lease.mul_f64(0.75);
        let done = TellDone(self.myself.clone());
        let requests = self.args.endpoint.requests();
        let task = tokio::spawn(async move {
            let _done = done;
            let _ = sender.send(attempt(&*endpoint, &tried, limit).await);
        });
        let watch = Stopwatch::start();
        self.under_way = Some(Attempt { batch, tellings, results, task, watch, requests });
    }

    /// Waits for the end of the try under way and reads its results.
    pub(super) async fn finish(&mut self) {
        let Some(attempt) = &mut self.under_way else { return };
        let panicked =
            || vec![Err(DeliveryError::unknown("the endpoint failed inside")); attempt.batch.len()];
        let told = (&mut attempt.results).await.unwrap_or_else(|_| panicked());
        let batch = attempt.batch.to_vec();
        let tellings = std::mem::take(&mut attempt.tellings);
        // What found no room was not tried.
        let tried = told.iter().filter(|end| !matches!(end, Err(DeliveryError::NoRoom { .. }))).count();
        if tried > 0 {
            metrics::attempted(&self.args.name, tried, attempt.watch.elapsed().as_secs_f64());
        }
        let made = self.args.endpoint.requests().zip(attempt.requests);
        let requests = made.map_or(1, |(after, before)| after.saturating_sub(before));
        self.under_way = None;
        let was_open = self.lane.is_open();
        let (answers, results): (Vec<_>, Vec<_>) = told
            .into_iter()
            .map(|result| match result {
                Ok(answer) => (answer, Ok(())),
                Err(error) => (None, Err(error)),
            })
            .unzip();
        let mut ends = self.lane.settle(batch, results, requests, self.args.clock.now());
        for ((_, end), said) in ends.iter_mut().zip(answers) {
            if let Outcome::Delivered { answer } = end {
                *answer = said;
            }
        }
        let others: Vec<_> =
            tellings.into_iter().zip(&ends).flat_map(|(telling, (_, end))| telling.others(end)).collect();
        ends.extend(others);
        self.tell(&ends, was_open);
        self.unsettled.extend(ends);
    }
}

/// One try of a batch, each delivery in a span whose parent is what caused it.
async fn attempt(endpoint: &dyn Endpoint, batch: &[Delivery], limit: Duration) -> Vec<Told> {
    let spans: Vec<Span> = batch.iter().map(span).collect();
    let first = spans.first().cloned().unwrap_or_else(Span::none);
    let results = match tokio::time::timeout(limit, endpoint.deliver_told(batch).instrument(first)).await {
        Ok(results) => results,
        Err(_) => vec![Err(DeliveryError::unknown(format!("no end within {limit:?}"))); batch.len()],
    };
    for (span, result) in spans.iter().zip(&results) {
        let outcome = match result {
            Ok(_) => "delivered",
            Err(DeliveryError::Retry { .. }) => "retry",
            Err(DeliveryError::NoRoom { .. }) => "postponed",
            Err(DeliveryError::Unknown { .. }) => "unknown",
            Err(DeliveryError::Refused { .. }) => "refused",
            Err(DeliveryError::Permanent { .. }) => "dead",
        };
        span.record("outcome", outcome);
    }
    results
}

fn span(delivery: &Delivery) -> Span {
    let span = tracing::info_span!(
        "delivery",
        recipient = delivery.recipient,
        event = ?delivery.event_id,
        attempt = delivery.attempts + 1,
        outcome = tracing::field::Empty,
    );
    if let Some(parent) = &delivery.traceparent {
        shared::telemetry::set_parent(&span, parent);
    }
    span
}
