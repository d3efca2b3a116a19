//! The suite of [`EventStore`].

use serde_json::json;

use super::samples::at;
use crate::events::Event;
use crate::store::events::EventStore;

/// An event of a source and key.
pub(super) fn event(id: &str, key: &str, secs: i64) -> Event {
    Event {
        id: id.to_owned(),
        subject: format!("event.item.s.{key}"),
        key: key.to_owned(),
        sequence: 0,
        at: at(secs),
        source: "/main/n1".to_owned(),
        depth: 0,
        traceparent: None,
        body: json!({ "kind": "item", "payload": id }),
    }
}

pub(super) async fn events_are_told_once_in_order_with_numbers(store: &dyn EventStore) {
    let events = vec![event("1", "a", 1), event("2", "b", 2), event("1", "a", 1)];
    store.queue_events(events).await.unwrap();
    store.queue_events(vec![event("3", "a", 3), event("2", "b", 2)]).await.unwrap();
    let queued = store.queued_events(10).await.unwrap();
    let seen: Vec<_> = queued.iter().map(|(_, e)| (e.id.as_str(), e.key.as_str(), e.sequence)).collect();
    assert_eq!(seen, [("1", "a", 1), ("2", "b", 1), ("3", "a", 2)]);
    assert_eq!(store.queued_events(2).await.unwrap().len(), 2);
    store.events_told(queued.iter().take(2).map(|(number, _)| *number).collect()).await.unwrap();
    store.queue_events(vec![event("1", "a", 1)]).await.unwrap();
    let left = store.queued_events(10).await.unwrap();
    assert_eq!(left.iter().map(|(_, e)| e.id.as_str()).collect::<Vec<_>>(), ["3"], "told is told");
    assert_eq!(store.prune_told(at(100)).await.unwrap(), 2, "what waits is not pruned");
    assert_eq!(store.queued_events(10).await.unwrap(), left);
}

pub(super) async fn a_session_lasts_until_it_ends_or_is_not_renewed(store: &dyn EventStore) {
    store.renew_session("ann", at(10)).await.unwrap();
    store.renew_session("bob", at(20)).await.unwrap();
    store.renew_session("ann", at(15)).await.unwrap();
    let names = |sessions: Vec<(String, _)>| sessions.into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(store.sessions(at(12)).await.unwrap()), ["ann", "bob"]);
    assert_eq!(names(store.sessions(at(15)).await.unwrap()), ["bob"]);
    assert!(store.end_session("bob").await.unwrap() && !store.end_session("bob").await.unwrap());
    assert!(store.sessions(at(12)).await.unwrap().iter().all(|(name, _)| name == "ann"));
}
