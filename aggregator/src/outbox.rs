//! Tells the world what the alert store has queued: appends each transition to the bus, in order,
//! and forgets it when it is safe. After a crash it begins again where it was; ids keep that from
//! being told twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use shared::bus::{BusError, SharedBus};
use shared::model::Alert;
use shared::store::{AlertStore, StoreError};
use shared::wire::subject::Subjects;
use tokio::sync::Notify;

use crate::metrics;

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
    let mut alerts_told = BTreeSet::new();
    for (number, alert) in queued {
        // What becomes of an alert is told when what came before is safe: of two that are under way, the
        // first may be lost and the second not.
        if !alerts_told.insert(alert.id.clone()) {
            break;
        }
        let id = alert.transition_id();
        match append(bus, subjects, alert).await {
            Ok(receipt) => receipts.push(receipt),
            // It will not get smaller, and all that come after it would wait.
            Err(error @ BusError::TooLarge { .. }) => {
                tracing::error!(%error, id, "alert cannot be told");
                metrics::lost("alert");
            }
            Err(error) => return Err(error.into()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use shared::bus::Stream;
    use shared::bus::memory::{MemoryBus, MemoryConfig};
    use shared::store::Transition;
    use shared::store::sqlite::SqliteStore;

    fn alert(number: u32, message: &str) -> Alert {
        serde_json::from_value(json!({
            "schema_version": 1, "id": format!("{number:032x}"), "action": "store", "type": "test",
            "entity": "host", "entity_value": "192.0.2.1", "severity": "error", "category": "security",
            "score": 1, "tstamp": "2026-01-01T00:00:00Z", "site": "s", "node": "n", "ifid": 0,
            "interface": "eth0", "script": "test", "message": message,
        }))
        .unwrap()
    }

    async fn queue(store: &SqliteStore, alerts: Vec<Alert>) {
        store.apply(alerts.into_iter().map(Transition::Store).collect()).await.unwrap();
    }

    #[tokio::test]
    async fn transitions_are_told_in_order_and_forgotten_only_when_they_are_safe() {
        let store = SqliteStore::in_memory().unwrap();
        let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
        let mut told = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
        queue(&store, (1..=3).map(|n| alert(n, &n.to_string())).collect()).await;
        let (subjects, store_) = (Subjects::default(), store.clone());
        let round = tokio::spawn(async move { round(&bus, &subjects, &store_).await.unwrap() });
        for number in ["1", "2", "3"] {
            let queued = told.next().await.unwrap();
            let alert: Alert = serde_json::from_slice(&queued.payload).unwrap();
            assert_eq!(alert.message, number);
            assert!(!is_empty(&store).await, "not safe before it is acknowledged");
            queued.ack();
        }
        assert_eq!(round.await.unwrap(), 3);
        assert!(is_empty(&store).await);
    }

    #[tokio::test]
    async fn an_alert_too_large_for_the_bus_does_not_hold_up_the_others() {
        let store = SqliteStore::in_memory().unwrap();
        let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
        let mut told = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
        queue(&store, vec![alert(1, &"x".repeat(2 << 20)), alert(2, "small")]).await;
        let (subjects, store_) = (Subjects::default(), store.clone());
        let round = tokio::spawn(async move { round(&bus, &subjects, &store_).await.unwrap() });
        let queued = told.next().await.unwrap();
        let alert: Alert = serde_json::from_slice(&queued.payload).unwrap();
        assert_eq!(alert.message, "small");
        queued.ack();
        assert_eq!(round.await.unwrap(), 2);
        assert!(is_empty(&store).await);
    }

    #[tokio::test]
    async fn what_becomes_of_an_alert_is_told_when_what_came_before_is_safe() {
        let store = SqliteStore::in_memory().unwrap();
        let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
        let mut told = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
        let engage = Alert { action: shared::model::AlertAction::Engage, ..alert(1, "engaged") };
        let release = Alert { action: shared::model::AlertAction::Release, ..alert(1, "released") };
        let engaged = shared::store::EngagedAlert { partition: 1, alert: engage };
        let transitions =
            vec![Transition::Engage(engaged), Transition::Release(release), Transition::Store(alert(2, "x"))];
        store.apply(transitions).await.unwrap();
        let (subjects, store_) = (Subjects::default(), store.clone());
        let rounds = tokio::spawn(async move {
            [round(&bus, &subjects, &store_).await.unwrap(), round(&bus, &subjects, &store_).await.unwrap()]
        });
        for message in ["engaged", "released", "x"] {
            let queued = told.next().await.unwrap();
            let alert: Alert = serde_json::from_slice(&queued.payload).unwrap();
            assert_eq!(alert.message, message);
            assert!(message != "engaged" || told.ready(1).is_empty(), "the release waits");
            queued.ack();
        }
        assert_eq!(rounds.await.unwrap(), [1, 2]);
    }
}
