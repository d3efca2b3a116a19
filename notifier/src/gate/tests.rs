use shared::model::{AlertAction, Severity};

use super::*;
use crate::testing::{alert, delivery};

const NOW: Timestamp = Timestamp::from_secs(1_000_000);

fn config(text: &str) -> GateConfig {
    toml::from_str(text).unwrap()
}

fn gate(text: &str) -> Gate {
    Gate::new(config(text), BTreeMap::new())
}

/// One of the thing `value`, accepted `secs` after [`NOW`].
fn owed(id: &str, value: &str, action: AlertAction, secs: i64) -> Delivery {
    let sample = Alert { entity_value: value.to_owned(), action, tstamp: NOW.plus_secs(secs), ..alert(id) };
    Delivery { accepted_at: NOW.plus_secs(secs), ..delivery(&sample) }
}

fn alone(delivery: Delivery) -> Due {
    Due { delivery, behind: Vec::new() }
}

fn message(telling: &Telling) -> String {
    serde_json::from_str::<Alert>(&telling.carrier.payload).unwrap().message
}

fn ids(plan: &Plan) -> (Vec<String>, Vec<(String, Outcome)>) {
    let told = plan.tell.iter().map(|telling| telling.carrier.event_id.clone());
    let put_off = plan.put_off.iter().map(|(delivery, end)| (delivery.event_id.clone(), end.clone()));
    (told.collect(), put_off.collect())
}

/// A gate that starts anew from what was noted.
fn restarted(text: &str, plans: &[&Plan]) -> Gate {
    let mut notes = BTreeMap::new();
    for (key, value) in plans.iter().flat_map(|plan| plan.notes.clone()) {
        match value {
            Some(value) => drop(notes.insert(key, value)),
            None => drop(notes.remove(&key)),
        }
    }
    Gate::new(config(text), notes)
}

use AlertAction::{Engage, Release, Store};

#[test]
fn a_gate_that_wants_nothing_is_off() {
    assert!(GateConfig::default().is_off() && GateConfig::default().check().is_ok());
    for text in ["duplicate_window_s = 1", "group_by = ['type']", "digest_above = 1", "collapse_after_s = 1"]
    {
        assert!(!config(text).is_off(), "{text}");
    }
    // These have no part in what is sent at once.
    assert!(config("repeat_s = 60\nescalate_after_s = 60\nescalate_to = 'x'").is_off());
}

#[test]
fn what_is_wrong_is_told_with_its_key() {
    for (text, key) in [
        ("duplicate_window_s = 99999999", "gate.duplicate_window_s"),
        ("digest_above = 1000", "gate.digest_above"),
        ("list_at_most = 0", "gate.list_at_most"),
        ("repeat_s = 5", "gate.repeat_s"),
        ("escalate_to = 'x'", "gate.escalate_after_s"),
        ("escalate_after_s = 5", "gate.escalate_to"),
    ] {
        assert!(config(text).check().unwrap_err().starts_with(key), "{text}");
    }
    assert!(toml::from_str::<GateConfig>("group_by = ['colour']").is_err());
}

#[test]
fn a_duplicate_is_held_back_and_then_told_with_those_that_came_meanwhile() {
    let text = "duplicate_window_s = 300";
    let mut first = gate(text);
    let told = first.plan(vec![alone(owed("a", "x", Store, 0))], 9, 0, NOW);
    assert_eq!(ids(&told), (vec!["a/store".to_owned()], Vec::new()));
    // Its own retry is no duplicate, also after a restart.
    let mut again = restarted(text, &[&told]);
    assert_eq!(
        ids(&again.plan(vec![alone(owed("a", "x", Store, 0))], 9, 0, NOW.plus_secs(5))).0,
        ["a/store"]
    );

    let mut gate = restarted(text, &[&told]);
    let later = NOW.plus_secs(10);
    let held =
        gate.plan(vec![alone(owed("b", "x", Store, 10)), alone(owed("c", "other", Store, 10))], 9, 0, later);
    let until = Outcome::Postponed { at: NOW.plus_secs(300), reason: DUPLICATE };
    assert_eq!(ids(&held), (vec!["c/store".to_owned()], vec![("b/store".to_owned(), until)]));

    let due = Due {
        delivery: owed("b", "x", Store, 10),
        behind: vec![owed("d", "x", Store, 20), owed("e", "x", Store, 30)],
    };
    let summary = gate.plan(vec![due], 9, 0, NOW.plus_secs(300));
    assert_eq!(ids(&summary).0, ["b/store"]);
    assert!(message(&summary.tell[0]).contains("(2 more since "), "{}", message(&summary.tell[0]));
    let ends = summary.tell[0].clone().others(&Outcome::DELIVERED);
    let ends: Vec<_> = ends.iter().map(|(delivery, end)| (delivery.event_id.as_str(), end.clone())).collect();
    let into = || Outcome::Merged { into: "b/store".to_owned() };
    assert_eq!(ends, [("d/store", into()), ("e/store", into())]);
    // Nobody has claimed them: while the message is tried again they stay where they are.
    let retry = Outcome::Retry { at: NOW, reason: String::new() };
    assert!(summary.tell[0].clone().others(&retry).is_empty());
}

