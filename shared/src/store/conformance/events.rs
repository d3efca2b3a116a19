//! The suite of [`EventStore`].

use serde_json::json;

use super::samples::at;
use crate::events::Event;
use crate::store::events::{EventStore, Outgoing, Presence, PresenceState};

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

async fn waiting(store: &dyn EventStore, limit: usize) -> Vec<(i64, Event)> {
    store.queued_events("n1/all", at(0), limit).await.unwrap()
}

pub(super) async fn events_are_told_once_in_order_with_numbers(store: &dyn EventStore) {
    let events = vec![event("1", "a", 1), event("2", "b", 2), event("1", "a", 1)];
    store.queue_events("n1/all", events).await.unwrap();
    store.queue_events("n1/all", vec![event("3", "a", 3), event("2", "b", 2)]).await.unwrap();
    let queued = waiting(store, 10).await;
    let seen: Vec<_> = queued.iter().map(|(_, e)| (e.id.as_str(), e.key.as_str(), e.sequence)).collect();
    assert_eq!(seen, [("1", "a", 1), ("2", "b", 1), ("3", "a", 2)]);
    assert_eq!(waiting(store, 2).await.len(), 2);
    store.events_told(queued.iter().take(2).map(|(number, _)| *number).collect()).await.unwrap();
    store.queue_events("n1/all", vec![event("1", "a", 1)]).await.unwrap();
    let left = waiting(store, 10).await;
    assert_eq!(left.iter().map(|(_, e)| e.id.as_str()).collect::<Vec<_>>(), ["3"], "told is told");
    assert_eq!(store.prune_told(at(100)).await.unwrap(), 2, "what waits is not pruned");
    assert_eq!(waiting(store, 10).await, left);
}

pub(super) async fn what_one_leaves_is_told_by_another(store: &dyn EventStore) {
    let of = |source: &str, id: &str, secs| Event { source: source.to_owned(), ..event(id, "left", secs) };
    // An id is unique with its source, and keys are counted over all sources.
    store.queue_events("n2/all", vec![of("/main/n2", "x", 50), of("/main/n2", "y", 60)]).await.unwrap();
    store.queue_events("n3/all", vec![of("/main/n3", "x", 70)]).await.unwrap();
    let asked = |owner: &'static str, left_before| async move {
        let events = store.queued_events(owner, at(left_before), 10).await.unwrap();
        events.into_iter().map(|(_, e)| (e.source, e.id, e.sequence)).filter(|e| e.0 != "/main/n1").collect()
    };
    let [x, y, z] = [("n2", "x", 1), ("n2", "y", 2), ("n3", "x", 3)]
        .map(|(node, id, number)| (format!("/main/{node}"), id.to_owned(), number));
    let own: Vec<(String, String, u64)> = asked("n2/all", 0).await;
    assert_eq!(own, [x.clone(), y.clone()]);
    let with_what_is_left: Vec<(String, String, u64)> = asked("n3/all", 60).await;
    assert_eq!(with_what_is_left, [x, z.clone()], "what n2 did not tell in time");
    let left = store.queued_events("n2/all", at(0), 10).await.unwrap();
    store.events_told(left.iter().map(|(number, _)| *number).collect()).await.unwrap();
    let rest: Vec<(String, String, u64)> = asked("n3/all", 1000).await;
    assert_eq!(rest, [z]);
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

pub(super) async fn one_alone_tells_that_a_node_has_gone(store: &dyn EventStore) {
    let of = |run, state| Presence { role: "collector".to_owned(), node: "n5".to_owned(), run, state };
    let [first, lost, second] =
        [(1, PresenceState::Started), (1, PresenceState::Lost), (2, PresenceState::Started)]
            .map(|(run, state)| of(run, state));
    let turn = |before: Option<&Presence>, after: &Presence, id: &str| {
        let outgoing =
            Outgoing { owner: "n5/all".to_owned(), events: vec![event(id, "n5", 1)], pending: None };
        store.turn_presence(before.cloned(), after.clone(), at(1), outgoing)
    };
    assert!(turn(None, &first, "started").await.unwrap());
    assert!(!turn(None, &first, "started twice").await.unwrap(), "it is known");
    // Two aggregators that see the same.
    let [one, other] = [turn(Some(&first), &lost, "lost"), turn(Some(&first), &lost, "lost too")];
    let told = [one.await.unwrap(), other.await.unwrap()];
    assert_eq!(told.iter().filter(|told| **told).count(), 1);
    assert_eq!(store.presences().await.unwrap(), std::slice::from_ref(&lost));
    assert!(turn(Some(&lost), &second, "back").await.unwrap());
    let queued = store.queued_events("n5/all", at(0), 10).await.unwrap();
    assert_eq!(queued.len(), 3, "{queued:?}");
    store.events_told(queued.into_iter().map(|(number, _)| number).collect()).await.unwrap();
    store.prune_told(at(100)).await.unwrap();
    assert_eq!(store.presences().await.unwrap(), std::slice::from_ref(&second), "who is there is known");
    let stopped = of(2, PresenceState::Stopped);
    assert!(turn(Some(&second), &stopped, "stopped").await.unwrap());
    store.prune_told(at(100)).await.unwrap();
    assert!(store.presences().await.unwrap().is_empty(), "gone for long");
}
