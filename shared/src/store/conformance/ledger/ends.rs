//! How deliveries end, and what the ledger then tells of them.

use std::time::Duration;

use super::{accept, claim, dead, ids, retry, settle, stats_of};
use crate::store::conformance::samples::{at, event};
use crate::store::{Delivery, Dropped, Ledger, LedgerEvent, Outcome, RecipientStats};

const HOUR: Duration = Duration::from_secs(3600);

pub(in crate::store::conformance) async fn a_retry_past_the_deadline_is_death(store: &dyn Ledger) {
    accept(store, vec![event("late/1", "k", &["late"]), event("late/2", "k", &["late"])], 0).await;
    let first = claim(store, "late", 0).await;
    settle(store, &first[0], retry(3600), 10).await;
    let last = claim(store, "late", 3600).await;
    assert_eq!(ids(&last), ["late/1"], "a try at the deadline itself is made");
    settle(store, &last[0], retry(3601), 3600).await;
    let letters = store.dead_letters(Some("late"), 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].event_id.as_str(), letters[0].attempts, letters[0].died_at),
        ("late/1", 2, at(3600))
    );
    assert_eq!(letters[0].reason, "deadline passed: busy");
    assert_eq!(ids(&claim(store, "late", 3600).await), ["late/2"]);
}

pub(in crate::store::conformance) async fn the_dead_can_be_replayed_in_order(store: &dyn Ledger) {
    let events = ["replay/1", "replay/2", "replay/3"];
    accept(store, events.iter().map(|id| event(id, "k", &["replay"])).collect(), 0).await;
    for (n, id) in (10..).zip(&events[..2]) {
        let claimed = claim(store, "replay", n).await;
        assert_eq!(ids(&claimed), [*id]);
        settle(store, &claimed[0], dead(), n).await;
    }
    let letters = store.dead_letters(Some("replay"), 10).await.unwrap();
    let found: Vec<_> =
        letters.iter().map(|l| (l.event_id.as_str(), l.reason.as_str(), l.attempts)).collect();
    assert_eq!(found, [("replay/2", "gone", 1), ("replay/1", "gone", 1)], "newest first");
    assert_eq!(store.dead_letters(Some("replay"), 1).await.unwrap(), letters[..1]);
    let all = store.dead_letters(None, 1000).await.unwrap();
    assert!(letters.iter().all(|letter| all.contains(letter)));

    let under_way = claim(store, "replay", 20).await;
    assert_eq!(ids(&under_way), ["replay/3"]);
    assert_eq!(store.replay_dead("replay", None, at(5000), HOUR).await.unwrap(), 2);
    assert_eq!(store.replay_dead("replay", None, at(5000), HOUR).await.unwrap(), 0);
    assert!(store.dead_letters(Some("replay"), 10).await.unwrap().is_empty());
    // The claim of the third has long run out, and the replayed ones are older.
    let first = claim(store, "replay", 5000).await;
    assert_eq!((ids(&first), first[0].attempts, first[0].deadline), (vec!["replay/1"], 1, at(8600)));
    settle(store, &first[0], Outcome::DELIVERED, 5001).await;
    let second = claim(store, "replay", 5001).await;
    assert_eq!(ids(&second), ["replay/2"]);
    settle(store, &second[0], Outcome::DELIVERED, 5002).await;
    assert_eq!(ids(&claim(store, "replay", 5002).await), ["replay/3"]);
}

pub(in crate::store::conformance) async fn what_is_finished_stays_finished(store: &dyn Ledger) {
    accept(store, vec![event("final/1", "k", &["final"]), event("final/2", "k", &["final"])], 0).await;
    let slow = store.claim("final", "slow", at(0), at(60), 10, 0).await.unwrap();
    let quick = store.claim("final", "quick", at(60), at(120), 10, 0).await.unwrap();
    settle(store, &quick[0], Outcome::DELIVERED, 61).await;
    settle(store, &slow[0], retry(62), 62).await;
    settle(store, &slow[0], dead(), 63).await;
    assert_eq!(ids(&claim(store, "final", 64).await), ["final/2"], "not the first again");
    let stats = stats_of(store, "final").await;
    assert_eq!((stats.pending, stats.delivered, stats.dead, stats.attempts), (1, 1, 0, 4));
    // Another has taken over what this one held too long: its word counts as a try and for no more.
    accept(store, vec![event("stale/1", "k", &["stale"]), event("stale/2", "k", &["stale"])], 0).await;
    let late = store.claim("stale", "slow", at(0), at(60), 10, 0).await.unwrap();
    let now = store.claim("stale", "quick", at(60), at(120), 10, 0).await.unwrap();
    settle(store, &late[0], Outcome::DELIVERED, 61).await;
    assert!(claim(store, "stale", 61).await.is_empty(), "the second waits for who works on the first");
    settle(store, &now[0], Outcome::DELIVERED, 62).await;
    assert_eq!(ids(&claim(store, "stale", 62).await), ["stale/2"]);
    let unknown = Delivery { event_id: "final/unknown".to_owned(), ..slow[0].clone() };
    settle(store, &unknown, Outcome::DELIVERED, 65).await;
    assert_eq!(stats_of(store, "final").await.attempts, 4);
}

