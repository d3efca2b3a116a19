//! What an aggregator notices of other processes by their words.

use std::collections::BTreeSet;

use shared::clock::Clock;
use shared::lease::Leases;
use shared::wire::heartbeat::Heartbeat;

use super::*;
use crate::config::MonitorConfig;

/// An aggregator of a group, with leases that last for a second.
async fn member(bus: &SharedBus, store: &SqliteStore, run: u64) -> Aggregator {
    let known = deps(bus, store);
    let leases: Arc<dyn Leases> = leases();
    let config = AggregatorConfig {
        monitor: MonitorConfig { enabled: false, ..Default::default() },
        ..known.config.clone()
    };
    let times = Times::of(Duration::from_secs(1));
    spawn(AggregatorDeps { alone: false, run, leases, times, config, ..known }).await.unwrap()
}

fn word(node: &str, role: &str, run: u64) -> Heartbeat {
    Heartbeat {
        node: node.to_owned(),
        site: "s".to_owned(),
        role: role.to_owned(),
        run,
        sent: SystemClock.now(),
        ..Heartbeat::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_clocks_and_partitions_that_are_wrong_are_told() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut alerts = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
    let aggregator = member(&bus, &store, 1).await;
    let say = async |word: Heartbeat| {
        bus.publish(&Subjects::default().heartbeat(&word.node), word.encode()).await.unwrap();
    };
    for run in [1, 2, 1, 2] {
        say(word("twins", "notifier", run)).await;
        let late = word("late", "collector", 7);
        say(Heartbeat { sent: late.sent.plus_secs(-3), ..late }).await;
        say(Heartbeat { partitions: 128, ..word("other", "collector", 7) }).await;
    }
    let mut told = BTreeSet::new();
    while told.len() < 3 {
        let alert = next(&mut alerts).await;
        told.insert((alert.alert_type, alert.node));
    }
    let expected = [("clock_off", "late"), ("other_partitions", "other"), ("same_name", "twins")];
    assert_eq!(told, expected.map(|(kind, node)| (kind.to_owned(), node.to_owned())).into());
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregator_whose_name_another_has_ends_and_the_other_stays() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut words = bus.subscribe("hb.v1.>").await.unwrap();
    let first = member(&bus, &store, 1).await;
    // One a tenth of a second: the first one is no newcomer any more.
    for _ in 0..10 {
        tokio::time::timeout(DEADLINE, words.next()).await.expect("it speaks").unwrap();
    }
    let second = member(&bus, &store, 2).await;
    tokio::time::timeout(DEADLINE, second.handle).await.expect("the second one ends").unwrap();
    assert!(!first.handle.is_finished());
    stop(first).await;
}
