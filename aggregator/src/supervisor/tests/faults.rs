//! Store and bus that fail once: what was under way is done again, and nothing is lost.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use shared::bus::{Bus, BusError, Consumer, Headers, Receipt, Subscription};
use shared::model::query::{AlertQuery, FlowQuery, Page, StoredAlert};
use shared::script::source::{Origin, ScriptSource};
use shared::store::AlertMark;
use shared::store::conformance::samples;
use shared::store::{EngagedAlert, FlowStore, StoreError, StoredFlow, Transition};
use shared::wire::flow_batch::FlowBatch;
use shared::wire::proto::HttpPost;

use super::*;

/// Passes everything on, but fails once.
pub(super) struct FailsOnce<T> {
    inner: T,
    failed: AtomicBool,
}

impl<T> FailsOnce<T> {
    pub(super) fn new(inner: T) -> Arc<Self> {
        Arc::new(Self { inner, failed: AtomicBool::new(false) })
    }

    /// True for the first who asks.
    fn fails(&self) -> bool {
        !self.failed.swap(true, Ordering::SeqCst)
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

/// Its writer panics.
#[async_trait]
impl FlowStore for FailsOnce<SqliteStore> {
    async fn add_flows(&self, batch_key: String, flows: Vec<StoredFlow>) -> Result<(), StoreError> {
        assert!(!self.fails(), "a test says so");
        self.inner.add_flows(batch_key, flows).await
    }

    async fn flows(&self, query: FlowQuery) -> Result<Page<StoredFlow>, StoreError> {
        self.inner.flows(query).await
    }

    async fn prune_flows(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.inner.prune_flows(before).await
    }
}

/// Engaged alerts cannot be read back, which fails the shard.
#[async_trait]
impl AlertStore for FailsOnce<SqliteStore> {
    async fn add_history(&self, alerts: Vec<Alert>) -> Result<u64, StoreError> {
        self.inner.add_history(alerts).await
    }

    async fn history(&self, query: AlertQuery) -> Result<Page<StoredAlert>, StoreError> {
        self.inner.history(query).await
    }

    async fn mark(
        &self,
        of: AlertQuery,
        mark: AlertMark,
        by: &str,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        self.inner.mark(of, mark, by, at).await
    }

    async fn delete_history(&self, of: AlertQuery) -> Result<u64, StoreError> {
        self.inner.delete_history(of).await
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Result<(), StoreError> {
        self.inner.apply(transitions).await
    }

    async fn engaged(&self, partition: Option<u32>) -> Result<Vec<EngagedAlert>, StoreError> {
        if self.fails() {
            return Err(StoreError::Statement("a test says so".to_owned()));
        }
        self.inner.engaged(partition).await
    }

    async fn outbox(&self, limit: usize) -> Result<Vec<(i64, Alert)>, StoreError> {
        self.inner.outbox(limit).await
    }

    async fn outbox_told(&self, numbers: Vec<i64>) -> Result<(), StoreError> {
        self.inner.outbox_told(numbers).await
    }

    async fn prune_history(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.inner.prune_history(before).await
    }
}

/// A script's post is not taken in time.
#[async_trait]
impl Bus for FailsOnce<SharedBus> {
    async fn publish_with(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<(), BusError> {
        self.inner.publish_with(subject, headers, payload).await
    }

    async fn subscribe(&self, filter: &str) -> Result<Subscription, BusError> {
        self.inner.subscribe(filter).await
    }

    async fn subscribe_in(&self, group: &str, filter: &str) -> Result<Subscription, BusError> {
        self.inner.subscribe_in(group, filter).await
    }

    async fn request(&self, subject: &str, payload: Bytes, timeout: Duration) -> Result<Bytes, BusError> {
        self.inner.request(subject, payload, timeout).await
    }

    async fn append_with(
        &self,
        subject: &str,
        id: &str,
        headers: Headers,
        payload: Bytes,
    ) -> Result<Receipt, BusError> {
        if subject.starts_with("po.") && self.fails() {
            return Err(BusError::Timeout { subject: subject.to_owned(), timeout: Duration::ZERO });
        }
        self.inner.append_with(subject, id, headers, payload).await
    }

    async fn consume(&self, stream: Stream, name: &str, filter: &str) -> Result<Consumer, BusError> {
        self.inner.consume(stream, name, filter).await
    }

    fn outstanding(&self) -> Option<u64> {
        self.inner.outstanding()
    }

    async fn flush(&self) -> Result<(), BusError> {
        self.inner.flush().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_panics_is_started_again_and_the_flows_are_stored() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let flows = FailsOnce::new(store.clone());
    let mut deps = deps(&bus, &store);
    deps.flows = Arc::clone(&flows) as Arc<dyn FlowStore>;
    let aggregator = spawn(deps).await.unwrap();
    let batch = FlowBatch { producer: of_minute("s", 0, 0).producer, flows: vec![samples::flow(1, 0).flow] };
    let receipt = bus.append(&Subjects::default().flows("s", "n", 0), "f", batch.encode()).await.unwrap();
    tokio::time::timeout(DEADLINE, receipt.stored()).await.expect("the new writer acknowledges").unwrap();
    assert!(flows.has_failed());
    let page = store.flows(FlowQuery { limit: 10, ..FlowQuery::default() }).await.unwrap();
    assert_eq!(page.items.len(), 1);
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_fails_is_started_again_and_gets_its_delta_again() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let failing = FailsOnce::new(store.clone());
    let mut deps = deps(&bus, &store);
    deps.alerts = Arc::clone(&failing) as Arc<dyn AlertStore>;
    // It asks the store too, and the shard is to be the one that fails.
    deps.config.monitor.enabled = false;
    let aggregator = spawn(deps).await.unwrap();
    minute(&bus, 0, 10).await;
    assert!(failing.has_failed());
    assert_eq!(aggregator.live.interfaces().await.rows[0].stats["packets"], 10);
    assert!(aggregator.is_idle().await, "what the failed shard held is no longer under way");
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_the_bus_does_not_take_is_appended_again() {
    let (inner, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut posts = inner.consume(Stream::Post, "test", "po.v1.>").await.unwrap();
    let failing = FailsOnce::new(inner);
    let bus: SharedBus = Arc::clone(&failing) as SharedBus;
    let text =
        "#{ kind: \"interface\", hooks: #{ min: |p| http_post(\"https://example.com/\", \"hello\") } }";
    let source =
        ScriptSource { name: "test".into(), origin: Origin::Inline, folder: None, text: text.to_owned() };
    let mut deps = deps(&bus, &store);
    deps.scripts = ScriptSetup { sources: vec![source], ..ScriptSetup::default() }.into();
    let aggregator = spawn(deps).await.unwrap();
    let delta = tokio::spawn(async move { minute(&bus, 0, 10).await });
    let queued = tokio::time::timeout(DEADLINE, posts.next()).await.expect("the post comes").unwrap();
    assert!(failing.has_failed());
    assert_eq!(HttpPost::decode(queued.payload.clone()).unwrap().body, "hello");
    // The shard waits until the post is safe: it answers nobody, and who asks is told so.
    let partition = format!("partition {}", partition::of_interface("s", 0));
    assert_eq!(aggregator.live.interfaces().await.missing, [partition]);
    assert!(!delta.is_finished());
    queued.ack();
    delta.await.unwrap();
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deltas_that_no_state_survives_are_left_out_and_told_and_end_nothing() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut alerts = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
    let aggregator = start(&bus, &store).await;
    minute(&bus, 0, 10).await;
    // More of them than failures of a shard would be forgiven.
    for number in 1..9 {
        let mut poison = of_minute("s", number, 10);
        poison.producer.interface = "poison".to_owned();
        put(&bus, &poison).await;
    }
    minute(&bus, 9, 10).await;
    let told = next(&mut alerts).await;
    assert_eq!((told.alert_type.as_str(), told.node.as_str()), ("message_refused", "n"));
    let report = aggregator.report().await;
    assert_eq!(report.errors["deltas_refused"], 1, "since the shard began anew: {:?}", report.errors);
    // In process nobody keeps what was acknowledged since the kept state; on NATS nothing of it is lost.
    let rows = aggregator.live.interfaces().await.rows;
    assert_eq!(rows[0].stats["packets"], 10, "{rows:?}");
    assert!(!aggregator.handle.is_finished());
    stop(aggregator).await;
}
