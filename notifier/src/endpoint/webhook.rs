//! Webhook: alerts as JSON by POST (seed 002 "Webhook").
//!
//! Body: `{"version":"0.2","sharedsecret":"…","alerts":[…]}`; each alert carries
//! `idempotency_key`, the same in every try, so that the receiver can tell a repetition. A request
//! with one alert has it in the header `Idempotency-Key` too; `webhook-id` names the request.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shared::model::Alert;
use shared::model::alert::derive_id;
use shared::secret::Secret;
use shared::store::Delivery;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Manners, NoParams, same_for_all};
use crate::http::{HttpClient, HttpUrl, Post};

/// Version of the body's form, as ntopng's webhook counts it.
const VERSION: &str = "0.2";

/// The kind `webhook`.
pub struct WebhookKind;

impl EndpointKind for WebhookKind {
    const NAME: &'static str = "webhook";
    const SAMPLE: &'static str = r#"
[endpoint]
url = "https://alerts.example.com/flowhook"
shared_secret = "env:HOME"
username = "flowhook"
password = "correct horse"
batch = 10
[recipient]
"#;
    type Params = WebhookParams;
    type RecipientParams = NoParams;

    fn build(params: WebhookParams, _: NoParams, deps: &EndpointDeps) -> Arc<dyn Endpoint> {
        Arc::new(Webhook { params, http: deps.http.clone() })
    }
}

/// Parameters of a webhook.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookParams {
    /// Where to.
    url: HttpUrl,
    /// Sent in every body as `sharedsecret`.
    shared_secret: Option<Secret>,
    /// User of HTTP basic authentication.
    username: Option<String>,
    /// Password of HTTP basic authentication.
    password: Option<Secret>,
    /// Alerts in one request.
    #[serde(default)]
    batch: Batch,
}

/// 1 to 10 alerts.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "i64")]
struct Batch(usize);

impl Default for Batch {
    fn default() -> Self {
        Self(10)
    }
}

impl TryFrom<i64> for Batch {
    type Error = String;

    fn try_from(batch: i64) -> Result<Self, String> {
        match usize::try_from(batch) {
            Ok(batch @ 1..=10) => Ok(Self(batch)),
            _ => Err(format!("batch must be 1 to 10, not {batch}")),
        }
    }
}

#[derive(Debug)]
struct Webhook {
    params: WebhookParams,
    http: HttpClient,
}

#[derive(Serialize)]
struct Body<'a> {
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sharedsecret: Option<&'a str>,
    alerts: Vec<SentAlert>,
}

#[derive(Serialize)]
struct SentAlert {
    #[serde(flatten)]
    alert: Alert,
    idempotency_key: String,
}

impl Webhook {
    async fn post(&self, alerts: Vec<SentAlert>) -> Result<u16, DeliveryError> {
        let keys: Vec<&str> = alerts.iter().map(|sent| sent.idempotency_key.as_str()).collect();
        let mut headers = vec![("webhook-id", derive_id(&keys))];
        if let [only] = keys.as_slice() {
            headers.push(("idempotency-key", (*only).to_owned()));
        }
        let sharedsecret = self.params.shared_secret.as_ref().map(Secret::reveal);
        let body = serde_json::to_vec(&Body { version: VERSION, sharedsecret, alerts })
            .map_err(|_| DeliveryError::permanent("the alerts cannot be written as JSON"))?;
        let post = Post {
            url: &self.params.url,
            content_type: "application/json",
            headers,
            basic: self.params.username.as_deref().map(|user| (user, self.params.password.as_ref())),
            body,
        };
        self.http.post(post).await
    }
}

fn read(delivery: &Delivery) -> Result<SentAlert, DeliveryError> {
    let alert = serde_json::from_str(&delivery.payload)
        .map_err(|_| DeliveryError::permanent("the ledger's payload is not an alert"))?;
    Ok(SentAlert { alert, idempotency_key: delivery.idempotency_key() })
}

#[async_trait]
impl Endpoint for Webhook {
    fn manners(&self) -> Manners {
        Manners::of_batch(self.params.batch.0)
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        let alerts: Vec<_> = batch.iter().map(read).collect();
        let mut results: Vec<_> =
            alerts.iter().map(|sent| sent.as_ref().map(|_| ()).map_err(Clone::clone)).collect();
        let alerts: Vec<_> = alerts.into_iter().flatten().collect();
        if alerts.is_empty() {
            return results;
        }
        let together = alerts.len();
        let answer = self.post(alerts).await.map(drop);
        if together > 1 && matches!(answer, Err(DeliveryError::Permanent { .. })) {
            // One of them is refused: told alone, the others are not refused with it.
            for (delivery, result) in batch.iter().zip(&mut results) {
                if result.is_ok()
                    && let Ok(alert) = read(delivery)
                {
                    *result = self.post(vec![alert]).await.map(drop);
                }
            }
            return results;
        }
        let answers = same_for_all(batch, &answer);
        for (result, answer) in results.iter_mut().zip(answers) {
            if result.is_ok() {
                *result = answer;
            }
        }
        results
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        self.post(Vec::new()).await.map(|status| format!("{} answered {status}", self.params.url))
    }
}
