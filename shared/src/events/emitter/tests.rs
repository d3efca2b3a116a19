use serde_json::json;

use super::*;
use crate::bus::memory::{MemoryBus, MemoryConfig};
use crate::bus::{Stream, WHOLE_STREAM};
use crate::clock::SystemClock;
use crate::events::cloud;
use crate::model::Timestamp;
use crate::store::sqlite::SqliteStore;

fn outlet(bus: &SharedBus, store: Option<SqliteStore>) -> Outlet {
    Outlet {
        bus: Arc::clone(bus),
        store: store.map(|store| Arc::new(store) as Arc<dyn EventStore>),
        subjects: Subjects::new("t"),
        clock: SystemClock::shared(),
        source: "/main/n1".to_owned(),
        owner: "n1".to_owned(),
        answers: true,
        config: EventsConfig::default(),
    }
}

fn draft(id: &str, state: &str) -> Draft {
    Draft::state("HOOK", id, state, None, json!({}))
}

#[tokio::test]
async fn what_is_recorded_is_told_in_order_with_numbers_also_after_a_restart() {
    let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
    let mut told = bus.consume(Stream::Event, "test", WHOLE_STREAM).await.unwrap();
    for store in [Some(SqliteStore::in_memory().unwrap()), None] {
        let has_store = store.is_some();
        let second = if has_store { [3, 2, 4] } else { [1, 1, 2] };
        for (life, [a, b, c]) in [(1, [1, 1, 2]), (2, second)] {
            let (emitter, task) = Emitter::start(outlet(&bus, store.clone()));
            let recording = tokio::spawn({
                let emitter = emitter.clone();
                async move { emitter.record(vec![draft("a", "X"), draft("b", "X"), draft("a", "Y")]).await }
            });
            for (subject, number) in [
                ("t.event.state.HOOK.X._.a", a),
                ("t.event.state.HOOK.X._.b", b),
                ("t.event.state.HOOK.Y._.a", c),
            ] {
                let queued = told.next().await.unwrap();
                assert_eq!(queued.subject, subject);
                let event = cloud::read(
                    &queued.subject["t.".len()..],
                    "",
                    &queued.headers,
                    &queued.payload,
                    Timestamp::ZERO,
                );
                assert_eq!(event.unwrap().sequence, number, "life {life} of {has_store}");
                queued.ack();
            }
            recording.await.unwrap().unwrap();
            if let Some(store) = &store {
                while !store.queued_events("n1", Timestamp::ZERO, 1).await.unwrap().is_empty() {
                    tokio::task::yield_now().await;
                }
            }
            drop(emitter);
            task.await.unwrap();
        }
    }
}

#[tokio::test]
async fn an_event_of_the_same_id_is_queued_once() {
    let store = SqliteStore::in_memory().unwrap();
    let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
    let mut told = bus.consume(Stream::Event, "test", WHOLE_STREAM).await.unwrap();
    let (emitter, _task) = Emitter::start(outlet(&bus, Some(store)));
    let drafts = vec![draft("a", "X").with_id("one"), draft("a", "X").with_id("one")];
    emitter.record(drafts).await.unwrap();
    emitter.record(vec![draft("a", "Z").with_id("two")]).await.unwrap();
    for subject in ["t.event.state.HOOK.X._.a", "t.event.state.HOOK.Z._.a"] {
        let queued = told.next().await.unwrap();
        assert_eq!(queued.subject, subject);
        queued.ack();
    }
}

#[tokio::test]
async fn nothing_is_told_before_whoever_wants_events_is_there() {
    let store = SqliteStore::in_memory().unwrap();
    let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
    let (emitter, _task) = Emitter::start_held(outlet(&bus, Some(store)));
    emitter.record(vec![draft("a", "X")]).await.unwrap();
    assert!(!emitter.is_released());
    // The bus would not have kept it.
    let mut told = bus.consume(Stream::Event, "test", WHOLE_STREAM).await.unwrap();
    emitter.release();
    let queued = told.next().await.unwrap();
    assert_eq!(queued.subject, "t.event.state.HOOK.X._.a");
    queued.ack();
}