#[test]
fn beginning_and_end_are_no_duplicates_of_each_other() {
    let mut gate = gate("duplicate_window_s = 300");
    gate.plan(vec![alone(owed("a", "x", Engage, 0))], 9, 0, NOW);
    let end = gate.plan(vec![alone(owed("a", "x", Release, 5))], 9, 0, NOW.plus_secs(5));
    assert_eq!(ids(&end).0, ["a/release"]);
    let again = gate.plan(vec![alone(owed("b", "x", Engage, 9))], 9, 0, NOW.plus_secs(9));
    assert!(again.tell.is_empty() && again.put_off.len() == 1);
}

#[test]
fn old_news_are_told_as_what_became_of_them() {
    let mut gate = gate("collapse_after_s = 600");
    let pair =
        |secs| Due { delivery: owed("a", "x", Engage, 0), behind: vec![owed("a", "x", Release, secs)] };
    let soon = gate.plan(vec![pair(5)], 9, 0, NOW.plus_secs(599));
    assert_eq!((soon.tell[0].behind.len(), soon.tell[0].carrier.event_id.as_str()), (0, "a/engage"));
    let late = gate.plan(vec![pair(5)], 9, 0, NOW.plus_secs(600));
    let said = message(&late.tell[0]);
    assert!(said.starts_with("engaged 1970-01-12") && said.contains(", could not be delivered: "), "{said}");
    assert_eq!((late.tell[0].carrier.event_id.as_str(), late.tell[0].behind.len()), ("a/engage", 1));
}

#[test]
fn a_group_waits_is_told_together_and_then_keeps_its_interval() {
    let text = "group_by = ['interface', 'type']\ngroup_wait_s = 30\ngroup_interval_s = 300";
    let mut gate = gate(text);
    let of = |id: &str, secs| alone(owed(id, id, Engage, secs));
    let waits = gate.plan(vec![of("a", 0)], 9, 0, NOW);
    let until = |secs| Outcome::Postponed { at: NOW.plus_secs(secs), reason: GROUP };
    assert_eq!(ids(&waits).1, [("a/engage".to_owned(), until(30))]);
    // Who comes later waits as long as the first, also over a restart.
    let mut gate = restarted(text, &[&waits]);
    assert_eq!(
        ids(&gate.plan(vec![of("b", 20)], 9, 0, NOW.plus_secs(20))).1,
        [("b/engage".to_owned(), until(30))]
    );
    let told = gate.plan(vec![of("b", 20), of("a", 0)], 9, 0, NOW.plus_secs(30));
    assert_eq!(ids(&told), (vec!["a/engage".to_owned()], Vec::new()));
    assert!(message(&told.tell[0]).starts_with("2 alerts: "), "{}", message(&told.tell[0]));
    let ends = told.tell[0].clone().others(&Outcome::Retry { at: NOW.plus_secs(40), reason: String::new() });
    let together = Outcome::Postponed { at: NOW.plus_secs(40), reason: WITH_OTHER };
    assert_eq!(ends[0].1, together, "both are tried again together");
    let again = gate.plan(vec![of("a", 0), of("b", 20)], 9, 0, NOW.plus_secs(40));
    assert_eq!(again.tell.len(), 1, "its own retry does not wait");
    let next = gate.plan(vec![of("c", 50)], 9, 0, NOW.plus_secs(50));
    assert_eq!(ids(&next).1, [("c/engage".to_owned(), until(340))]);
    let mut other = owed("d", "d", Engage, 50);
    other.payload = other.payload.replace("eno1", "eno2");
    assert_eq!(
        ids(&gate.plan(vec![alone(other)], 9, 0, NOW.plus_secs(50))).1[0].1,
        until(80),
        "another group"
    );
}

