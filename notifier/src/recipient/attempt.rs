//! One try.

use std::time::Duration;

use shared::store::Delivery;
use tracing::{Instrument, Span};

use crate::endpoint::{DeliveryError, Endpoint, Told};

/// One try of a batch, each delivery in a span whose parent is what caused it.
pub(super) async fn attempt(endpoint: &dyn Endpoint, batch: &[Delivery], limit: Duration) -> Vec<Told> {
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
