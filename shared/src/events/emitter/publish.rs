//! From the outbox to the bus.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{BATCH, LEFT_S, Outlet, PAUSE};
use crate::bus::{BusError, Receipt};
use crate::events::{Event, cloud};
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::events::EventStore;
use crate::{failpoint, metrics};

/// Why a round of the outbox ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Takes over what is to be told of calls that a process before this one was killed in.
pub(super) async fn adopt(outlet: &Outlet, store: &dyn EventStore, started: Timestamp) {
    if !outlet.answers {
        return;
    }
    while let Err(error) = store.adopt_calls(&outlet.owner, &outlet.source, started).await {
        if matches!(error, StoreError::Closed) {
            return;
        }
        tracing::warn!(%error, "calls that a kill ended cannot be looked for, trying again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Takes events from the outbox to the bus until the store is closed.
pub(super) async fn publish(outlet: Outlet, store: Arc<dyn EventStore>, woken: Arc<Notify>) {
    loop {
        match round(&outlet, &*store).await {
            Ok(0) => {
                // Both a notification and the timeout mean: look again.
                let _ = tokio::time::timeout(PAUSE, woken.notified()).await;
            }
            Ok(_) => {}
            Err(RoundError::Store(StoreError::Closed) | RoundError::Bus(BusError::Closed)) => {
                return std::future::pending().await;
            }
            Err(error) => {
                tracing::warn!(%error, "events cannot be told, trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn round(outlet: &Outlet, store: &dyn EventStore) -> Result<usize, RoundError> {
    let left_before = outlet.clock.now().plus_secs(-LEFT_S);
    let queued = store.queued_events(&outlet.owner, left_before, BATCH).await?;
    let (mut told, mut receipts) = (Vec::new(), Vec::new());
    for (number, event) in queued {
        receipts.extend(append_if_it_fits(outlet, &event).await?);
        told.push(number);
    }
    for receipt in receipts {
        receipt.stored().await?;
    }
    let count = told.len();
    if count > 0 {
        failpoint::hit("event.after_append");
        store.events_told(told).await?;
    }
    Ok(count)
}

/// Appends an event; one that is too large for the bus, or for what the account may do there, gets no
/// smaller: it is lost and counted, and those that follow are not kept up by it.
async fn append_if_it_fits(outlet: &Outlet, event: &Event) -> Result<Option<Receipt>, BusError> {
    match append(outlet, event).await {
        Ok(receipt) => Ok(Some(receipt)),
        Err(error @ (BusError::TooLarge { .. } | BusError::PartsDenied { .. })) => {
            tracing::error!(%error, id = event.id, subject = event.subject, "event lost");
            metrics::event_lost();
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn append(outlet: &Outlet, event: &Event) -> Result<Receipt, BusError> {
    let data =
        serde_json::to_vec(&event.body).map_err(|e| BusError::Other(format!("event {}: {e}", event.id)))?;
    let id = format!("{}/{}", event.source, event.id);
    outlet
        .bus
        .append_with(&outlet.subjects.prefixed(&event.subject), &id, cloud::headers(event), data.into())
        .await
}

/// Appends events and waits until all are safe.
pub(super) async fn append_all(outlet: &Outlet, events: &[Event]) -> Result<(), BusError> {
    let mut receipts = Vec::with_capacity(events.len());
    for event in events {
        receipts.extend(append_if_it_fits(outlet, event).await?);
    }
    for receipt in receipts {
        receipt.stored().await?;
    }
    Ok(())
}
