//! An endpoint under test: no secret of a test is in anything that it says of itself or of a delivery.

use std::sync::Arc;

use async_trait::async_trait;
use shared::secret::mark::assert_absent;
use shared::store::Delivery;

use crate::endpoint::{DeliveryError, Endpoint, Manners, Told};

/// Every endpoint that is built in a test is built into one of these.
struct Watched(Arc<dyn Endpoint>);

/// The endpoint, watched from now on.
pub fn watched(endpoint: Arc<dyn Endpoint>) -> Arc<dyn Endpoint> {
    let watched = Watched(endpoint);
    look_through("an endpoint's Debug", &watched);
    Arc::new(watched)
}

fn look_through(what: &str, said: &dyn std::fmt::Debug) {
    assert_absent(what, format!("{said:?}").as_bytes());
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl Endpoint for Watched {
    fn manners(&self) -> Manners {
        self.0.manners()
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        let ends = self.0.deliver(batch).await;
        look_through("how a delivery ended", &ends);
        ends
    }

    async fn deliver_told(&self, batch: &[Delivery]) -> Vec<Told> {
        let ends = self.0.deliver_told(batch).await;
        look_through("what was answered to a delivery", &ends);
        ends
    }

    fn requests(&self) -> Option<u64> {
        self.0.requests()
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        let told = self.0.test().await;
        look_through("what a test tells", &told);
        told
    }
}
