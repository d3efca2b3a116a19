//! The suite of [`DocumentStore`].

use std::sync::Arc;

use serde_json::json;

use super::events::event;
use super::samples::at;
use crate::events::Event;
use crate::store::documents::{Change, Document, DocumentKind, DocumentStore, Put, Tell};
use crate::store::events::{CALL_NS, EventStore, Outgoing};

fn change(name: &str, value: Option<serde_json::Value>, expected: Option<u64>, secs: i64) -> Change {
    let (name, by) = (name.to_owned(), "ann".to_owned());
    Change { kind: DocumentKind::Pools, name, value, expected, by, at: at(secs) }
}

fn done(put: Put) -> Document {
    match put {
        Put::Done(document) => document,
        Put::Conflict(revision) => panic!("conflict with revision {revision}"),
    }
}

pub(super) async fn the_last_version_is_in_force_and_none_is_forgotten(
    store: &(impl DocumentStore + ?Sized),
) {
    let first = done(store.change(change("p", Some(json!({"a": 1})), Some(0), 1)).await.unwrap());
    assert_eq!((first.revision, first.by.as_str(), first.at), (1, "ann", at(1)));
    let second = done(store.change(change("p", Some(json!({"a": 2})), None, 2)).await.unwrap());
    assert_eq!(store.documents(Some(DocumentKind::Pools)).await.unwrap(), std::slice::from_ref(&second));
    assert_eq!(store.documents(None).await.unwrap().len(), 1);
    assert!(store.documents(Some(DocumentKind::Scripts)).await.unwrap().is_empty());
    let gone = done(store.change(change("p", None, Some(2), 3)).await.unwrap());
    assert!(gone.value.is_null() && store.documents(None).await.unwrap().is_empty());
    let versions = store.versions(DocumentKind::Pools, "p", 10).await.unwrap();
    assert_eq!(versions, [gone, second, first]);
    assert_eq!(store.versions(DocumentKind::Pools, "p", 1).await.unwrap().len(), 1);
    let again = done(store.change(change("p", Some(json!(1)), Some(0), 4)).await.unwrap());
    assert_eq!(again.revision, 4, "revisions never come again");
}

pub(super) async fn who_has_not_seen_the_last_version_changes_nothing(store: &(impl DocumentStore + ?Sized)) {
    done(store.change(change("q", Some(json!(1)), None, 1)).await.unwrap());
    for (value, expected) in [(Some(json!(2)), 0), (Some(json!(2)), 2), (None, 5)] {
        let put = store.change(change("q", value, Some(expected), 2)).await.unwrap();
        assert_eq!(put, Put::Conflict(1));
    }
    let put = store.change(change("unknown", None, None, 2)).await.unwrap();
    assert_eq!(put, Put::Conflict(0), "there is nothing to delete");
    assert_eq!(store.versions(DocumentKind::Pools, "q", 10).await.unwrap().len(), 1);
}

pub(super) async fn a_change_and_its_events_are_one(store: &(impl DocumentStore + EventStore + ?Sized)) {
    let tell: Tell = Arc::new(|document, before| {
        let before = before.map_or(0, |before| before.revision);
        let id = format!("{before}>{}", document.revision);
        let pending = (document.revision < 3).then(|| event(&format!("call {id}"), "calls", 1000));
        Outgoing { owner: "n4/all".to_owned(), events: vec![event(&id, "changed", 1000)], pending }
    });
    let make = |value: Option<serde_json::Value>, expected| {
        let change = Change { kind: DocumentKind::Monitor, ..change("told", value, expected, 1) };
        store.change_and_tell(change, Arc::clone(&tell))
    };
    assert!(matches!(make(Some(json!(1)), Some(0)).await.unwrap(), Put::Done(_)));
    assert_eq!(make(Some(json!(2)), Some(0)).await.unwrap(), Put::Conflict(1), "nothing to tell");
    for value in [None, Some(json!(3)), None] {
        assert!(matches!(make(value, None).await.unwrap(), Put::Done(_)));
    }
    let queued = store.queued_events("n4/all", at(0), 10).await.unwrap();
    let seen: Vec<_> = queued.iter().map(|(_, event)| (event.id.as_str(), event.sequence)).collect();
    assert_eq!(seen, [("0>1", 1), ("1>2", 2), ("2>3", 3), ("3>4", 4)]);
    store.events_told(queued.into_iter().map(|(number, _)| number).collect()).await.unwrap();
    // Of two calls one ends; the other one is told of by anybody, but not before it is over for sure.
    let ended = Event { subject: "event.item.s.ended".to_owned(), ..event("call 0>1", "calls", 1001) };
    store.queue_events("n4/all", vec![ended]).await.unwrap();
    let over = 1001 + CALL_NS / 1_000_000_000;
    for (left_before, wanted) in [(0, &["ended"][..]), (over - 2, &["ended"]), (over, &["ended", "calls"])] {
        let queued = store.queued_events("n4/all", at(left_before), 10).await.unwrap();
        let of = |event: &Event| (event.subject.rsplit('.').next().unwrap().to_owned(), event.sequence);
        let seen: Vec<_> = queued.iter().filter(|(_, e)| e.key == "calls").map(|(_, e)| of(e)).collect();
        let wanted: Vec<_> =
            wanted.iter().zip(1..).map(|(name, number)| ((*name).to_owned(), number)).collect();
        assert_eq!(seen, wanted);
        if left_before == over {
            store.events_told(queued.into_iter().map(|(number, _)| number).collect()).await.unwrap();
        }
    }
    assert!(store.queued_events("n4/all", at(0), 10).await.unwrap().is_empty());
}

pub(super) async fn a_call_that_a_kill_ended_is_told_by_the_next_process(
    store: &(impl DocumentStore + EventStore + ?Sized),
) {
    let tell: Tell = Arc::new(|document, _| {
        let pending = Some(event(&format!("call {}", document.name), "killed", 1000));
        Outgoing { owner: "n6/1".to_owned(), events: Vec::new(), pending }
    });
    let of = |value| Change { kind: DocumentKind::Monitor, ..change("killed", value, None, 1) };
    assert!(matches!(store.change_and_tell(of(Some(json!(1))), tell).await.unwrap(), Put::Done(_)));
    done(store.change(of(None)).await.unwrap());
    let source = event("", "killed", 0).source;
    for (source, started) in [("/main/another", at(1001)), (&source, at(1000))] {
        assert_eq!(store.adopt_calls("n6/2", source, started).await.unwrap(), 0, "it may still go on");
        assert!(store.queued_events("n6/2", at(0), 10).await.unwrap().is_empty());
    }
    assert_eq!(store.adopt_calls("n6/2", &source, at(1001)).await.unwrap(), 1);
    assert_eq!(store.adopt_calls("n6/3", &source, at(1001)).await.unwrap(), 0, "it has somebody");
    let queued = store.queued_events("n6/2", at(0), 10).await.unwrap();
    assert_eq!(queued.iter().map(|(_, event)| event.id.as_str()).collect::<Vec<_>>(), ["call killed"]);
    store.events_told(queued.into_iter().map(|(number, _)| number).collect()).await.unwrap();
}