pub(in crate::store::conformance) async fn a_dead_letter_that_may_have_arrived_is_replayed_as_such(
    store: &dyn Ledger,
) {
    let unknown = |at| Outcome::Unknown { at, reason: "no answer".to_owned() };
    let because = |reason: &str| Outcome::Dead { reason: format!("{reason}: no answer") };
    let ends = [
        ("given-up", because(Dropped::Unknown.begins()), true),
        ("late", unknown(at(4000)), true),
        ("late-too", Outcome::Dead { reason: Dropped::late("no answer", true) }, true),
        ("late-and-sure", retry(4000), false),
        ("late-and-sure-too", Outcome::Dead { reason: Dropped::late("busy", false) }, false),
        ("refused", because("answered 400"), false),
    ];
    accept(store, ends.iter().map(|(id, ..)| event(id, id, &["perhaps"])).collect(), 0).await;
    let claimed = claim(store, "perhaps", 1).await;
    let results = claimed.into_iter().zip(ends.iter().map(|(_, end, _)| end.clone()));
    store.settle(results.collect(), at(2)).await.unwrap();
    assert_eq!(store.replay_dead("perhaps", None, at(5000), HOUR).await.unwrap(), 6);
    let again = claim(store, "perhaps", 5000).await;
    let told: Vec<_> = again.iter().map(|delivery| (&*delivery.event_id, delivery.maybe_told)).collect();
    assert_eq!(told, ends.map(|(id, _, perhaps)| (id, perhaps)));
}

pub(in crate::store::conformance) async fn next_due_never_lets_a_lane_sleep_forever(store: &dyn Ledger) {
    assert_eq!(store.next_due("due").await.unwrap(), None);
    accept(store, vec![event("due/1", "k", &["due"]), event("due/2", "k", &["due"])], 10).await;
    assert_eq!(store.next_due("due").await.unwrap(), Some(at(10)));
    let first = claim(store, "due", 20).await;
    assert_eq!(store.next_due("due").await.unwrap(), Some(at(80)), "when the claim runs out");
    settle(store, &first[0], retry(500), 21).await;
    assert_eq!(store.next_due("due").await.unwrap(), Some(at(500)), "the second waits for the first");
    accept(store, vec![event("due/3", "other", &["due"])], 30).await;
    assert_eq!(store.next_due("due").await.unwrap(), Some(at(30)));
    let other = claim(store, "due", 30).await;
    settle(store, &other[0], Outcome::DELIVERED, 31).await;
    let first = claim(store, "due", 500).await;
    settle(store, &first[0], Outcome::DELIVERED, 501).await;
    let due = store.next_due("due").await.unwrap().unwrap();
    assert!(due <= at(501), "the second may go as soon as the first is done");
    let second = claim(store, "due", 501).await;
    settle(store, &second[0], dead(), 502).await;
    assert_eq!(store.next_due("due").await.unwrap(), None);
    store.replay_dead("due", None, at(600), HOUR).await.unwrap();
    assert_eq!(store.next_due("due").await.unwrap(), Some(at(600)));
}

