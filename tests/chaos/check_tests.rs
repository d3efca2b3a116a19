//! Each check sees what it is for: what is left of a calm run is right, and broken in one place it is not.

use super::check::{expected, faults};
use super::left::{Account, Arrived, Left, Minute, Told, Write};
use super::load::elements;

/// What is left of three minutes in which nothing broke but one aggregator.
fn calm() -> Left {
    let account = Account {
        seconds: 190,
        flows: 60,
        unheard: 0,
        unended: 0,
        stormed: vec!["storm/store".to_owned()],
        kills: vec![("a".to_owned(), 100.0, 0.0)],
        waits: vec![("KillNats".to_owned(), 3.0)],
        fenced: vec![("CutBus".to_owned(), 6.8)],
        stayed: vec![("b".to_owned(), 120.0, 130.0)],
    };
    let told = |(script, interface, text): &(String, String, String)| {
        let (message, action) = match script == "tide" {
            true => text.rsplit_once('/').unwrap(),
            false => (text.as_str(), "store"),
        };
        Told {
            transition: format!("{script}-{interface}-{message}/{action}"),
            script: script.clone(),
            interface: interface.clone(),
            message: message.to_owned(),
        }
    };
    // In alphabetical order an alert is engaged before it is released.
    let history: Vec<Told> = expected(&account).iter().map(told).collect();
    let engaged = history.iter().filter(|t| t.transition.ends_with("tide 2/engage")).cloned().collect();
    let all: Vec<String> =
        history.iter().map(|told| told.transition.clone()).chain(account.stormed.clone()).collect();
    let arrived = |transition: &String| Arrived {
        transition: transition.clone(),
        key: format!("{transition}/all"),
        taken: true,
    };
    let minute = |packets: u64| Minute { packets: (packets * 60) as f64, batches: [60.0, 60.0, 0.0] };
    let write = |fence, who: &str, at| Write { part: 3, fence, who: who.to_owned(), at };
    Left {
        counters: vec![elements().into_iter().map(|(name, packets)| (name, packets * 190)).collect(); 2],
        minutes: elements()
            .into_iter()
            .filter(|(name, _)| name.starts_with("eth"))
            .map(|(name, packets)| (name, vec![minute(packets); 3]))
            .collect(),
        engaged,
        flows: (0..60).collect(),
        exported: (60, 0),
        arrived: all.iter().map(arrived).collect(),
        ledger: all.iter().map(|id| (id.clone(), "all".to_owned(), "delivered".to_owned())).collect(),
        writes: vec![write(1, "a", 90.0), write(1, "a", 99.0), write(2, "b", 112.0)],
        peaks_kib: [("a".to_owned(), 100_000)].into(),
        history,
        account,
    }
}

/// What it breaks, and what is to be said of it.
type Break = (fn(&mut Left), &'static str);

const BREAKS: [Break; 28] = [
    (|left| *left.counters[1].get_mut("eth3").unwrap() += 1, "eth3 counted"),
    (|left| *left.counters[1].get_mut("10.0.3.1").unwrap() -= 1, "10.0.3.1 counted"),
    (|left| left.counters[1].retain(|name, _| name != "10.0.3.0/24"), "10.0.3.0/24 counted None"),
    (|left| left.minutes.get_mut("eth2").unwrap()[1].packets += 1.0, "eth2 in minute 1"),
    (|left| left.minutes.get_mut("eth2").unwrap()[2].batches[2] = 1.0, "eth2 in minute 2"),
    (|left| left.minutes.get_mut("eth2").unwrap().truncate(2), "eth2 has 2 minutes"),
    (|left| drop(left.history.pop()), "not in the history"),
    (|left| left.history.push(left.history[0].clone()), "2 times in the history"),
    (|left| left.history[0].message.push('!'), "times in the history"),
    (|left| drop(left.engaged.pop()), "engaged is false"),
    (|left| left.flows[7] = 8, "1 flows are stored twice"),
    (|left| left.flows.truncate(59), "59 flows are stored"),
    (|left| left.flows[7] = 1000, "that were not sent"),
    (|left| left.exported.0 += 1, "61 flows are counted"),
    (|left| left.exported.0 -= 1, "59 flows are counted"),
    (|left| left.arrived[4].key = "other".to_owned(), "under a key of no delivery"),
    (|left| left.arrived[4].taken = false, "did not come to the receiver"),
    (
        |left| {
            let again = Arrived { key: left.arrived[5].key.clone(), ..left.arrived[4].clone() };
            left.arrived.push(again);
        },
        "came under {",
    ),
    (|left| left.arrived.reverse(), "was released before"),
    (|left| left.ledger[2].2 = "dead".to_owned(), "is dead"),
    (|left| left.ledger.retain(|(event, ..)| event != "storm/store"), "storm/store is not in the ledger"),
    (|left| left.writes.push(Write { fence: 1, ..left.writes[1].clone() }), "under an older fence"),
    (|left| left.writes[1].who = "c".to_owned(), "another hold one fence"),
    (|left| left.writes[2].at += 30.0, "taken over after 42.0 s"),
    (|left| left.account.waits[0].1 = 40.0, "KillNats: appends waited 40.0 s"),
    (|left| left.account.fenced[0].1 = 9.0, "ended after 9.0 s"),
    (
        |left| left.writes.push(Write { fence: 3, at: 125.0, ..left.writes[2].clone() }),
        "partition 3 of b moved",
    ),
    (|left| left.peaks_kib.extend([("b".to_owned(), 1 << 20)]), "b had 1048576 KiB"),
];

#[test]
fn what_is_left_of_a_calm_run_is_right_and_each_check_sees_what_it_is_for() {
    assert_eq!(faults(&calm()), [""; 0]);
    for (number, (spoil, said)) in BREAKS.iter().enumerate() {
        let mut left = calm();
        spoil(&mut left);
        let found = faults(&left);
        assert!(found.iter().any(|fault| fault.contains(said)), "{number}, '{said}': {found:?}");
    }
    let mut left = calm();
    left.account.kills[0].0 = "c".to_owned();
    assert_eq!(faults(&left), ["c held nothing when it was killed"]);
}

/// What an earlier run has left, looked through again.
#[test]
fn what_a_run_has_left_can_be_looked_through_again() {
    let file = std::env::var_os("CHAOS_LEFT");
    let left = file.map_or_else(|| serde_json::to_vec(&calm()).unwrap(), |file| std::fs::read(file).unwrap());
    let left: Left = serde_json::from_slice(&left).unwrap();
    left.tell();
    assert_eq!(faults(&left), [""; 0]);
}