#[test]
fn a_storm_is_one_message_that_lists_some_and_counts_the_rest() {
    let mut gate = gate("digest_above = 20\nlist_at_most = 5");
    assert_eq!(gate.wants(1), 1000);
    let many = |count: usize| {
        (0..count).map(|n| alone(owed(&n.to_string(), &n.to_string(), Store, n as i64))).collect()
    };
    let calm = gate.plan(many(20), 4, 0, NOW.plus_secs(100));
    assert_eq!((calm.tell.len(), calm.put_off.len()), (4, 16), "what is over waits for its turn");
    assert_eq!(calm.tell[0].carrier.event_id, "0/store", "the oldest first");
    let storm = gate.plan(many(900), 4, 0, NOW.plus_secs(1000));
    assert_eq!((storm.tell.len(), storm.put_off.len(), storm.tell[0].with.len()), (1, 0, 899));
    let said = message(&storm.tell[0]);
    assert!(said.starts_with("900 alerts: ") && said.ends_with("; and 895 more"), "{said}");
}

#[test]
fn posts_and_promises_pass() {
    let mut gate = gate("duplicate_window_s = 300\ngroup_by = ['type']\ndigest_above = 1");
    let post = Delivery { kind: EventKind::Post, payload: "{}".to_owned(), ..owed("p", "p", Store, 0) };
    let broken = Delivery { payload: "{".to_owned(), ..owed("q", "q", Store, 0) };
    let plan = gate.plan(vec![alone(post), alone(broken)], 9, 0, NOW);
    assert_eq!((plan.tell.len(), plan.put_off.len()), (2, 0));
}

/// Whatever comes, each delivery is told once, alone or with others, or put off; and as long as nothing
/// new comes, everything is told in the end.
#[test]
fn nothing_gets_lost_in_a_gate() {
    let text = "duplicate_window_s = 60\ngroup_by = ['severity']\ngroup_wait_s = 10\ngroup_interval_s = 50\ndigest_above = 8";
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut gate = gate(text);
    let mut open: Vec<Delivery> = Vec::new();
    let (mut told, mut made) = (BTreeMap::<String, u32>::new(), 0);
    for step in 0..4000_i64 {
        let now = NOW.plus_secs(step);
        if step < 3000 {
            for _ in 0..random(3) {
                made += 1;
                let mut new = owed(&made.to_string(), &random(5).to_string(), Store, step);
                if random(2) == 0 {
                    new.payload = new.payload.replace(Severity::Error.name(), Severity::Warning.name());
                }
                open.push(new);
            }
        }
        // One of each thing is due, with those behind it.
        let mut due: BTreeMap<String, Due> = BTreeMap::new();
        for delivery in &open {
            let alert: Alert = serde_json::from_str(&delivery.payload).unwrap();
            match due.get_mut(&alert.order_key()) {
                Some(due) => due.behind.push(delivery.clone()),
                None => drop(due.insert(alert.order_key(), alone(delivery.clone()))),
            }
        }
        let seen = due.len();
        let plan = gate.plan(due.into_values().collect(), 3, 0, now);
        assert!(plan.tell.len() <= 3);
        let with: usize = plan.tell.iter().map(|telling| 1 + telling.with.len()).sum();
        assert_eq!(with + plan.put_off.len(), seen);
        for Telling { carrier, with, behind } in plan.tell {
            for delivery in std::iter::once(carrier).chain(with).chain(behind) {
                *told.entry(delivery.event_id.clone()).or_default() += 1;
                open.retain(|other| other.event_id != delivery.event_id);
            }
        }
    }
    assert!(open.is_empty(), "{} are still open", open.len());
    assert_eq!((told.len(), told.values().all(|count| *count == 1)), (made, true));
}

#[test]
fn where_more_is_due_than_may_be_told_the_gravest_go_first_and_the_oldest_have_their_share() {
    let due = || -> Vec<Due> {
        let of = |n: i64| {
            let severity = if n >= 6 { Severity::Critical } else { Severity::Warning };
            let sample = Alert { entity_value: n.to_string(), severity, ..alert(&n.to_string()) };
            alone(Delivery { accepted_at: NOW.plus_secs(n), ..delivery(&sample) })
        };
        (0..8).map(of).collect()
    };
    let mut gate = gate("duplicate_window_s = 1");
    let told = |oldest, gate: &mut Gate| ids(&gate.plan(due(), 3, oldest, NOW.plus_secs(60))).0;
    assert_eq!(told(0, &mut gate), ["6/engage", "7/engage", "0/engage"]);
    assert_eq!(told(1, &mut restarted("duplicate_window_s = 1", &[])), ["0/engage", "6/engage", "7/engage"]);
    let put_off = restarted("duplicate_window_s = 1", &[]).plan(due(), 3, 0, NOW.plus_secs(60)).put_off;
    let waits = Outcome::Postponed { at: NOW.plus_secs(60), reason: RATE };
    assert!(put_off.len() == 5 && put_off.iter().all(|(_, end)| *end == waits));
}
