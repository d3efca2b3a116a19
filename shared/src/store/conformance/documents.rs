//! The suite of [`DocumentStore`].

use serde_json::json;

use super::samples::at;
use crate::store::documents::{Change, Document, DocumentKind, DocumentStore, Put};

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

pub(super) async fn the_last_version_is_in_force_and_none_is_forgotten(store: &dyn DocumentStore) {
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

pub(super) async fn who_has_not_seen_the_last_version_changes_nothing(store: &dyn DocumentStore) {
    done(store.change(change("q", Some(json!(1)), None, 1)).await.unwrap());
    for (value, expected) in [(Some(json!(2)), 0), (Some(json!(2)), 2), (None, 5)] {
        let put = store.change(change("q", value, Some(expected), 2)).await.unwrap();
        assert_eq!(put, Put::Conflict(1));
    }
    let put = store.change(change("unknown", None, None, 2)).await.unwrap();
    assert_eq!(put, Put::Conflict(0), "there is nothing to delete");
    assert_eq!(store.versions(DocumentKind::Pools, "q", 10).await.unwrap().len(), 1);
}