pub(in crate::store::conformance) async fn stats_count_per_recipient(store: &dyn Ledger) {
    let before = store.outstanding().await.unwrap();
    let events = ["a", "b", "c", "d"].map(|key| event(&format!("stats/{key}"), key, &["stats"]));
    accept(store, events.to_vec(), 0).await;
    let claimed = claim(store, "stats", 0).await;
    let ends = [Outcome::DELIVERED, dead(), retry(100)];
    store.settle(claimed.into_iter().zip(ends).collect(), at(1)).await.unwrap();
    let expected = RecipientStats {
        recipient: "stats".to_owned(),
        pending: 2,
        delivered: 1,
        dead: 1,
        suppressed: 0,
        merged: 0,
        attempts: 3,
        failed: 2,
        dropped: [("refused".to_owned(), 1)].into(),
        last_success: Some(at(1)),
        last_error: Some("busy".to_owned()),
    };
    assert_eq!(stats_of(store, "stats").await, expected);
    assert_eq!(store.outstanding().await.unwrap(), before + 2);
    let again = claim(store, "stats", 100).await;
    settle(store, &again[0], Outcome::DELIVERED, 101).await;
    let stats = stats_of(store, "stats").await;
    // The claim of the fourth has run out meanwhile.
    assert_eq!((stats.delivered, stats.attempts, stats.last_error), (2, 5, None), "the last try went well");
    assert_eq!((stats.failed, stats.last_success), (3, Some(at(101))));
    assert_eq!(store.replay_dead("stats", None, at(102), HOUR).await.unwrap(), 1);
    let stats = stats_of(store, "stats").await;
    assert_eq!((stats.pending, stats.dead), (2, 0));
}

pub(in crate::store::conformance) async fn what_is_not_told_is_counted_by_why(store: &dyn Ledger) {
    let spared = vec![("why".to_owned(), Dropped::Silenced), ("why-alone".to_owned(), Dropped::Muted)];
    let silent = LedgerEvent { spared, ..event("why/silent", "silent", &["why"]) };
    assert_eq!(accept(store, vec![silent.clone(), silent.clone()], 0).await, 1, "counted once");
    accept(store, vec![silent], 0).await;
    let one = claim(store, "why", 0).await;
    settle(store, &one[0], Outcome::DELIVERED, 1).await;
    let ends = [
        (Dropped::Deadline, Outcome::Dead { reason: "deadline passed: busy".to_owned() }),
        (Dropped::Unknown, Outcome::Dead { reason: format!("{}: x", Dropped::Unknown.begins()) }),
        (Dropped::Gone, Outcome::Dead { reason: "the recipient is disabled".to_owned() }),
        (
            Dropped::Refused,
            Outcome::Diverted { reason: "answered 400".to_owned(), to: "why-other".to_owned() },
        ),
        (Dropped::Acknowledged, Outcome::Suppressed { reason: "it is acknowledged".to_owned() }),
        (Dropped::Released, Outcome::Suppressed { reason: "it is released".to_owned() }),
    ];
    for (class, end) in ends {
        let id = format!("why/{}", class.name());
        accept(store, vec![event(&id, &id, &["why"])], 2).await;
        let claimed = claim(store, "why", 2).await;
        settle(store, &claimed[0], end, 3).await;
        assert_eq!(stats_of(store, "why").await.dropped[class.name()], 1, "{class:?}");
    }
    let stats = stats_of(store, "why").await;
    assert_eq!((stats.dropped.len(), stats.dropped["silenced"], stats.last_success), (7, 1, Some(at(1))));
    let alone = stats_of(store, "why-alone").await;
    assert_eq!((alone.dropped.len(), alone.dropped["muted"], alone.pending), (1, 1, 0));
}

pub(in crate::store::conformance) async fn pruning_spares_the_unfinished_and_the_dead(store: &dyn Ledger) {
    // Long before what the other parts have accepted.
    let long_ago = -1_000_000;
    let to = |id: &str, recipients: &[&str]| event(&format!("prune/{id}"), id, recipients);
    accept(
        store,
        vec![to("done", &["prune"]), to("dead", &["prune"]), to("open", &["prune"]), to("nobody", &[])],
        long_ago,
    )
    .await;
    accept(store, vec![to("half", &["prune", "prune-slow"]), to("later", &["prune"])], long_ago + 10).await;
    let claimed = claim(store, "prune", long_ago + 10).await;
    assert_eq!(claimed.len(), 5);
    for delivery in &claimed {
        let outcome = match delivery.event_id.as_str() {
            "prune/dead" => dead(),
            "prune/open" => continue,
            _ => Outcome::DELIVERED,
        };
        settle(store, delivery, outcome, long_ago + 11).await;
    }
    assert_eq!(store.prune(at(long_ago)).await.unwrap(), 0, "`before` itself stays");
    assert_eq!(store.prune(at(long_ago + 1)).await.unwrap(), 2, "done and nobody");
    assert_eq!(store.prune(at(long_ago + 11)).await.unwrap(), 1, "later, but not the half-done one");
    assert_eq!(store.dead_letters(Some("prune"), 10).await.unwrap().len(), 1);
    assert_eq!(ids(&claim(store, "prune-slow", long_ago + 20).await), ["prune/half"]);
    assert_eq!(
        accept(store, vec![to("dead", &["prune"]), to("open", &["prune"])], 0).await,
        0,
        "still known"
    );
    assert_eq!(store.replay_dead("prune", None, at(0), HOUR).await.unwrap(), 1);
}