#[tokio::test]
async fn what_is_recorded_when_nobody_is_there_any_more_is_told_after_the_next_start() {
    let store = SqliteStore::in_memory().unwrap();
    let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
    let mut told = bus.consume(Stream::Event, "test", WHOLE_STREAM).await.unwrap();
    let (emitter, task) = Emitter::start(outlet(&bus, Some(store.clone())));
    emitter.record(vec![draft("a", "X")]).await.unwrap();
    let queued = told.next().await.unwrap();
    queued.ack();
    emitter.hold();
    emitter.record(vec![draft("b", "X")]).await.unwrap();
    assert_eq!(store.queued_events("n1", Timestamp::ZERO, 9).await.unwrap().len(), 1, "kept and not told");
    task.abort();
    let _ = task.await;
    assert_eq!(emitter.record(vec![draft("c", "X")]).await, Err(NotTold));
    let (_next, _task) = Emitter::start(outlet(&bus, Some(store)));
    let queued = told.next().await.unwrap();
    assert_eq!(queued.subject, "t.event.state.HOOK.X._.b");
    queued.ack();
}

#[tokio::test]
async fn what_is_nested_too_deeply_is_told_as_text() {
    let store = SqliteStore::in_memory().unwrap();
    let bus: SharedBus = MemoryBus::new(MemoryConfig::default());
    let (emitter, _task) = Emitter::start_held(outlet(&bus, Some(store.clone())));
    let deep: serde_json::Value =
        serde_json::from_str(&format!("{}1{}", "[".repeat(126), "]".repeat(126))).unwrap();
    emitter.record(vec![Draft::state("HOOK", "a", "X", None, deep)]).await.unwrap();
    let queued = store.queued_events("n1", Timestamp::ZERO, 9).await.unwrap();
    assert!(queued[0].1.body.to_string().contains("\"[[["), "{}", queued[0].1.body);
}

/// A carrier outside of the process that loses the first of the messages it is given, and takes the others.
struct Lossy(std::sync::Mutex<Vec<String>>, std::sync::atomic::AtomicBool);

#[async_trait::async_trait]
impl crate::bus::Bus for Lossy {
    async fn append_with(
        &self,
        _subject: &str,
        id: &str,
        _headers: crate::bus::Headers,
        _payload: bytes::Bytes,
    ) -> Result<crate::bus::Receipt, BusError> {
        let (told, receipt) = oneshot::channel();
        let lost = !self.1.swap(true, Ordering::SeqCst);
        if !lost {
            self.0.lock().unwrap().push(id.to_owned());
        }
        let answer = if lost { Err(BusError::Unreachable("no leader".to_owned())) } else { Ok(()) };
        told.send(answer).unwrap();
        Ok(crate::bus::Receipt::new(receipt))
    }
    async fn publish_with(&self, _: &str, _: crate::bus::Headers, _: bytes::Bytes) -> Result<(), BusError> {
        Err(BusError::Closed)
    }
    async fn subscribe(&self, _: &str) -> Result<crate::bus::Subscription, BusError> {
        Err(BusError::Closed)
    }
    async fn subscribe_in(&self, _: &str, _: &str) -> Result<crate::bus::Subscription, BusError> {
        Err(BusError::Closed)
    }
    async fn request(&self, _: &str, _: bytes::Bytes, _: Duration) -> Result<bytes::Bytes, BusError> {
        Err(BusError::Closed)
    }
    async fn consume(&self, _: Stream, _: &str, _: &str) -> Result<crate::bus::Consumer, BusError> {
        Err(BusError::Closed)
    }
    fn outstanding(&self) -> Option<u64> {
        None
    }
    async fn flush(&self) -> Result<(), BusError> {
        Ok(())
    }
    async fn close(&self) {}
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_on_the_way_is_not_overtaken_by_others_of_its_key() {
    for store in [Some(SqliteStore::in_memory().unwrap()), None] {
        let lossy = Arc::new(Lossy(Default::default(), Default::default()));
        let bus: SharedBus = Arc::clone(&lossy) as SharedBus;
        let (emitter, _task) = Emitter::start(outlet(&bus, store));
        let drafts = ["1", "2", "3"].map(|id| draft("a", "X").with_id(id));
        let other = draft("b", "X").with_id("b/1\n");
        emitter.record(drafts.into_iter().chain([other]).collect()).await.unwrap();
        let told = loop {
            let told = lossy.0.lock().unwrap().clone();
            if told.len() >= 4 {
                break told;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let of_a: Vec<_> = told.iter().filter(|id| !id.contains("b/1")).collect();
        assert_eq!(of_a, ["/main/n1/1", "/main/n1/2", "/main/n1/3"], "{told:?}");
        assert!(told.contains(&"/main/n1/b/1%0A".to_owned()), "{told:?}");
    }
}
