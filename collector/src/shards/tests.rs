use std::sync::mpsc::sync_channel;

use shared::bus::memory::{MemoryBus, MemoryConfig};
use shared::clock::SystemClock;
use shared::model::{LocalNetworks, Timestamp};
use shared::wire::delta::Delta;
use shared::wire::subject::Subjects;

use super::*;
use crate::capture::{Batch, CaptureStats, LinkType, Progress, SourceState};
use crate::config::{CollectorConfig, InterfaceConfig};
use crate::flow_alert::Place;
use crate::report::{CollectorReport, Drops};

/// A live source that is told what happens, round by round; after that it is silent.
#[derive(Default)]
struct Scripted {
    rounds: Vec<Round>,
    stats: CaptureStats,
    up: Vec<Result<bool, CaptureError>>,
}

/// A time in the future: it is later than what the interface begins with.
const NOON: i64 = 4_000_000_000;

enum Round {
    Packets(usize),
    /// Packets at so many seconds of a clock.
    At(i64),
    Fails,
    Panics,
}

impl PacketSource for Scripted {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError> {
        batch.clear();
        match self.rounds.pop() {
            Some(Round::Packets(count)) => {
                let now = SystemClock::shared().now();
                (0..count).for_each(|_| batch.push(now, LinkType::ETHERNET, 0, 60, &[0; 60]));
                Ok(SourceState::More)
            }
            Some(Round::At(second)) => {
                let at = Timestamp::from_secs(NOON + second);
                (0..10).for_each(|_| batch.push(at, LinkType::ETHERNET, 0, 60, &[0; 60]));
                Ok(SourceState::More)
            }
            Some(Round::Fails) => Err(removed()),
            Some(Round::Panics) => panic!("a defect"),
            None => {
                std::thread::yield_now();
                Ok(SourceState::Idle)
            }
        }
    }

    fn stats(&mut self) -> CaptureStats {
        self.stats
    }

    fn is_up(&mut self) -> Result<bool, CaptureError> {
        self.up.pop().unwrap_or(Ok(true))
    }

    fn name(&self) -> &'static str {
        "eth0"
    }

    fn is_live(&self) -> bool {
        true
    }

    fn progress(&self) -> Option<Progress> {
        None
    }
}

fn removed() -> CaptureError {
    CaptureError::Removed { name: "eth0".to_owned() }
}

fn args() -> InterfaceArgs {
    InterfaceArgs {
        interface: InterfaceConfig::of_files("eth0", Vec::new()),
        place: Place { site: "s".to_owned(), node: "n".to_owned(), ifid: 0, interface: "eth0".to_owned() },
        collector: CollectorConfig::default(),
        networks: Arc::new(LocalNetworks::new(Vec::new())),
        apps: Arc::default(),
        scripts: shared::script::live::LiveScripts::default(),
        bus: MemoryBus::new(MemoryConfig::default()),
        subjects: Subjects::new(""),
        clock: SystemClock::shared(),
        epoch: 1,
        seed: 1,
        flow_sink: None,
        spool_dir: None,
        resumes: false,
        totals: Arc::default(),
    }
}

/// Captures with one thread per source until they end, and gives what was handed over.
fn captured(sources: Vec<Scripted>, stop: &Stop) -> (Result<(), CaptureError>, Vec<Item>, CollectorReport) {
    let (items, mut handed) = mpsc::channel(10_000);
    let (_orders, inboxes): (Vec<_>, Vec<_>) = sources.iter().map(|_| sync_channel(1)).unzip();
    let args = args();
    let totals = Arc::clone(&args.totals);
    let sources = sources.into_iter().map(|source| Box::new(source) as Box<dyn PacketSource>).collect();
    let result = capture(args, sources, items, inboxes, stop);
    let mut all = Vec::new();
    while let Some(mut batch) = handed.blocking_recv() {
        all.append(&mut batch);
    }
    let report = totals.lock().unwrap().report();
    (result, all, report)
}

fn deltas(items: &[Item]) -> Vec<&Delta> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Delta(delta) => Some(&**delta),
            _ => None,
        })
        .collect()
}

fn alerts(items: &[Item]) -> Vec<&str> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Alert(alert) => Some(alert.alert_type.as_str()),
            _ => None,
        })
        .collect()
}

