//! Writes what others bring into the store: ended flows from the bus, alerts from the notifier's
//! alert store recipient.

use std::sync::Arc;

use serde_json::json;
use shared::bus::{BusError, Message, SharedBus, Subscription};
use shared::model::Alert;
use shared::model::query::{AlertQuery, MAX_LIMIT};
use shared::store::documents::DocumentStore;
use shared::store::{AlertStore, StoreError};
use shared::wire::subject::Subjects;

use crate::live::LiveState;

mod flow_groups;

pub use flow_groups::{flow_batches, flows};

/// Where requests to store alerts come from.
pub async fn alert_requests(bus: &SharedBus, subjects: &Subjects) -> Result<Subscription, BusError> {
    bus.subscribe(&subjects.request_role("aggregator", "store_alerts")).await
}

/// Answers requests to put alerts into the history, until the bus closes.
pub async fn alerts(mut requests: Subscription, store: Arc<dyn AlertStore>) {
    while let Some(request) = requests.next().await {
        store_alerts(&*store, request).await;
    }
}

async fn store_alerts(store: &dyn AlertStore, request: Message) {
    let Some(reply) = request.reply else { return };
    let failed = |code: &str, message: String| json!({ "error": { "code": code, "message": message } });
    let answer = match serde_json::from_slice::<Vec<Alert>>(&request.payload) {
        Ok(alerts) => match store.add_history(alerts).await {
            Ok(stored) => json!({ "stored": stored }),
            Err(error) => failed("store_failed", error.to_string()),
        },
        Err(error) => failed("bad_request", format!("not a list of alerts: {error}")),
    };
    reply.send(answer.to_string());
}

/// Where questions whether an alert is acknowledged come from.
pub async fn acknowledged_requests(bus: &SharedBus, subjects: &Subjects) -> Result<Subscription, BusError> {
    bus.subscribe(&subjects.request_role("aggregator", "acknowledged")).await
}

/// Answers whether somebody has acknowledged a transition, until the bus closes.
pub async fn acknowledged(mut requests: Subscription, store: Arc<dyn AlertStore>) {
    while let Some(request) = requests.next().await {
        let Some(reply) = request.reply else { continue };
        let answer = match serde_json::from_slice::<Alert>(&request.payload) {
            Ok(alert) => match is_acknowledged(&*store, &alert).await {
                Ok(acknowledged) => json!({ "acknowledged": acknowledged }),
                Err(error) => json!({ "error": { "code": "store_failed", "message": error.to_string() } }),
            },
            Err(error) => json!({ "error": { "code": "bad_request", "message": error.to_string() } }),
        };
        reply.send(answer.to_string());
    }
}

async fn is_acknowledged(store: &dyn AlertStore, alert: &Alert) -> Result<bool, StoreError> {
    let query = AlertQuery {
        from: Some(alert.tstamp),
        to: Some(alert.tstamp.plus_ns(1)),
        entity_value: Some(alert.entity_value.clone()),
        action: Some(alert.action),
        acknowledged: Some(true),
        limit: MAX_LIMIT,
        ..AlertQuery::default()
    };
    Ok(store.history(query).await?.items.iter().any(|stored| stored.alert.id == alert.id))
}

/// Where questions for what users have edited come from.
pub async fn document_requests(bus: &SharedBus, subjects: &Subjects) -> Result<Subscription, BusError> {
    bus.subscribe(&subjects.request_role("aggregator", "documents")).await
}

/// Answers with all that users have edited, until the bus closes.
pub async fn documents(mut requests: Subscription, store: Arc<dyn DocumentStore>) {
    while let Some(request) = requests.next().await {
        let Some(reply) = request.reply else { continue };
        match store.documents(None).await {
            Ok(documents) => reply.send(json!(documents).to_string()),
            // No answer is one that the asker can tell from an empty one.
            Err(error) => tracing::error!(%error, "edited settings cannot be read"),
        }
    }
}

/// Answers other aggregators about live elements, until the bus closes.
pub async fn live(mut questions: Subscription, live: LiveState) {
    while let Some(question) = questions.next().await {
        let Some(reply) = question.reply else { continue };
        reply.send(live.answer(&question.payload).await);
    }
}
