//! The built-in recipient of scripts' `http_post`: each post goes to the URL its script gave.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use shared::store::Delivery;

use super::{DeliveryError, Endpoint, EndpointDeps, EndpointKind, Manners, NoParams};
use crate::http::{HttpClient, HttpUrl, Post};

/// Posts under way at once; each to another URL, because deliveries of one URL keep their order.
const AT_ONCE: usize = 8;

/// The kind `http_post`.
pub struct HttpPostKind;

impl EndpointKind for HttpPostKind {
    const NAME: &'static str = "http_post";
    const SAMPLE: &'static str = "";
    const BUILTIN: bool = true;
    type Params = NoParams;
    type RecipientParams = NoParams;

    fn build(_: NoParams, _: NoParams, deps: &EndpointDeps) -> Result<Arc<dyn Endpoint>, String> {
        Ok(Arc::new(HttpPost { http: deps.http.clone() }))
    }
}

/// A post as the ledger keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredPost {
    /// Where to.
    pub url: String,
    /// What.
    pub body: String,
}

#[derive(Debug)]
struct HttpPost {
    http: HttpClient,
}

impl HttpPost {
    async fn post(&self, delivery: &Delivery) -> Result<(), DeliveryError> {
        let stored: StoredPost = serde_json::from_str(&delivery.payload)
            .map_err(|_| DeliveryError::permanent("the ledger's payload is not a post"))?;
        let url = HttpUrl::parse(&stored.url).map_err(DeliveryError::permanent)?;
        let post = Post {
            content_type: content_type(&stored.body),
            headers: vec![("idempotency-key", delivery.idempotency_key())],
            body: Some(stored.body.into_bytes()),
            ..Post::to(&url)
        };
        self.http.post(post).await.map(drop)
    }
}

#[async_trait]
impl Endpoint for HttpPost {
    fn manners(&self) -> Manners {
        Manners { one_target: false, ..Manners::of_batch(AT_ONCE) }
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        futures::future::join_all(batch.iter().map(|delivery| self.post(delivery))).await
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        Ok("each post goes to the address its script gives; there is none to test".to_owned())
    }
}

/// JSON when the body looks like an object or an array.
fn content_type(body: &str) -> &'static str {
    match body.as_bytes().first() {
        Some(b'{' | b'[') => "application/json",
        _ => "text/plain; charset=utf-8",
    }
}