#[test]
fn what_shards_count_is_one_interface() {
    for count in [1_u64, 3] {
        let source = |n: u64| Scripted {
            rounds: if n == 0 { vec![Round::Fails, Round::Packets(10)] } else { vec![Round::Packets(10)] },
            stats: CaptureStats { received: 99, dropped_kernel: 5, dropped_interface: 3, dropped_own: 2 },
            up: Vec::new(),
        };
        let (result, items, report) = captured((0..count).map(source).collect(), &Stop::default());
        assert!(matches!(result, Err(CaptureError::Removed { .. })));
        // Each shard has a ring, but all have the same interface.
        assert_eq!(report.drops, Drops { kernel: 5 * count, interface: 3, own: 2 * count });
        let deltas = deltas(&items);
        let sum = |get: fn(&Delta) -> u64| deltas.iter().map(|delta| get(delta)).sum::<u64>();
        assert_eq!(sum(|d| d.interface.counters.drops), 7 * count + 3);
        assert_eq!(sum(|d| d.interface.counters.drops_interface), 3);
        assert_eq!(sum(|d| d.interface.counters.drops_own), 2 * count);
        assert_eq!(sum(|d| d.interface.counters.packets), report.packets);
        let numbers: Vec<_> = deltas.iter().map(|delta| delta.producer.sequence).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        assert!(deltas.is_sorted_by_key(|delta| delta.watermark));
        assert!(deltas.iter().all(|delta| delta.from > Timestamp::ZERO && !delta.end_of_stream));
    }
}

#[test]
fn a_stop_ends_silent_shards() {
    let stop = Stop::default();
    stop.tell();
    let (result, items, _) = captured(vec![Scripted::default(), Scripted::default()], &stop);
    assert!(result.is_ok());
    assert!(!deltas(&items).is_empty());
}

#[test]
fn a_shard_that_panics_ends_the_others_and_is_noticed() {
    let sources = vec![Scripted::default(), Scripted { rounds: vec![Round::Panics], ..Scripted::default() }];
    let stop = Stop::default();
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| captured(sources, &stop)));
    assert!(run.is_err() && stop.told());
}

#[test]
fn down_and_up_are_told_once_and_removal_is_the_end() {
    let up = vec![Err(removed()), Ok(true), Ok(true), Ok(false), Ok(false), Ok(true)];
    // The other shard sees the same, and says nothing.
    let other = vec![Ok(true), Ok(true), Ok(false)];
    let sources = vec![Scripted { up, ..Scripted::default() }, Scripted { up: other, ..Scripted::default() }];
    let (result, items, report) = captured(sources, &Stop::default());
    assert!(matches!(result, Err(CaptureError::Removed { .. })));
    assert_eq!(alerts(&items), ["interface_down", "interface_up"]);
    assert_eq!(report.errors["capture_interface"], 1);
}

#[test]
fn a_capture_whose_clock_is_set_back_ends_and_what_it_counted_goes_out_once() {
    let clock = |seconds: &[i64]| {
        let mut rounds: Vec<Round> = seconds.iter().map(|second| Round::At(*second)).collect();
        rounds.push(Round::Fails);
        rounds.reverse();
        captured(vec![Scripted { rounds, ..Scripted::default() }], &Stop::default())
    };
    let (result, items, report) = clock(&[7200, 7201, 7202, 3600, 3601, 3602, 3603]);
    let Err(CaptureError::ClockSetBack { seconds, .. }) = result else { panic!("{result:?}") };
    // Two more batches are counted as now, until it is sure.
    assert_eq!((seconds, report.packets, report.errors["clock_stepped"]), (3600, 50, 1));
    let deltas = deltas(&items);
    assert_eq!(deltas.iter().map(|delta| delta.interface.counters.packets).sum::<u64>(), 50);
    assert!(deltas.iter().all(|delta| !delta.end_of_stream), "it goes on");
    // A day forward is followed, and then back again is as above.
    let (result, items, _) = clock(&[0, 1, 86_400, 86_401]);
    assert!(matches!(result, Err(CaptureError::Removed { .. })));
    assert_eq!(self::deltas(&items).last().unwrap().watermark.secs(), NOON + 86_401);
    let (result, ..) = clock(&[0, 1, 86_400, 86_401, 3, 4, 5]);
    assert!(matches!(result, Err(CaptureError::ClockSetBack { seconds: 86_396, .. })), "{result:?}");
    let (result, ..) = clock(&[0, 1, 86_400, 2, 3, 86_401]);
    assert!(matches!(result, Err(CaptureError::Removed { .. })), "two that agree are not enough");
}

fn asked(count: usize) -> (Vec<Answer>, std::sync::mpsc::Receiver<serde_json::Value>) {
    let (to, answers) = std::sync::mpsc::channel();
    let reply = Reply::new(move |bytes| to.send(serde_json::from_slice(&bytes).unwrap()).unwrap());
    (Answer::split(reply, &FlowQuery::default(), count), answers)
}

#[test]
fn the_asker_hears_once_all_shards_have_answered() {
    for count in [1, 3] {
        let (parts, answers) = asked(count);
        assert_eq!(parts.len(), count);
        for part in parts {
            assert!(answers.try_recv().is_err());
            part.give(Page { items: Vec::new(), next: None });
        }
        assert_eq!(answers.try_recv().unwrap()["items"], serde_json::json!([]));
    }
}

#[test]
fn a_shard_that_does_not_answer_ends_the_question() {
    let (mut parts, answers) = asked(2);
    drop(parts.pop());
    parts.pop().unwrap().give(Page { items: Vec::new(), next: None });
    assert_eq!(answers.recv(), Err(std::sync::mpsc::RecvError));
}
