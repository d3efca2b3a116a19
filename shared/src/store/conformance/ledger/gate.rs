//! Deliveries that are put off, spared or told with others, notes, and the search for what must not be.

use super::{accept, claim, ids, retry, settle, stats_of};
use crate::store::conformance::samples::{at, event};
use crate::store::{EventKind, Ledger, LedgerAudit, LedgerEvent, Outcome};

pub(in crate::store::conformance) async fn what_is_not_yet_due_waits(store: &dyn Ledger) {
    let later = LedgerEvent { not_before: Some(at(900)), ..event("later/1", "k", &["later"]) };
    let past = LedgerEvent { not_before: Some(at(-900)), ..event("later/2", "other", &["later"]) };
    accept(store, vec![later, past], 0).await;
    let now = claim(store, "later", 0).await;
    assert_eq!((ids(&now), now[0].deadline), (vec!["later/2"], at(3600)));
    settle(store, &now[0], Outcome::DELIVERED, 1).await;
    assert!(claim(store, "later", 899).await.is_empty());
    assert_eq!(store.next_due("later").await.unwrap(), Some(at(900)));
    let then = claim(store, "later", 900).await;
    assert_eq!(ids(&then), ["later/1"]);
    assert_eq!((then[0].deadline, then[0].accepted_at), (at(4500), at(0)), "its deadline counts from then");
    settle(store, &then[0], Outcome::DELIVERED, 901).await;
}

pub(in crate::store::conformance) async fn what_is_not_to_be_told_yet_has_a_later_deadline(
    store: &dyn Ledger,
) {
    accept(store, vec![event("wait/1", "k", &["wait"])], 0).await;
    for secs in [0, 4000] {
        let claimed = claim(store, "wait", secs).await;
        assert_eq!((claimed[0].attempts, claimed[0].deadline), (0, at(3600 + secs)));
        let silent = Outcome::Waits { at: at(secs + 4000), reason: "silenced: night".to_owned() };
        // Late, which makes no difference.
        settle(store, &claimed[0], silent, secs + 30).await;
        let record = store.deliveries("wait/1").await.unwrap().remove(0);
        assert_eq!((record.state.as_str(), record.reason.as_deref()), ("pending", Some("silenced: night")));
        assert!(claim(store, "wait", secs + 3999).await.is_empty());
    }
    let claimed = claim(store, "wait", 8000).await;
    settle(store, &claimed[0], retry(11_600), 8001).await;
    assert_eq!(claim(store, "wait", 11_600).await.len(), 1, "it has as long as from the beginning");
}

pub(in crate::store::conformance) async fn what_nobody_sent_is_no_attempt(store: &dyn Ledger) {
    let names = ["gate/1", "gate/2", "gate/3"];
    accept(store, names.iter().map(|id| event(id, "k", &["gate"])).collect(), 0).await;
    let first = claim(store, "gate", 0).await;
    settle(store, &first[0], Outcome::Postponed { at: at(50), reason: "held back" }, 1).await;
    let waiting = store.deliveries("gate/1").await.unwrap().remove(0);
    assert_eq!((waiting.state.as_str(), waiting.reason.as_deref()), ("pending", Some("held back")));
    assert!(claim(store, "gate", 49).await.is_empty(), "the others wait behind it");
    let first = claim(store, "gate", 50).await;
    assert_eq!((ids(&first), first[0].attempts), (vec!["gate/1"], 0));
    settle(store, &first[0], Outcome::Unknown { at: at(60), reason: "no answer".to_owned() }, 51).await;
    let first = claim(store, "gate", 60).await;
    assert_eq!(first[0].attempts, 1);
    // The one behind it was told with it, though nobody had claimed it.
    let behind = store.behind(&first[0], 1).await.unwrap();
    assert_eq!(ids(&behind), ["gate/2"]);
    let ends = vec![
        (first[0].clone(), Outcome::DELIVERED),
        (behind[0].clone(), Outcome::Merged { into: "gate/1".to_owned() }),
    ];
    store.settle(ends, at(61)).await.unwrap();
    let third = claim(store, "gate", 61).await;
    assert_eq!(ids(&third), ["gate/3"]);
    settle(store, &third[0], Outcome::Suppressed { reason: "muted".to_owned() }, 62).await;
    let stats = stats_of(store, "gate").await;
    let counts = (stats.pending, stats.delivered, stats.dead, stats.suppressed, stats.merged, stats.attempts);
    assert_eq!(counts, (0, 1, 0, 1, 1, 2));
    for (id, state, reason) in [
        ("gate/1", "delivered", None),
        ("gate/2", "merged", Some("told with gate/1")),
        ("gate/3", "suppressed", Some("muted")),
    ] {
        let record = store.deliveries(id).await.unwrap().remove(0);
        assert_eq!((record.state.as_str(), record.reason.as_deref()), (state, reason));
    }
    let tries = store.deliveries("gate/1").await.unwrap().remove(0).attempts;
    let tries: Vec<_> = tries.iter().map(|a| (a.outcome.as_str(), a.reason.as_deref())).collect();
    assert_eq!(tries, [("unknown", Some("no answer")), ("delivered", None)]);
    assert!(store.dead_letters(Some("gate"), 9).await.unwrap().is_empty());
}

