use std::future::Future;

use super::*;
use crate::bus::{SharedBus, conformance};

const DEADLINE: Duration = Duration::from_secs(20);
const SUBJECT: &str = "po.v1.main";

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap()
}

fn small(stream_capacity: usize) -> Arc<MemoryBus> {
    MemoryBus::new(MemoryConfig { stream_capacity, ..MemoryConfig::default() })
}

async fn append(bus: &MemoryBus, id: &str) -> Receipt {
    within(bus.append(SUBJECT, id, Bytes::copy_from_slice(id.as_bytes()))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_passes_the_suite() {
    let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
    conformance::run(bus, "suite.1").await;
}

#[tokio::test]
async fn an_append_waits_for_a_lagging_consumer_and_only_then() {
    let bus = small(2);
    for number in 0..10 {
        within(append(&bus, &format!("unwanted-{number}")).await.stored()).await.unwrap();
    }
    let mut consumer = bus.consume(Stream::Post, "slow", "po.v1.>").await.unwrap();
    append(&bus, "a").await;
    append(&bus, "b").await;
    let mut third = std::pin::pin!(bus.append(SUBJECT, "c", Bytes::new()));
    assert!(futures::poll!(&mut third).is_pending(), "the stream is full");
    append(&bus, "a").await;
    within(consumer.next()).await.unwrap().ack();
    within(third).await.unwrap();
    assert_eq!(bus.outstanding(), Some(2));
}

#[tokio::test]
async fn a_stream_is_bounded_in_bytes_too() {
    let config = MemoryConfig { stream_bytes: 4096, ..MemoryConfig::default() };
    let bus = MemoryBus::new(config);
    let mut consumer = bus.consume(Stream::Post, "slow", "po.v1.>").await.unwrap();
    // Larger than the whole bound: it goes through alone.
    within(bus.append(SUBJECT, "large", vec![0; 100_000].into())).await.unwrap();
    let mut second = std::pin::pin!(bus.append(SUBJECT, "second", Bytes::new()));
    assert!(futures::poll!(&mut second).is_pending());
    within(consumer.next()).await.unwrap().ack();
    within(second).await.unwrap();
}

#[tokio::test]
async fn closing_ends_waiting_appends_and_receipts() {
    let bus = small(1);
    let _consumer = bus.consume(Stream::Post, "slow", "po.v1.>").await.unwrap();
    let receipt = append(&bus, "a").await;
    let waiting = bus.append(SUBJECT, "b", Bytes::new());
    let closing = async {
        tokio::task::yield_now().await;
        bus.close().await;
    };
    let (waiting, ()) = within(async { tokio::join!(waiting, closing) }).await;
    assert!(matches!(waiting, Err(BusError::Closed)), "{waiting:?}");
    assert!(matches!(within(receipt.stored()).await, Err(BusError::Closed)));
}

#[tokio::test]
async fn a_receipt_waits_for_every_consumer_and_a_duplicate_shares_it() {
    let bus = small(8);
    let mut first = bus.consume(Stream::Post, "first", "po.v1.>").await.unwrap();
    let mut second = bus.consume(Stream::Post, "second", SUBJECT).await.unwrap();
    let mut receipt = append(&bus, "a").await;
    let mut duplicate = append(&bus, "a").await;
    within(first.next()).await.unwrap().ack();
    assert!(receipt.0.try_recv().is_err(), "the second consumer has not seen it");
    assert!(duplicate.0.try_recv().is_err());
    within(second.next()).await.unwrap().ack();
    within(receipt.stored()).await.unwrap();
    within(duplicate.stored()).await.unwrap();
    assert_eq!(bus.outstanding(), Some(0));
}

#[tokio::test]
async fn an_id_beyond_the_window_is_new_again() {
    let bus = MemoryBus::new(MemoryConfig { duplicate_ids: 2, ..MemoryConfig::default() });
    let mut consumer = bus.consume(Stream::Post, "reader", SUBJECT).await.unwrap();
    for id in ["a", "b", "c", "a", "c"] {
        append(&bus, id).await;
    }
    let given: Vec<Bytes> = consumer.ready(9).into_iter().map(|queued| queued.payload.clone()).collect();
    assert_eq!(given, ["a", "b", "c", "a"]);
}

#[tokio::test]
async fn a_slow_subscriber_loses_the_newest() {
    let bus = small(1);
    let mut slow = bus.subscribe("hb.v1.>").await.unwrap();
    for number in 0..=SUBSCRIPTION_CAPACITY {
        bus.publish("hb.v1.n", number.to_string().into()).await.unwrap();
    }
    let mut last = Bytes::new();
    for _ in 0..SUBSCRIPTION_CAPACITY {
        last = within(slow.next()).await.unwrap().payload;
    }
    assert_eq!(last, (SUBSCRIPTION_CAPACITY - 1).to_string());
    bus.publish("hb.v1.n", Bytes::from_static(b"later")).await.unwrap();
    assert_eq!(within(slow.next()).await.unwrap().payload, "later");
}

#[tokio::test]
async fn competing_consumers_share_and_inherit() {
    let bus = small(64);
    let mut first = bus.consume(Stream::Post, "shared", SUBJECT).await.unwrap();
    let second = bus.consume(Stream::Post, "shared", SUBJECT).await.unwrap();
    for number in 0..40 {
        append(&bus, &number.to_string()).await;
    }
    let share = first.ready(40);
    assert_eq!(share.len(), 20, "the emptiest queue comes first");
    drop(second);
    let inherited = first.ready(40);
    assert_eq!(inherited.len(), 20, "what the other held comes at once");
    assert!(inherited.iter().all(|queued| queued.attempt == 2));
    assert!(inherited.is_sorted_by_key(|queued| queued.sequence));
}

#[tokio::test]
async fn a_queue_dropped_with_its_messages_gives_them_again_in_order() {
    let bus = small(600);
    let consumer = bus.consume(Stream::Post, "reader", SUBJECT).await.unwrap();
    for number in 0..600 {
        append(&bus, &number.to_string()).await;
    }
    drop(consumer);
    let mut consumer = bus.consume(Stream::Post, "reader", SUBJECT).await.unwrap();
    for number in 0..600 {
        let queued = within(consumer.next()).await.unwrap();
        assert_eq!(queued.payload, number.to_string());
        queued.ack();
    }
    assert_eq!(bus.outstanding(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_come_and_go_lose_nothing() {
    const COUNT: usize = 2000;
    let bus = small(16);
    let seen = Arc::new(Mutex::new(std::collections::BTreeSet::new()));
    // It begins before anything is appended.
    drop(bus.consume(Stream::Post, "shared", SUBJECT).await.unwrap());
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (bus, seen) = (Arc::clone(&bus), Arc::clone(&seen));
        readers.push(tokio::spawn(async move {
            while let Ok(mut consumer) = bus.consume(Stream::Post, "shared", SUBJECT).await {
                for turn in 0..7 {
                    let Some(queued) = consumer.next().await else {
                        return;
                    };
                    if turn == 3 {
                        continue;
                    }
                    seen.lock().unwrap().insert(queued.payload.clone());
                    queued.ack();
                }
            }
        }));
    }
    for number in 0..COUNT {
        append(&bus, &number.to_string()).await;
    }
    within(async {
        while bus.outstanding() != Some(0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    bus.close().await;
    for reader in readers {
        within(reader).await.unwrap();
    }
    assert_eq!(seen.lock().unwrap().len(), COUNT);
}

#[tokio::test]
async fn what_a_dropped_bus_leaves_behind_is_harmless() {
    let bus = small(4);
    let mut consumer = bus.consume(Stream::Post, "reader", SUBJECT).await.unwrap();
    let receipt = append(&bus, "a").await;
    let queued = within(consumer.next()).await.unwrap();
    drop(bus);
    queued.ack();
    assert!(within(consumer.next()).await.is_none());
    assert!(matches!(within(receipt.stored()).await, Err(BusError::Closed)));
}

#[test]
fn the_keeper_of_a_subject_is_found_under_any_prefix() {
    for (subject, expected) in [
        ("dl.v1.main.7.n.1", Some(Stream::Delta)),
        ("a.b.fr.v1.main.n.1", Some(Stream::Flow)),
        ("al.v1.x", Some(Stream::Alert)),
        ("dl.po.v1.x", Some(Stream::Post)),
        ("hb.v1.node", None),
        ("dl.v2.main", None),
    ] {
        assert_eq!(Stream::keeping(subject), expected, "{subject}");
    }
}
