//! A run that takes long.

use shared::model::{HostCounters, HostKey};
use shared::script::source::{Origin, ScriptSource};
use shared::wire::delta::HostDelta;

use super::*;

/// Takes some milliseconds for each host: catching is left to the interpreter.
const SLOW: &str =
    "#{ kind: \"host\", hooks: #{ min: |p| { for i in 0..40000 { try { i += 1; } catch { } } } } }";

const HOSTS: u32 = 3000;

fn hosts(at: Timestamp) -> Vec<HostDelta> {
    let host = |number: u32| HostDelta {
        key: HostKey::new((0x0a00_0000 + number).to_be_bytes().into(), 0),
        mac: None,
        local: true,
        last_seen: at,
        counters: HostCounters { packets_sent: 1, ..HostCounters::default() },
    };
    (0..HOSTS).map(host).collect()
}

/// A second of the second minute.
fn second(number: u64) -> Delta {
    let mut delta = of_minute("s", 1, 1);
    delta.from = delta.from.plus_secs(number as i64);
    (delta.to, delta.watermark) = (delta.from.plus_secs(1), delta.from.plus_secs(1));
    delta.producer.sequence += number;
    delta
}

async fn append(bus: &SharedBus, delta: &Delta) -> shared::bus::Receipt {
    let partition = partition::of_interface("s", 0);
    let subject = Subjects::default().delta("s", partition, "n", 0);
    bus.append(&subject, &delta.producer.sequence.to_string(), delta.encode()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_run_holds_up_neither_summaries_nor_questions() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let (name, origin, text) = ("slow".to_owned(), Origin::Inline, SLOW.to_owned());
    let sources = vec![ScriptSource { name, origin, folder: None, text }];
    let setup = ScriptSetup { sources, ..ScriptSetup::default() };
    let mut deps = AggregatorDeps { scripts: setup.into(), ..deps(&bus, &store) };
    // All hosts would take longer than that.
    deps.config.run_deadline_ms = 3000;
    let aggregator = spawn(deps).await.unwrap();

    let minute = of_minute("s", 0, 1);
    let minute = append(&bus, &Delta { hosts: hosts(minute.from), ..minute }).await;
    let mut taken = Vec::new();
    for number in 0..8 {
        taken.push(append(&bus, &second(number)).await);
    }
    for receipt in taken {
        tokio::time::timeout(DEADLINE, receipt.stored()).await.expect("it is taken").unwrap();
    }
    let rows = aggregator.live.interfaces().await.rows;
    assert_eq!(rows[0].stats["packets"], 1, "what was taken waits for the end of the run");
    assert!(!aggregator.is_idle().await, "the run goes on");
    tokio::time::timeout(DEADLINE, minute.stored()).await.expect("the run ends").unwrap();
    let applied = async {
        while !aggregator.is_idle().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, applied).await.expect("what was taken is applied");
    assert_eq!(aggregator.live.interfaces().await.rows[0].stats["packets"], 9);
    let runs = aggregator.report().await.runs;
    let run = runs[&("min".to_owned(), "host".to_owned())];
    assert!(run.reached > 0 && run.reached + run.missed == u64::from(HOSTS), "{run:?}");
    stop(aggregator).await;
}
