//! Tells the world what the alert store has queued: appends each transition to the bus, in order,
//! and forgets it when it is safe. After a crash it begins again where it was; ids keep that from
//! being told twice.

use std::sync::Arc;
use std::time::Duration;

use shared::bus::{BusError, SharedBus};
use shared::model::Alert;
use shared::store::{AlertStore, StoreError};
use shared::wire::subject::Subjects;
use tokio::sync::Notify;

/// Transitions taken from the store at once.
const BATCH: usize = 256;

/// How long to wait for news, so that a lost wake-up costs no more.
const IDLE: Duration = Duration::from_secs(1);

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum OutboxError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tells transitions for ever; `woken` is notified when there are new ones.
pub async fn run(bus: SharedBus, subjects: Subjects, alerts: Arc<dyn AlertStore>, woken: Arc<Notify>) {
    loop {
        match round(&bus, &subjects, &*alerts).await {
            Ok(0) => {
                // Both a notification and the timeout mean: look again.
                let _ = tokio::time::timeout(IDLE, woken.notified()).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "alerts cannot be told, trying again");
                tokio::time::sleep(IDLE).await;
            }
        }
    }
}

/// Tells what is queued now; gives how many transitions that were.
async fn round(bus: &SharedBus, subjects: &Subjects, alerts: &dyn AlertStore) -> Result<usize, OutboxError> {
    let queued = alerts.outbox(BATCH).await?;
    let mut told = Vec::new();
    let mut receipts = Vec::new();
    for (number, alert) in queued {
        receipts.push(append(bus, subjects, alert).await?);
        told.push(number);
    }
    for receipt in receipts {
        receipt.stored().await?;
    }
    let count = told.len();
    if count > 0 {
        alerts.outbox_told(told).await?;
    }
    Ok(count)
}

/// Appends one transition, as a span of its cause's trace.
async fn append(
    bus: &SharedBus,
    subjects: &Subjects,
    mut alert: Alert,
) -> Result<shared::bus::Receipt, BusError> {
    let span = tracing::info_span!("alert", id = alert.id, kind = alert.alert_type);
    if let Some(cause) = alert.traceparent.take() {
        shared::telemetry::set_parent(&span, &cause);
        alert.traceparent = Some(cause);
    }
    alert.traceparent = shared::telemetry::traceparent(&span).or(alert.traceparent);
    let subject = subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
    let json = serde_json::to_vec(&alert).map_err(|e| BusError::Other(format!("alert {}: {e}", alert.id)))?;
    bus.append(&subject, &alert.transition_id(), json.into()).await
}

/// True when everything queued has been told.
pub async fn is_empty(alerts: &dyn AlertStore) -> bool {
    alerts.outbox(1).await.is_ok_and(|queued| queued.is_empty())
}
