//! The built-in alert store: asks the aggregator to put alerts into the history.
//!
//! Question `store_alerts` to the role `aggregator`, a JSON array of alerts; answer
//! `{"stored": n}`. The history leaves alone what it has, so a repeated question does no harm.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use shared::bus::SharedBus;
use shared::store::Delivery;
use shared::wire::subject::Subjects;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Manners, NoParams};

/// How long the aggregator may take to commit.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes in one question, well below what the bus takes.
const QUESTION_BYTES: usize = 512 * 1024;

/// The kind `alert_store`.
pub struct AlertStoreKind;

impl EndpointKind for AlertStoreKind {
    const NAME: &'static str = "alert_store";
    const SAMPLE: &'static str = "";
    const BUILTIN: bool = true;
    type Params = NoParams;
    type RecipientParams = NoParams;

    fn build(_: NoParams, _: NoParams, deps: &EndpointDeps) -> Result<Arc<dyn Endpoint>, String> {
        let batch = deps.batch;
        Ok(Arc::new(AlertStore { bus: Arc::clone(&deps.bus), subjects: deps.subjects.clone(), batch }))
    }
}

struct AlertStore {
    bus: SharedBus,
    subjects: Subjects,
    batch: usize,
}

impl std::fmt::Debug for AlertStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AlertStore")
    }
}

#[derive(Deserialize)]
struct Answer {
    stored: u64,
}

impl AlertStore {
    async fn ask(&self, alerts: &[Delivery]) -> Result<u64, DeliveryError> {
        let payloads: Vec<&str> = alerts.iter().map(|delivery| delivery.payload.as_str()).collect();
        let question = format!("[{}]", payloads.join(","));
        let subject = self.subjects.request_role("aggregator", "store_alerts");
        let answer =
            self.bus.request(&subject, question.into(), TIMEOUT).await.map_err(DeliveryError::retry)?;
        match serde_json::from_slice::<Answer>(&answer) {
            Ok(answer) => Ok(answer.stored),
            Err(_) => {
                let text: String = String::from_utf8_lossy(&answer).chars().take(200).collect();
                Err(DeliveryError::retry(format!("the aggregator answered {text:?}")))
            }
        }
    }
}

#[async_trait]
impl Endpoint for AlertStore {
    fn manners(&self) -> Manners {
        let cap = Some(Duration::from_secs(30));
        // A question on the bus costs little, so nothing is won by a breaker.
        Manners { one_target: false, never_gives_up: true, backoff_cap: cap, ..Manners::of_batch(self.batch) }
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        let mut results = Vec::with_capacity(batch.len());
        let mut rest = batch;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(fitting(rest));
            let result = self.ask(now).await.map(drop);
            results.extend(super::same_for_all(now, &result));
            rest = later;
            if result.is_err() {
                // The next question would most likely end the same way.
                results.extend(super::same_for_all(rest, &result));
                break;
            }
        }
        results
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        self.ask(&[]).await.map(|_| "the aggregator answers".to_owned())
    }
}

/// How many of `batch` fit into one question; at least one.
fn fitting(batch: &[Delivery]) -> usize {
    let mut bytes = 0;
    let fitting = batch.iter().take_while(|delivery| {
        bytes += delivery.payload.len() + 1;
        bytes <= QUESTION_BYTES
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use shared::bus::Bus;
    use shared::bus::memory::MemoryBus;

    use super::*;
    use crate::testing::{alert, delivery};

    /// An aggregator that answers as told and notes how many alerts each question held.
    async fn aggregator(bus: &Arc<MemoryBus>, answer: &'static str) -> Arc<Mutex<Vec<usize>>> {
        let subject = Subjects::default().request_role("aggregator", "store_alerts");
        let mut questions = bus.subscribe(&subject).await.unwrap();
        let counts = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Some(question) = questions.next().await {
                let alerts: Vec<shared::model::Alert> = serde_json::from_slice(&question.payload).unwrap();
                noted.lock().unwrap().push(alerts.len());
                question.reply.unwrap().send(answer);
            }
        });
        counts
    }

    fn store(bus: &Arc<MemoryBus>) -> AlertStore {
        AlertStore { bus: Arc::clone(bus) as SharedBus, subjects: Subjects::default(), batch: 64 }
    }

    #[tokio::test]
    async fn stored_is_delivered_and_large_batches_are_parted() {
        let bus = MemoryBus::new(Default::default());
        let counts = aggregator(&bus, "{\"stored\":0}").await;
        let long = shared::model::Alert { message: "x".repeat(200 * 1024), ..alert("a") };
        let batch: Vec<_> = (0..5).map(|_| delivery(&long)).collect();
        assert_eq!(store(&bus).deliver(&batch).await, vec![Ok(()); 5]);
        assert_eq!(*counts.lock().unwrap(), [2, 2, 1]);
        assert!(store(&bus).test().await.is_ok());
    }

    #[tokio::test]
    async fn anything_else_is_tried_again() {
        let bus = MemoryBus::new(Default::default());
        let batch = [delivery(&alert("a"))];
        let nobody = store(&bus).deliver(&batch).await;
        assert!(matches!(nobody[0], Err(DeliveryError::Retry { .. })), "{nobody:?}");
        aggregator(&bus, "{\"error\":{\"code\":\"x\",\"message\":\"disk full\"}}").await;
        let refused = store(&bus).deliver(&batch).await;
        assert!(
            matches!(&refused[0], Err(DeliveryError::Retry { reason, .. }) if reason.contains("disk full"))
        );
    }
}