pub(in crate::store::conformance) async fn one_dead_letter_can_be_replayed_or_discarded(store: &dyn Ledger) {
    let events = ["letter/1", "letter/2", "letter/3"];
    accept(store, events.iter().map(|id| event(id, id, &["letter"])).collect(), 0).await;
    for claimed in claim(store, "letter", 1).await {
        settle(store, &claimed, dead(), 2).await;
    }
    assert_eq!(store.replay_dead("letter", Some("letter/2"), at(3), HOUR).await.unwrap(), 1);
    assert_eq!(store.replay_dead("letter", Some("letter/2"), at(3), HOUR).await.unwrap(), 0);
    assert_eq!(store.discard_dead("letter", Some("letter/1")).await.unwrap(), 1);
    assert!(store.deliveries("letter/1").await.unwrap().is_empty());
    let again = claim(store, "letter", 4).await;
    assert_eq!(ids(&again), ["letter/2"]);
    let answer = Some("answered 204".to_owned());
    settle(store, &again[0], Outcome::Delivered { answer: answer.clone() }, 5).await;
    let record = store.deliveries("letter/2").await.unwrap().remove(0);
    assert_eq!((&record.attempts[0].answer, &record.attempts[1].answer), (&None, &answer));
    let tries: Vec<_> =
        record.attempts.iter().map(|a| (a.at, a.outcome.as_str(), a.reason.as_deref())).collect();
    assert_eq!(tries, [(at(2), "dead", Some("gone")), (at(5), "delivered", None)]);
    let started: Vec<_> = record.attempts.iter().map(|a| (a.started, a.took_ms)).collect();
    assert_eq!(started, [(Some(at(1)), Some(1000)), (Some(at(4)), Some(1000))]);
    assert_eq!((record.state.as_str(), record.finished_at, record.next_at), ("delivered", Some(at(5)), None));
    assert_eq!(store.discard_dead("letter", None).await.unwrap(), 1, "the delivered one is no dead letter");
    let stats = stats_of(store, "letter").await;
    assert_eq!((stats.pending, stats.delivered, stats.dead), (0, 1, 0));
}

pub(in crate::store::conformance) async fn what_is_given_up_can_go_to_another(store: &dyn Ledger) {
    accept(store, vec![event("divert/1", "k", &["first"]), event("divert/2", "k", &["first", "second"])], 0)
        .await;
    let diverted = || Outcome::Diverted { reason: "gone".to_owned(), to: "second".to_owned() };
    for secs in [1, 2] {
        let claimed = claim(store, "first", secs).await;
        settle(store, &claimed[0], diverted(), secs).await;
    }
    let first = claim(store, "second", 3).await;
    assert_eq!(ids(&first), ["divert/2"], "it had that one already; one key keeps its order");
    assert_eq!(first.len(), 1);
    settle(store, &first[0], Outcome::DELIVERED, 4).await;
    let then = claim(store, "second", 5).await;
    assert_eq!(ids(&then), ["divert/1"]);
    assert_eq!(then[0].deadline, at(3601), "an hour from when it was given up");
    settle(store, &then[0], Outcome::DELIVERED, 6).await;
    let stats = stats_of(store, "first").await;
    assert_eq!((stats.pending, stats.dead), (0, 2));
    assert_eq!(stats_of(store, "second").await.delivered, 2);
    let records = store.deliveries("divert/1").await.unwrap();
    let known: Vec<_> = records.iter().map(|r| (r.recipient.as_str(), r.state.as_str())).collect();
    assert_eq!(known, [("first", "dead"), ("second", "delivered")]);
}
