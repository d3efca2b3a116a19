//! The suite of [`Ledger`]; each part has recipients of its own.

use super::samples::{an_hour, at, event};
use crate::model::Severity;
use crate::store::{Delivery, EventKind, Ledger, LedgerEvent, Outcome, RecipientStats};

pub(super) mod ends;
pub(super) mod gate;

async fn accept(store: &dyn Ledger, events: Vec<LedgerEvent>, secs: i64) -> u64 {
    store.accept(events, at(secs), an_hour).await.unwrap()
}

/// Claims for a minute.
async fn claim(store: &dyn Ledger, recipient: &str, secs: i64) -> Vec<Delivery> {
    store.claim(recipient, "owner", at(secs), at(secs + 60), 100).await.unwrap()
}

async fn settle(store: &dyn Ledger, delivery: &Delivery, outcome: Outcome, secs: i64) {
    store.settle(vec![(delivery.clone(), outcome)], at(secs)).await.unwrap();
}

fn retry(secs: i64) -> Outcome {
    Outcome::Retry { at: at(secs), reason: "busy".to_owned() }
}

fn dead() -> Outcome {
    Outcome::Dead { reason: "gone".to_owned() }
}

fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.event_id.as_str()).collect()
}

async fn stats_of(store: &dyn Ledger, recipient: &str) -> RecipientStats {
    let all = store.stats().await.unwrap();
    assert!(all.is_sorted_by(|a, b| a.recipient < b.recipient), "by name");
    all.into_iter().find(|stats| stats.recipient == recipient).unwrap_or_default()
}

pub(super) async fn accepting_twice_is_accepting_once(store: &dyn Ledger) {
    let before = store.outstanding().await.unwrap();
    let one = event("twice/1", "k", &["twice"]);
    assert_eq!(accept(store, vec![one.clone(), event("twice/2", "k", &["twice"]), one.clone()], 0).await, 2);
    let elsewhere = LedgerEvent { recipients: vec!["twice-other".to_owned()], ..one.clone() };
    assert_eq!(accept(store, vec![one, elsewhere], 1).await, 0);
    assert!(claim(store, "twice-other", 1).await.is_empty(), "decided once");
    assert_eq!(store.outstanding().await.unwrap(), before + 2);

    let nobody = || vec![event("twice/nobody", "k", &[])];
    assert_eq!(accept(store, nobody(), 0).await, 1);
    assert_eq!(accept(store, nobody(), 0).await, 0, "an event for nobody is on record too");
    let double = vec![event("twice/double", "d", &["twice-double", "twice-double"])];
    assert_eq!(accept(store, double, 0).await, 1);
    assert_eq!(claim(store, "twice-double", 0).await.len(), 1, "a recipient named twice gets it once");
    assert_eq!(accept(store, Vec::new(), 0).await, 0);
}

pub(super) async fn a_delivery_carries_its_event(store: &dyn Ledger) {
    let post = LedgerEvent {
        kind: EventKind::Post,
        severity: Severity::Info,
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
        ..event("carry/1", "k", &["carry"])
    };
    accept(store, vec![post.clone()], 5).await;
    assert!(claim(store, "carry", 4).await.is_empty(), "not due before it was accepted");
    let expected = Delivery {
        event_id: post.id,
        recipient: "carry".to_owned(),
        kind: EventKind::Post,
        payload: post.payload,
        traceparent: post.traceparent,
        attempts: 0,
        deadline: at(65),
        accepted_at: at(5),
        claimed_by: "owner".to_owned(),
    };
    let claimed = claim(store, "carry", 6).await;
    assert_eq!(claimed, std::slice::from_ref(&expected));
    assert!(claim(store, "carry", 6).await.is_empty(), "claimed is claimed");
    settle(store, &claimed[0], retry(20), 10).await;
    assert_eq!(claim(store, "carry", 20).await, [Delivery { attempts: 1, ..expected }]);
}

pub(super) async fn one_key_keeps_its_order_and_others_go_on(store: &dyn Ledger) {
    let events =
        [("order/a1", "a"), ("order/a2", "a"), ("order/b1", "b"), ("order/a3", "a"), ("order/b2", "b")];
    accept(store, events.iter().map(|(id, key)| event(id, key, &["order"])).collect(), 0).await;
    let first = claim(store, "order", 0).await;
    assert_eq!(ids(&first), ["order/a1", "order/b1"], "one per key");
    assert!(claim(store, "order", 0).await.is_empty());
    settle(store, &first[0], retry(30), 1).await;
    settle(store, &first[1], Outcome::Delivered, 1).await;
    let second = claim(store, "order", 1).await;
    assert_eq!(ids(&second), ["order/b2"], "key a waits for its oldest");
    assert!(claim(store, "order", 29).await.is_empty());
    let again = claim(store, "order", 30).await;
    assert_eq!(ids(&again), ["order/a1"]);
    settle(store, &again[0], Outcome::Delivered, 31).await;
    let next = claim(store, "order", 31).await;
    assert_eq!(ids(&next), ["order/a2"]);
    settle(store, &next[0], dead(), 32).await;
    assert_eq!(ids(&claim(store, "order", 32).await), ["order/a3"], "the dead block nobody");
}

