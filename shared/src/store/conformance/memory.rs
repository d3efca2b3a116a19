//! The suite of [`MemoryStore`].

use crate::store::memory::{MemoryStore, Remembered};

fn of(partition: u32, key: &str, value: Option<&str>) -> Remembered {
    let (site, script, key) = ("s".to_owned(), "check".to_owned(), key.to_owned());
    Remembered { partition, site, ifid: 1, script, key, value: value.map(str::to_owned) }
}

pub(super) async fn the_last_value_is_remembered_until_it_is_forgotten(store: &dyn MemoryStore) {
    let [a, b] = [of(1, "a", Some("1")), of(1, "b", Some("{\"x\":[]}"))];
    store.remember(vec![of(1, "a", Some("0")), a.clone(), b.clone(), of(2, "a", Some("3"))]).await.unwrap();
    let mut all = store.remembered(1).await.unwrap();
    all.sort();
    assert_eq!(all, [a, b.clone()]);
    store.remember(vec![of(1, "a", None), of(1, "unknown", None)]).await.unwrap();
    assert_eq!(store.remembered(1).await.unwrap(), [b]);
    assert_eq!(store.remembered(2).await.unwrap().len(), 1);
    assert!(store.remembered(3).await.unwrap().is_empty());
}