pub(in crate::store::conformance) async fn what_follows_from_an_event_is_shown_with_it(store: &dyn Ledger) {
    let ids = ["follow/1", "follow/1#repeat/r/1", "follow/1#unmuted", "follow/10", "follow/1/x"];
    accept(store, ids.map(|id| event(id, id, &["follow", "follow-b"])).to_vec(), 0).await;
    let claimed = store.claim("follow", "o", at(0), at(60), 2, 0).await.unwrap();
    settle(store, &claimed[1], retry(90), 1).await;
    let records = store.deliveries("follow/1").await.unwrap();
    let found: Vec<_> = records.iter().map(|r| (r.event_id.as_str(), r.recipient.as_str())).collect();
    let expected = ids[..3].iter().flat_map(|id| [(*id, "follow"), (*id, "follow-b")]);
    assert_eq!(found, expected.collect::<Vec<_>>());
    let tries: Vec<_> = records.iter().map(|r| r.attempts.len()).collect();
    assert_eq!(tries, [0, 0, 1, 0, 0, 0], "each has its own");
    let said = store.payload("follow/1#unmuted").await.unwrap();
    assert_eq!(said, Some((EventKind::Alert, r#"{"id":"follow/1#unmuted"}"#.to_owned())));
    assert_eq!(store.payload("follow/none").await.unwrap(), None);
}

pub(in crate::store::conformance) async fn those_behind_are_seen_in_their_order(store: &dyn Ledger) {
    let own = ["behind/1", "behind/2", "behind/3"].map(|id| event(id, "k", &["behind", "behind-other"]));
    accept(store, own.to_vec(), 0).await;
    accept(store, vec![event("behind/4", "other", &["behind"])], 0).await;
    let first = store.claim("behind", "o", at(0), at(60), 1, 0).await.unwrap();
    assert_eq!(ids(&store.behind(&first[0], 9).await.unwrap()), ["behind/2", "behind/3"]);
    assert_eq!(ids(&store.behind(&first[0], 1).await.unwrap()), ["behind/2"]);
    settle(store, &first[0], Outcome::DELIVERED, 1).await;
    let second = store.claim("behind", "o", at(1), at(60), 1, 0).await.unwrap();
    let behind = store.behind(&second[0], 9).await.unwrap();
    assert_eq!((ids(&behind), behind[0].recipient.as_str()), (vec!["behind/3"], "behind"));
}

pub(in crate::store::conformance) async fn what_is_noted_is_there_until_it_is_forgotten(store: &dyn Ledger) {
    let note = |changes: &[(&str, Option<&str>)]| {
        let changes = changes.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
        store.note("noted", changes.collect())
    };
    note(&[("a", Some("1")), ("b", Some("2"))]).await.unwrap();
    note(&[("a", Some("3")), ("b", None), ("c", None)]).await.unwrap();
    let notes = store.notes("noted").await.unwrap();
    assert_eq!(notes.into_iter().collect::<Vec<_>>(), [("a".to_owned(), "3".to_owned())]);
    assert!(store.notes("noted-elsewhere").await.unwrap().is_empty());
}

/// Damage that no operation does, as SQL, and what of the search's counts has to see it.
#[cfg(test)]
pub(in crate::store) type Damage = (&'static str, fn(&LedgerAudit) -> u64);

/// One damage for each count.
#[cfg(test)]
pub(in crate::store) const DAMAGES: [Damage; 5] = [
    ("UPDATE delivery SET head = (1 = 0) WHERE recipient = 'spoilt'", |audit| audit.stuck_keys),
    ("UPDATE delivery SET state = 'claimed', claim_until = 1 WHERE event_id = 'spoilt/1'", |audit| {
        audit.forgotten_claims
    }),
    ("UPDATE lane SET pending = 77 WHERE recipient = 'spoilt'", |audit| audit.wrong_totals),
    ("DELETE FROM delivery WHERE event_id = 'spoilt/2'", |audit| audit.lost_deliveries),
    (
        "UPDATE delivery SET state = 'claimed', claim_until = 4000000000000000000 WHERE event_id = 'spoilt/2'",
        |audit| audit.out_of_order,
    ),
];

/// Accepts what [`DAMAGES`] spoil.
#[cfg(test)]
pub(in crate::store) async fn before_damage(store: &dyn Ledger) {
    accept(store, ["spoilt/1", "spoilt/2"].map(|id| event(id, "k", &["spoilt"])).to_vec(), 0).await;
    let given_up = claim(store, "spoilt", 0).await;
    // What was given up, discarded or brought back is no damage.
    settle(store, &given_up[0], super::dead(), 1).await;
    let second = claim(store, "spoilt", 1).await;
    assert_eq!(
        store.replay_dead("spoilt", None, at(2), std::time::Duration::from_secs(60)).await.unwrap(),
        1
    );
    assert_eq!(store.audit(at(2)).await.unwrap(), LedgerAudit::default());
    settle(store, &second[0], super::dead(), 2).await;
    assert_eq!(store.discard_dead("spoilt", Some("spoilt/2")).await.unwrap(), 1);
    assert_eq!(store.audit(at(3)).await.unwrap(), LedgerAudit::default());
    let again = claim(store, "spoilt", 3).await;
    settle(store, &again[0], Outcome::DELIVERED, 3).await;
    // Two that nothing has happened to.
    store.prune(at(1_000)).await.unwrap();
    accept(store, ["spoilt/1", "spoilt/2"].map(|id| event(id, "k", &["spoilt"])).to_vec(), 1_001).await;
    assert_eq!(store.audit(at(1_001)).await.unwrap(), LedgerAudit::default());
}

pub(in crate::store::conformance) async fn a_sound_ledger_has_nothing_that_must_not_be(store: &dyn Ledger) {
    accept(store, vec![event("audit/1", "k", &["audit"]), event("audit/2", "k", &["audit"])], 0).await;
    let first = store.claim("audit", "o", at(0), at(60), 1, 0).await.unwrap();
    settle(store, &first[0], retry(10_000), 1).await;
    let audit = store.audit(at(1)).await.unwrap();
    assert_eq!((audit.stuck_keys, audit.wrong_totals), (0, 0));
    assert_eq!((audit.lost_deliveries, audit.out_of_order), (0, 0));
    let lost = store.claim("audit", "lost", at(10_000), at(10_060), 1, 0).await.unwrap();
    let before: LedgerAudit = store.audit(at(10_000)).await.unwrap();
    let after = store.audit(at(10_661)).await.unwrap();
    assert!(after.forgotten_claims > before.forgotten_claims, "{before:?} {after:?}");
    settle(store, &lost[0], Outcome::DELIVERED, 10_662).await;
}
