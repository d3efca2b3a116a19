//! What metrics say of deliveries that find no room, in a process of its own: its counters are this test's.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use notifier::NotifierConfig;
use notifier::endpoint::{DeliveryError, Endpoint, Manners};
use notifier::follow_up::FollowUps;
use notifier::lane::{Policy, horizon};
use notifier::recipient::{RecipientActor, RecipientArgs};
use ractor::Actor;
use shared::bus::memory::MemoryBus;
use shared::clock::{SharedClock, SystemClock};
use shared::events::Emitter;
use shared::model::Severity;
use shared::store::sqlite::SqliteStore;
use shared::store::{Delivery, EventKind, Ledger, LedgerEvent};
use shared::telemetry::{Telemetry, TelemetryConfig};
use shared::teller::Teller;
use shared::wire::subject::Subjects;

/// Looks in vain.
const IN_VAIN: u32 = 3;

/// Has no room at first.
#[derive(Debug, Default)]
struct Full(AtomicU32);

#[async_trait]
impl Endpoint for Full {
    fn manners(&self) -> Manners {
        Manners::of_batch(1)
    }

    async fn deliver(&self, batch: &[Delivery]) -> Vec<Result<(), DeliveryError>> {
        let end = match self.0.fetch_add(1, Ordering::SeqCst) {
            ..IN_VAIN => Err(DeliveryError::NoRoom { reason: "others run" }),
            _ => Ok(()),
        };
        vec![end; batch.len()]
    }

    async fn test(&self) -> Result<String, DeliveryError> {
        Ok(String::new())
    }
}

#[tokio::test]
async fn to_wait_for_room_is_no_attempt() {
    let config = TelemetryConfig { log: "off".to_owned(), ..TelemetryConfig::default() };
    let telemetry = Telemetry::start(&config, "n1").unwrap();
    let (store, bus, subjects) =
        (SqliteStore::in_memory().unwrap(), MemoryBus::new(Default::default()), Subjects::new("t"));
    let (clock, endpoint): (SharedClock, _) = (SystemClock::shared(), Arc::new(Full::default()));
    let event = LedgerEvent {
        id: "a".to_owned(),
        kind: EventKind::Alert,
        order_key: "a".to_owned(),
        severity: Severity::Error,
        payload: "{\"severity\":\"error\"}".to_owned(),
        traceparent: None,
        recipients: vec!["r".to_owned()],
        config_version: String::new(),
        not_before: None,
        spared: Vec::new(),
    };
    store.accept(vec![event], clock.now(), horizon).await.unwrap();
    let args = RecipientArgs {
        name: "r".to_owned(),
        owner: "n1/r".to_owned(),
        ledger: Arc::new(store.clone()),
        events: Emitter::quiet(),
        clock: Arc::clone(&clock),
        endpoint: Arc::clone(&endpoint) as Arc<dyn Endpoint>,
        endpoint_health: None,
        policy: Policy::new(&NotifierConfig::default(), endpoint.manners(), None),
        pace: Default::default(),
        lease: Duration::from_secs(60),
        handle: Arc::default(),
        fallback: None,
        teller: Teller {
            bus: bus.clone(),
            subjects: subjects.clone(),
            clock: Arc::clone(&clock),
            site: "main".to_owned(),
            node: "n1".to_owned(),
        },
        follow_ups: FollowUps {
            bus,
            subjects,
            settings: tokio::sync::watch::channel(Arc::default()).1,
            rules: Default::default(),
        },
    };
    let (lane, handle) = Actor::spawn(None, RecipientActor, args).await.unwrap();
    let delivered = async {
        while store.stats().await.unwrap().first().is_none_or(|stats| stats.delivered == 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), delivered).await.unwrap();
    lane.stop(None);
    handle.await.unwrap();
    assert_eq!(endpoint.0.load(Ordering::SeqCst), IN_VAIN + 1);
    let metrics = telemetry.prometheus();
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name}{{")))?;
        line.rsplit(' ').next().map(str::to_owned)
    };
    assert_eq!(value("flowhook_notifier_attempts_total").as_deref(), Some("1"), "{metrics}");
    assert_eq!(value("flowhook_notifier_attempt_duration_seconds_count").as_deref(), Some("1"), "{metrics}");
}
