//! Faults of the program itself while it runs a hook.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use shared::bus::{BusError, Consumer, Headers, Receipt, Stream, Subscription};

use super::*;

/// A bus on which the first execution that is told of panics.
struct Panicking {
    inner: Arc<MemoryBus>,
    done: AtomicBool,
}

#[async_trait]
impl Bus for Panicking {
    async fn publish_with(&self, subject: &str, headers: Headers, payload: Bytes) -> Result<(), BusError> {
        let of_execution = subject == Subjects::new("t").hook_exec("faulty", "started");
        assert!(!of_execution || self.done.swap(true, Ordering::SeqCst), "a fault of the program");
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

/// It is on record as given up, and takes no room from those that follow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_that_panics_is_on_record_and_the_next_runs() {
    let mut setup = Setup::new();
    let bus = Panicking { inner: Arc::clone(&setup.bus), done: AtomicBool::new(false) };
    Arc::get_mut(&mut setup.args.shared).unwrap().tools.bus = Arc::new(bus);
    let alone = Hook { concurrency: 1, ..hook(HookKind::RhaiCode, "1") };
    setup.set("faulty", alone);
    let _manager = setup.start().await;
    setup.ready("faulty").await;
    for number in 0..2 {
        setup.item("x", json!(number)).await;
    }
    let runs = setup.done("faulty", 2).await;
    let ends: Vec<_> = runs.iter().map(|run| (run.outcome, run.reason.as_str())).collect();
    let fault = "a fault of the hook manager, which its log tells of";
    assert_eq!(ends[0], (Some(RunOutcome::Failure), fault));
    assert_eq!(ends[1].0, Some(RunOutcome::Success), "{ends:?}");
}
