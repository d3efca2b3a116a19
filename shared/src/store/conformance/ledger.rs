//! The suite of [`Ledger`]; each part has recipients of its own.

use super::samples::{an_hour, at, event};
use crate::model::Severity;
use crate::store::{Delivery, EventKind, Ledger, LedgerEvent, Outcome, RecipientStats};

pub(super) mod ends;
pub(in crate::store) mod gate;

async fn accept(store: &dyn Ledger, events: Vec<LedgerEvent>, secs: i64) -> u64 {
    store.accept(events, at(secs), an_hour).await.unwrap()
}

/// Claims for a minute.
async fn claim(store: &dyn Ledger, recipient: &str, secs: i64) -> Vec<Delivery> {
    store.claim(recipient, "owner", at(secs), at(secs + 60), 100, 0).await.unwrap()
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

/// The same deliveries, claimed by another.
fn of(owner: &str, deliveries: &[Delivery]) -> Vec<Delivery> {
    let claimed = |delivery: &Delivery| Delivery { claimed_by: owner.to_owned(), ..delivery.clone() };
    deliveries.iter().map(claimed).collect()
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
        maybe_told: false,
        claimed_by: "owner".to_owned(),
    };
    let claimed = claim(store, "carry", 6).await;
    assert_eq!(claimed, std::slice::from_ref(&expected));
    assert!(claim(store, "carry", 6).await.is_empty(), "claimed is claimed");
    settle(store, &claimed[0], retry(20), 10).await;
    let again = claim(store, "carry", 20).await;
    assert_eq!(again, [Delivery { attempts: 1, ..expected.clone() }]);
    settle(store, &again[0], Outcome::Unknown { at: at(21), reason: "no answer".to_owned() }, 20).await;
    let again = claim(store, "carry", 21).await;
    assert_eq!(again, [Delivery { attempts: 2, maybe_told: true, ..expected.clone() }]);
    settle(store, &again[0], retry(22), 21).await;
    assert_eq!(claim(store, "carry", 22).await, [Delivery { attempts: 3, maybe_told: true, ..expected }]);
}

pub(super) async fn one_key_keeps_its_order_and_others_go_on(store: &dyn Ledger) {
    let events =
        [("order/a1", "a"), ("order/a2", "a"), ("order/b1", "b"), ("order/a3", "a"), ("order/b2", "b")];
    accept(store, events.iter().map(|(id, key)| event(id, key, &["order"])).collect(), 0).await;
    let first = claim(store, "order", 0).await;
    assert_eq!(ids(&first), ["order/a1", "order/b1"], "one per key");
    assert!(claim(store, "order", 0).await.is_empty());
    settle(store, &first[0], retry(30), 1).await;
    settle(store, &first[1], Outcome::DELIVERED, 1).await;
    let second = claim(store, "order", 1).await;
    assert_eq!(ids(&second), ["order/b2"], "key a waits for its oldest");
    assert!(claim(store, "order", 29).await.is_empty());
    let again = claim(store, "order", 30).await;
    assert_eq!(ids(&again), ["order/a1"]);
    settle(store, &again[0], Outcome::DELIVERED, 31).await;
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
    settle(store, &b[0], Outcome::DELIVERED, 1).await;
    assert_eq!(ids(&claim(store, "two-b", 1).await), ["two/2"]);
    assert!(claim(store, "two-a", 1).await.is_empty());
}

pub(super) async fn the_gravest_are_claimed_first_and_the_oldest_have_their_share(store: &dyn Ledger) {
    let names: Vec<_> = (0..60).map(|n| format!("grave/{n:02}")).collect();
    let grave = |n: usize| {
        if n.is_multiple_of(7) { Severity::Emergency } else { Severity::Error }
    };
    let events = names.iter().enumerate();
    let events = events.map(|(n, id)| LedgerEvent { severity: grave(n), ..event(id, id, &["grave"]) });
    accept(store, events.collect(), 0).await;
    let of = |wanted: Severity| names.iter().enumerate().filter(move |(n, _)| grave(*n) == wanted);
    let (gravest, others): (Vec<&str>, Vec<&str>) = (
        of(Severity::Emergency).map(|(_, id)| id.as_str()).collect(),
        of(Severity::Error).map(|(_, id)| id.as_str()).collect(),
    );
    let claim = |secs, limit, oldest| store.claim("grave", "o", at(secs), at(secs + 600), limit, oldest);
    assert!(claim(0, 0, 0).await.unwrap().is_empty());
    assert!(claim(0, 0, 5).await.unwrap().is_empty(), "a share of nothing");
    // Nine emergencies: five, then two more beside the three that wait longest.
    let first = claim(0, 5, 0).await.unwrap();
    assert_eq!(ids(&first), gravest[..5]);
    let second = claim(0, 5, 3).await.unwrap();
    assert_eq!(ids(&second), [&gravest[5..7], &others[..3]].concat(), "in order of severity");
    let third = claim(0, 5, 9).await.unwrap();
    assert_eq!(ids(&third), others[3..8], "all by age");
    let fourth = claim(0, 4, 0).await.unwrap();
    assert_eq!(ids(&fourth), [&gravest[7..], &others[8..10]].concat(), "among equals the oldest");
    let waiting = first.iter().map(|delivery| (delivery.clone(), retry(50))).collect();
    store.settle(waiting, at(1)).await.unwrap();
    let some = claim(1, 2, 1).await.unwrap();
    assert_eq!(ids(&some), others[10..12], "those behind many that wait are found");
    let rest = claim(50, 1000, 100).await.unwrap();
    assert_eq!(ids(&rest), [&gravest[..5], &others[12..]].concat(), "a retry keeps its place");
}

