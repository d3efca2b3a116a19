//! From the outbox to the bus.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Notify, watch};

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

/// Takes events from the outbox to the bus, while it may, until the store is closed.
pub(super) async fn publish(
    outlet: Outlet,
    store: Arc<dyn EventStore>,
    woken: Arc<Notify>,
    mut may_tell: watch::Receiver<bool>,
) {
    while may_tell.wait_for(|may| *may).await.is_ok() {
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
    let (numbers, events): (Vec<i64>, Vec<Event>) = queued.into_iter().unzip();
    let (safe, ended) = append_all(outlet, &events).await;
    if !safe.is_empty() {
        failpoint::hit("event.after_append");
        store.events_told(safe.into_iter().map(|place| numbers[place]).collect()).await?;
    }
    ended?;
    Ok(events.len())
}

/// Places of events, in steps each of which holds one of a key at most, in their order: a carrier outside of
/// the process may lose one and keep the next, and what was lost comes behind it then.
fn steps(outlet: &Outlet, events: &[Event]) -> Vec<Vec<usize>> {
    if outlet.bus.outstanding().is_some() {
        return vec![(0..events.len()).collect()];
    }
    let mut before: HashMap<&str, usize> = HashMap::new();
    let mut steps: Vec<Vec<usize>> = Vec::new();
    for (place, event) in events.iter().enumerate() {
        let step = before.entry(&event.key).and_modify(|step| *step += 1).or_default();
        if *step == steps.len() {
            steps.push(Vec::new());
        }
        steps[*step].push(place);
    }
    steps
}

/// Appends events until one fails, and waits for those under way; gives the places of those that are safe.
pub(super) async fn append_all(outlet: &Outlet, events: &[Event]) -> (Vec<usize>, Result<(), BusError>) {
    let mut safe = Vec::with_capacity(events.len());
    for step in steps(outlet, events) {
        let (mut receipts, mut failed) = (Vec::with_capacity(step.len()), Ok(()));
        for place in step {
            match append_if_it_fits(outlet, &events[place]).await {
                Ok(receipt) => receipts.push((place, receipt)),
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            }
        }
        for (place, receipt) in receipts {
            let stored = match receipt {
                Some(receipt) => receipt.stored().await,
                None => Ok(()),
            };
            match stored {
                Ok(()) => safe.push(place),
                Err(error) => failed = Err(error),
            }
        }
        if failed.is_err() {
            return (safe, failed);
        }
    }
    (safe, Ok(()))
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
    let id = cloud::encoded(&format!("{}/{}", event.source, event.id));
    outlet
        .bus
        .append_with(&outlet.subjects.prefixed(&event.subject), &id, cloud::headers(event), data.into())
        .await
}
