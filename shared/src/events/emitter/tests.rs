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
                    queued.sequence,
                    &queued.headers,
                    &queued.payload,
                    Timestamp::ZERO,
                );
                assert_eq!(event.unwrap().sequence, number, "life {life} of {has_store}");
                queued.ack();
            }
            recording.await.unwrap();
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
    emitter.record(vec![draft("a", "X").with_id("one"), draft("a", "X").with_id("one")]).await;
    emitter.record(vec![draft("a", "Z").with_id("two")]).await;
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
    emitter.record(vec![draft("a", "X")]).await;
    assert!(!emitter.is_released());
    // The bus would not have kept it.
    let mut told = bus.consume(Stream::Event, "test", WHOLE_STREAM).await.unwrap();
    emitter.release();
    let queued = told.next().await.unwrap();
    assert_eq!(queued.subject, "t.event.state.HOOK.X._.a");
    queued.ack();
}
