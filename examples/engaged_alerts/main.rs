//! What many engaged alerts cost: refreshes that change nothing, transitions on disk, a restart.
//!
//! `engaged_alerts [ALERTS]`: 100,000 unless told.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a tool for benches")]

use aggregator::alert::{AlertState, Damping, Subject};
use shared::clock::Stopwatch;
use shared::model::{Entity, Granularity, Timestamp};
use shared::script::{AlertRequest, ScriptMeta};
use shared::store::sqlite::SqliteStore;
use shared::store::{AlertStore, EngagedAlert, Transition};

/// Rounds of refreshes.
const ROUNDS: usize = 10;

/// Transitions in one transaction: what a run over some thousand hosts gives.
const TOGETHER: usize = 1000;

const DAMPING: Damping = Damping { engage_after: 1, hold_seconds: 0, flap_engages: 5, flap_window_s: 1800 };

fn subject(number: usize) -> Subject {
    Subject {
        entity: Entity::Host,
        value: format!("10.{}.{}.{}", number >> 16, (number >> 8) & 0xff, number & 0xff),
        site: "milan".to_owned(),
        node: "collector-1".to_owned(),
        ifid: 1,
        interface: "eth0".to_owned(),
        party: None,
        flow: None,
    }
}

fn trigger(state: &mut AlertState, meta: &ScriptMeta, subject: &Subject, at: i64) -> Option<Transition> {
    let request = AlertRequest {
        value: Some(2_000_000.0),
        threshold: Some(1_000_000.0),
        metric: Some("bytes".to_owned()),
        message: Some(format!("Minute traffic crossed by host {} [1.91 MB > 976.56 KB]", subject.value)),
        ..AlertRequest::default()
    };
    state.trigger(&request, meta, subject, Granularity::Min, Timestamp::from_secs(at), &DAMPING)
}

fn per_second(count: usize, since: &Stopwatch) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

fn main() {
    let count = std::env::args().nth(1).map_or(100_000, |count| count.parse().expect("a number of alerts"));
    let subjects: Vec<Subject> = (0..count).map(subject).collect();
    let meta = ScriptMeta { title: "Bytes of a host".to_owned(), ..ScriptMeta::new("host_bytes") };
    let mut state = AlertState::new(0, Vec::new());

    let begin = Stopwatch::start();
    let engaged: Vec<Transition> =
        subjects.iter().filter_map(|subject| trigger(&mut state, &meta, subject, 60)).collect();
    assert_eq!(engaged.len(), count);
    println!("engage in memory          {:>12.0} alerts/s", per_second(count, &begin));

    let begin = Stopwatch::start();
    for round in 0..ROUNDS {
        for subject in &subjects {
            let at = 120 + 60 * round as i64;
            assert!(trigger(&mut state, &meta, subject, at).is_none(), "a refresh changes nothing");
        }
    }
    println!("refresh, nothing changes  {:>12.0} alerts/s", per_second(ROUNDS * count, &begin));

    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = SqliteStore::open(folder.path()).expect("a store");
        let begin = Stopwatch::start();
        for together in engaged.chunks(TOGETHER) {
            store.apply(together.to_vec()).await.expect("stored");
        }
        println!("transitions on disk       {:>12.0} alerts/s", per_second(count, &begin));
        drop(store);

        let begin = Stopwatch::start();
        let store = SqliteStore::open(folder.path()).expect("the store again");
        let known: Vec<EngagedAlert> = store.engaged(None).await.expect("what was engaged");
        let state = AlertState::new(0, known);
        assert_eq!(state.len(), count);
        println!("restart with {count} engaged  {:>9.2} s", begin.elapsed().as_secs_f64());
    });
}