pub(super) async fn recipients_do_not_wait_for_each_other(store: &dyn Ledger) {
    accept(
        store,
        vec![event("two/1", "k", &["two-a", "two-b"]), event("two/2", "k", &["two-a", "two-b"])],
        0,
    )
    .await;
    let a = claim(store, "two-a", 0).await;
    let b = claim(store, "two-b", 0).await;
    assert_eq!((ids(&a), ids(&b)), (vec!["two/1"], vec!["two/1"]));
    assert_ne!(a[0].idempotency_key(), b[0].idempotency_key());
    settle(store, &a[0], retry(1000), 1).await;
    settle(store, &b[0], Outcome::Delivered, 1).await;
    assert_eq!(ids(&claim(store, "two-b", 1).await), ["two/2"]);
    assert!(claim(store, "two-a", 1).await.is_empty());
}

pub(super) async fn the_oldest_are_claimed_first(store: &dyn Ledger) {
    let names: Vec<_> = (0..60).map(|n| format!("oldest/{n:02}")).collect();
    let grave = |n: usize| {
        if n.is_multiple_of(7) { Severity::Emergency } else { Severity::Error }
    };
    let events = names.iter().enumerate();
    let events = events.map(|(n, id)| LedgerEvent { severity: grave(n), ..event(id, id, &["oldest"]) });
    accept(store, events.collect(), 0).await;
    assert!(store.claim("oldest", "o", at(0), at(60), 0).await.unwrap().is_empty());
    let some = store.claim("oldest", "o", at(0), at(60), 40).await.unwrap();
    assert_eq!(ids(&some), names[..40], "in order of acceptance, whatever the severity");
    let waiting = some.iter().map(|delivery| (delivery.clone(), retry(50))).collect();
    store.settle(waiting, at(1)).await.unwrap();
    let some = store.claim("oldest", "o", at(1), at(60), 2).await.unwrap();
    assert_eq!(ids(&some), names[40..42], "those behind many that wait are found");
    let rest = store.claim("oldest", "o", at(50), at(60), 1000).await.unwrap();
    let expected: Vec<_> = names[..40].iter().chain(&names[42..]).collect();
    assert_eq!(ids(&rest), expected, "a retry keeps its age");
}

pub(super) async fn a_claim_that_runs_out_is_claimable(store: &dyn Ledger) {
    accept(store, vec![event("expire/1", "k", &["expire"]), event("expire/2", "k", &["expire"])], 0).await;
    let lost = store.claim("expire", "lost", at(0), at(60), 10).await.unwrap();
    assert!(claim(store, "expire", 59).await.is_empty());
    let again = store.claim("expire", "other", at(60), at(120), 10).await.unwrap();
    let same = Delivery { claimed_by: "other".to_owned(), ..lost[0].clone() };
    assert_eq!(again, [same], "the same delivery, not counted as tried");
    assert_eq!(store.release_claims("lost").await.unwrap(), 0, "it is the other's");
    assert!(claim(store, "expire", 119).await.is_empty());
    settle(store, &again[0], Outcome::Delivered, 119).await;
    assert_eq!(ids(&claim(store, "expire", 119).await), ["expire/2"]);
}

pub(super) async fn an_owners_claims_can_be_released(store: &dyn Ledger) {
    accept(store, vec![event("release/1", "a", &["release"]), event("release/2", "b", &["release"])], 0)
        .await;
    let first = store.claim("release", "crashed", at(0), at(900), 1).await.unwrap();
    let second = store.claim("release", "alive", at(0), at(900), 1).await.unwrap();
    assert_eq!((ids(&first), ids(&second)), (vec!["release/1"], vec!["release/2"]));
    assert_eq!(store.release_claims("crashed").await.unwrap(), 1);
    assert_eq!(store.release_claims("crashed").await.unwrap(), 0);
    assert_eq!(store.next_due("release").await.unwrap(), Some(at(0)));
    let again = claim(store, "release", 1).await;
    let same = Delivery { claimed_by: again[0].claimed_by.clone(), ..first[0].clone() };
    assert_eq!(again, [same], "due at once, not counted as tried");
}
