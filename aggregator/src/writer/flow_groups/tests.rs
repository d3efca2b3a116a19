use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use shared::bus::Settlement;
use shared::model::Timestamp;
use shared::model::query::{FlowQuery, Page};
use shared::store::conformance::samples;
use shared::wire::delta::Producer;

use super::*;

/// How the message of each number was settled.
type Settled = Arc<Mutex<Vec<(u64, Option<Settlement>)>>>;

/// Keeps keys, refuses batches of flows on this interface, and remembers how many came together.
#[derive(Default)]
struct Refusing {
    refuses: Option<u32>,
    passes: bool,
    /// What it refuses will never do.
    for_good: bool,
    together: Mutex<Vec<usize>>,
    stored: Mutex<Vec<String>>,
}

impl Refusing {
    fn refusal(&self) -> StoreError {
        let why = "a test says so".to_owned();
        match (self.passes, self.for_good) {
            (true, _) => StoreError::Unavailable(why),
            (false, true) => StoreError::Refused(why),
            (false, false) => StoreError::Statement(why),
        }
    }
}

#[async_trait]
impl FlowStore for Refusing {
    async fn add_flows(&self, key: String, flows: Vec<StoredFlow>) -> Result<(), StoreError> {
        if flows.iter().any(|stored| Some(stored.flow.ifid) == self.refuses) {
            return Err(self.refusal());
        }
        self.stored.lock().unwrap().push(key);
        Ok(())
    }

    async fn add_flow_batches(&self, batches: Vec<KeyedFlows>) -> Result<(), StoreError> {
        self.together.lock().unwrap().push(batches.len());
        if batches.iter().flat_map(|b| &b.flows).any(|stored| Some(stored.flow.ifid) == self.refuses) {
            return Err(self.refusal());
        }
        self.stored.lock().unwrap().extend(batches.into_iter().map(|batch| batch.key));
        Ok(())
    }

    async fn flows(&self, _: FlowQuery) -> Result<Page<StoredFlow>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn prune_flows(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}

/// A batch of flows of interface `ifid`, which is also its number.
fn batch(ifid: u32, flows: usize) -> Bytes {
    let producer =
        Producer { site: "s".into(), node: "n".into(), interface: "eth".into(), ifid, epoch: 1, sequence: 1 };
    FlowBatch { producer, flows: vec![samples::flow(1, 0).flow; flows] }.encode()
}

/// Stores all of it, as it lies in a consumer; how each was settled.
async fn store_all(store: &Arc<Refusing>, payloads: Vec<Bytes>) -> Vec<(u64, Option<Settlement>)> {
    let settled = Settled::default();
    let (sender, messages) = mpsc::channel(payloads.len());
    for (number, payload) in (0..).zip(payloads) {
        let settled = Arc::clone(&settled);
        let settle = move |settlement| settled.lock().unwrap().push((number, settlement));
        let queued = Queued::new("fr.v1.s.n.0".into(), number, 1, Vec::new(), payload, settle);
        sender.send(queued).await.unwrap();
    }
    drop(sender);
    flows(Consumer::new(messages), Arc::clone(store) as Arc<dyn FlowStore>).await;
    let mut settled = settled.lock().unwrap().clone();
    settled.sort_by_key(|(number, _)| *number);
    settled
}

#[tokio::test]
async fn what_there_is_goes_together_up_to_a_bound() {
    let store = Arc::new(Refusing::default());
    let settled = store_all(&store, (0..50).map(|n| batch(n, 3)).collect()).await;
    assert_eq!(*store.together.lock().unwrap(), [20, 20, 10]);
    assert_eq!(store.stored.lock().unwrap().len(), 50);
    assert!(settled.iter().all(|(_, how)| *how == Some(Settlement::Ack)), "{settled:?}");
    // Large batches make a group full sooner.
    let store = Arc::new(Refusing::default());
    store_all(&store, (0..5).map(|n| batch(n, 5_000)).collect()).await;
    assert_eq!(*store.together.lock().unwrap(), [2, 2, 1]);
}

#[tokio::test]
async fn a_batch_that_the_store_refuses_holds_up_no_other() {
    for for_good in [false, true] {
        let store = Arc::new(Refusing { refuses: Some(7), for_good, ..Refusing::default() });
        let mut payloads: Vec<_> = (0..15).map(|n| batch(n, 2)).collect();
        payloads.push(Bytes::from_static(b"no batch"));
        let settled = store_all(&store, payloads).await;
        assert_eq!(store.stored.lock().unwrap().len(), 14);
        for (number, how) in settled {
            let again = number == 7 && !for_good;
            let expected = if again { Settlement::RetryAfter(RETRY) } else { Settlement::Ack };
            assert_eq!(how, Some(expected), "{number}");
        }
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_asked_once_for_a_group() {
    let store = Arc::new(Refusing { refuses: Some(3), passes: true, ..Refusing::default() });
    let settled = store_all(&store, (0..5).map(|n| batch(n, 2)).collect()).await;
    assert!(store.stored.lock().unwrap().is_empty());
    assert!(settled.iter().all(|(_, how)| *how == Some(Settlement::RetryAfter(RETRY))), "{settled:?}");
}
