//! The suite of [`FlowStore`].

use std::slice;

use super::samples::{at, flow};
use crate::model::query::{DEFAULT_LIMIT, FlowQuery, MAX_LIMIT};
use crate::store::{FlowStore, KeyedFlows, StoredFlow};

async fn selected(store: &dyn FlowStore, mut query: FlowQuery) -> Vec<StoredFlow> {
    let mut found = Vec::new();
    loop {
        let page = store.flows(query.clone()).await.unwrap();
        found.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next.parse().unwrap()),
            None => return found,
        }
    }
}

/// Everything last seen in `from..to` seconds.
fn within(from: i64, to: i64) -> FlowQuery {
    FlowQuery { from: Some(at(from)), to: Some(at(to)), ..Default::default() }
}

pub(super) async fn a_batch_is_added_once(store: &dyn FlowStore) {
    let batch = vec![flow(1, 10), flow(2, 11)];
    store.add_flows("n1/1".to_owned(), batch.clone()).await.unwrap();
    store.add_flows("n1/1".to_owned(), batch.clone()).await.unwrap();
    store.add_flows("n1/empty".to_owned(), Vec::new()).await.unwrap();
    assert_eq!(selected(store, within(10, 12)).await, [batch[1].clone(), batch[0].clone()]);
    store.add_flows("n1/2".to_owned(), batch[..1].to_vec()).await.unwrap();
    assert_eq!(selected(store, within(10, 12)).await.len(), 3, "another batch may hold an equal flow");
}

pub(super) async fn batches_added_together_are_each_added_once(store: &dyn FlowStore) {
    let batch = |key: &str, flows: &[StoredFlow]| KeyedFlows { key: key.to_owned(), flows: flows.to_vec() };
    let (known, new, last) = (flow(1, 50), flow(2, 51), flow(3, 52));
    store.add_flows("z/known".to_owned(), vec![known.clone()]).await.unwrap();
    let together = vec![
        batch("z/known", std::slice::from_ref(&known)),
        batch("z/new", &[new.clone(), new.clone()]),
        batch("z/empty", &[]),
        batch("z/new", &[new.clone(), new.clone()]),
        // Its key sorts before the others; it comes last all the same.
        batch("a/last", std::slice::from_ref(&last)),
    ];
    store.add_flow_batches(together.clone()).await.unwrap();
    let expected = [last, new.clone(), new, known];
    assert_eq!(selected(store, within(50, 53)).await, expected);
    store.add_flow_batches(together).await.unwrap();
    store.add_flow_batches(Vec::new()).await.unwrap();
    assert_eq!(selected(store, within(50, 53)).await, expected);
}

pub(super) async fn pages_go_newest_first(store: &dyn FlowStore) {
    // Newest means added last, whatever the time of the flow.
    let batch: Vec<_> = (0..7).map(|n| flow(n, 100 + i64::from((n * 3) % 7))).collect();
    store.add_flows("paged".to_owned(), batch.clone()).await.unwrap();
    let newest_first: Vec<_> = batch.into_iter().rev().collect();
    let query = FlowQuery { limit: 3, ..within(100, 107) };
    let first = store.flows(query.clone()).await.unwrap();
    assert_eq!(first.items, newest_first[..3]);
    assert!(first.next.is_some());
    assert_eq!(selected(store, query.clone()).await, newest_first);
    let whole = store.flows(FlowQuery { limit: 7, ..query }).await.unwrap();
    assert_eq!((whole.items.len(), whole.next), (7, None), "a page that holds all is the last");

    store.add_flows("many".to_owned(), (0..=MAX_LIMIT).map(|_| flow(1, 200)).collect()).await.unwrap();
    assert_eq!(store.flows(within(200, 201)).await.unwrap().items.len(), DEFAULT_LIMIT);
    let capped = store.flows(FlowQuery { limit: usize::MAX, ..within(200, 201) }).await.unwrap();
    assert_eq!(capped.items.len(), MAX_LIMIT);
    assert!(capped.next.is_some());
}

pub(super) async fn every_filter_selects(store: &dyn FlowStore) {
    let plain = flow(1, 1000);
    let mut other = flow(77, 1050);
    other.flow.ifid = 9;
    other.flow.client.port = 53123;
    other.flow.server.port = 53;
    other.flow.l7 = "DNS".into();
    other.flow.server.ip = "2001:db8::53".parse().unwrap();
    store.add_flows("filters".to_owned(), vec![plain.clone(), other.clone()]).await.unwrap();

    let window = || within(1000, 1051);
    assert_eq!(selected(store, window()).await, [other.clone(), plain.clone()]);
    let only_other = [
        FlowQuery { from: Some(at(1001)), ..window() },
        FlowQuery { ifid: Some(9), ..window() },
        FlowQuery { host: Some("192.0.2.77".parse().unwrap()), ..window() },
        FlowQuery { host: Some("2001:db8:0::53".parse().unwrap()), ..window() },
        FlowQuery { port: Some(53), ..window() },
        FlowQuery { port: Some(53123), ..window() },
        FlowQuery { l7: Some("DNS".to_owned()), ..window() },
        FlowQuery { host: Some("192.0.2.77".parse().unwrap()), port: Some(53), ifid: Some(9), ..window() },
    ];
    for query in only_other {
        assert_eq!(selected(store, query.clone()).await, slice::from_ref(&other), "{query:?}");
    }
    assert_eq!(selected(store, within(1000, 1050)).await, slice::from_ref(&plain), "`to` itself is outside");
    let nothing = FlowQuery { host: Some("192.0.2.77".parse().unwrap()), port: Some(443), ..window() };
    assert!(selected(store, nothing).await.is_empty());

    // A host pages over both of its roles; a flow with itself comes once.
    let mut back = flow(5, 1100);
    std::mem::swap(&mut back.flow.client, &mut back.flow.server);
    let mut own = flow(5, 1100);
    own.flow.server.ip = own.flow.client.ip;
    store.add_flows("roles".to_owned(), vec![flow(5, 1100), back.clone(), own.clone()]).await.unwrap();
    let query = FlowQuery { host: Some(own.flow.client.ip), limit: 1, ..within(1100, 1101) };
    assert_eq!(selected(store, query).await, [own, back, flow(5, 1100)]);
}

pub(super) async fn pruning_deletes_only_what_is_older(store: &dyn FlowStore) {
    const DAY: i64 = 86_400;
    store.add_flows("old".to_owned(), vec![flow(1, -9 * DAY), flow(2, -7 * DAY)]).await.unwrap();
    assert_eq!(store.prune_flows(at(-7 * DAY)).await.unwrap(), 1);
    assert_eq!(store.prune_flows(at(-7 * DAY)).await.unwrap(), 0);
    assert_eq!(selected(store, within(-10 * DAY, 0)).await, [flow(2, -7 * DAY)]);
    store.add_flows("old".to_owned(), vec![flow(1, -9 * DAY)]).await.unwrap();
    assert_eq!(
        selected(store, within(-10 * DAY, 0)).await.len(),
        1,
        "its key is known while a flow of it is"
    );
}