pub(super) async fn a_flood_of_grave_ones_starves_nobody(store: &dyn Ledger) {
    accept(store, vec![event("starve/old", "old", &["starve"])], 0).await;
    for round in 1..=10 {
        let grave = (0..3).map(|n| {
            let id = format!("starve/{round}/{n}");
            LedgerEvent { severity: Severity::Emergency, ..event(&id, &id, &["starve"]) }
        });
        accept(store, grave.collect(), round).await;
        let claimed =
            store.claim("starve", "o", at(round), at(900), 2, usize::from(round == 10)).await.unwrap();
        assert_eq!(claimed.len(), 2);
        assert_eq!(ids(&claimed).contains(&"starve/old"), round == 10, "{round}");
    }
    // What is given up keeps its severity for the fallback.
    let mild = LedgerEvent { severity: Severity::Info, ..event("starve/mild", "mild", &["starve-b"]) };
    accept(store, vec![mild, event("starve/grave", "grave", &["starve-a"])], 0).await;
    let given_up = store.claim("starve-a", "o", at(0), at(60), 1, 0).await.unwrap();
    let diverted = Outcome::Diverted { reason: "gone".to_owned(), to: "starve-b".to_owned() };
    settle(store, &given_up[0], diverted, 1).await;
    assert_eq!(ids(&claim(store, "starve-b", 2).await), ["starve/grave", "starve/mild"]);
}

pub(super) async fn a_claim_that_runs_out_is_claimable(store: &dyn Ledger) {
    accept(store, vec![event("expire/1", "k", &["expire"]), event("expire/2", "k", &["expire"])], 0).await;
    let lost = store.claim("expire", "lost", at(0), at(60), 10, 0).await.unwrap();
    assert!(claim(store, "expire", 59).await.is_empty());
    let again = store.claim("expire", "other", at(60), at(120), 10, 0).await.unwrap();
    let perhaps = Delivery { attempts: 1, maybe_told: true, ..lost[0].clone() };
    assert_eq!(again, of("other", &[perhaps]), "the same delivery, which may have arrived");
    check_lost(store, "expire/1", 60).await;
    assert_eq!(store.release_claims("lost").await.unwrap(), 0, "it is the other's");
    assert!(claim(store, "expire", 119).await.is_empty());
    settle(store, &again[0], Outcome::DELIVERED, 119).await;
    assert_eq!(ids(&claim(store, "expire", 119).await), ["expire/2"]);
}

pub(super) async fn an_owners_claims_can_be_released(store: &dyn Ledger) {
    accept(store, vec![event("release/1", "a", &["release"]), event("release/2", "b", &["release"])], 0)
        .await;
    let first = store.claim("release", "crashed", at(0), at(900), 1, 0).await.unwrap();
    let second = store.claim("release", "alive", at(0), at(900), 1, 0).await.unwrap();
    assert_eq!((ids(&first), ids(&second)), (vec!["release/1"], vec!["release/2"]));
    assert_eq!(store.release_claims("crashed").await.unwrap(), 1);
    assert_eq!(store.release_claims("crashed").await.unwrap(), 0);
    assert_eq!(store.next_due("release").await.unwrap(), Some(at(0)));
    assert_eq!(claim(store, "release", 1).await, of("owner", &first), "due at once, not counted as tried");
}

pub(super) async fn what_a_killed_owner_had_claimed_may_have_arrived(store: &dyn Ledger) {
    let (both, only) = (["lost-a", "lost-b"], ["lost-a"]);
    let events = [event("lost/1", "a", &both), event("lost/2", "a", &only), event("lost/3", "b", &only)];
    accept(store, events.to_vec(), 0).await;
    let killed = store.claim("lost-a", "killed", at(0), at(900), 1, 0).await.unwrap();
    let alive = store.claim("lost-a", "alive", at(0), at(900), 1, 0).await.unwrap();
    assert_eq!((ids(&killed), ids(&alive)), (vec!["lost/1"], vec!["lost/3"]));
    assert_eq!(store.claim("lost-b", "killed", at(0), at(900), 1, 0).await.unwrap().len(), 1);
    assert_eq!(store.lose_claims("killed", at(7)).await.unwrap(), 2);
    assert_eq!(store.lose_claims("killed", at(8)).await.unwrap(), 0);
    check_lost(store, "lost/1", 7).await;
    assert!(store.deliveries("lost/3").await.unwrap()[0].attempts.is_empty(), "another's claim stays");
    let again = claim(store, "lost-a", 9).await;
    let perhaps = Delivery { attempts: 1, maybe_told: true, ..killed[0].clone() };
    assert_eq!(again, of("owner", &[perhaps]), "due at once, and the second waits for it");
    settle(store, &again[0], Outcome::DELIVERED, 10).await;
    let stats = stats_of(store, "lost-a").await;
    assert_eq!((stats.attempts, stats.failed, stats.pending, stats.last_error), (2, 1, 2, None));
    let stats = stats_of(store, "lost-b").await;
    assert_eq!((stats.attempts, stats.failed), (1, 1));
    assert!(stats.last_error.unwrap().contains("without a word"));
}

/// Every delivery of an event is claimed or due, and was claimed at 0 and lost so many seconds later.
async fn check_lost(store: &dyn Ledger, event: &str, secs: i64) {
    for record in store.deliveries(event).await.unwrap() {
        let tries: Vec<_> = record.attempts.iter().map(|a| (a.started, a.at, a.outcome.as_str())).collect();
        assert_eq!(tries, [(Some(at(0)), at(secs), "unknown")], "{record:?}");
        assert!(record.reason.unwrap().contains("without a word"));
    }
}
