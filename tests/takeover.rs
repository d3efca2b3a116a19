//! Two aggregator processes share the partitions over real servers, and one of them is killed.

use serde_json::Value;
use shared::bus::SharedBus;
use shared::model::{InterfaceCounters, Timestamp};
use shared::wire::delta::{Delta, InterfaceDelta, Producer};
use shared::wire::partition;
use shared::wire::subject::Subjects;

use crate::support::http::{ask, get_json};
use crate::support::program::{Running, Setup, flowhook};
use crate::support::{free_port, wait_for};

/// Interfaces of which [`put`] tells.
pub const INTERFACES: u32 = 8;

/// Seconds in each of which each interface saw as many packets as its id says, and ten more.
pub async fn put(bus: &SharedBus, prefix: &str, seconds: std::ops::Range<i64>) {
    let subjects = Subjects::new(prefix);
    let mut receipts = Vec::new();
    for second in seconds {
        for ifid in 0..INTERFACES {
            let from = Timestamp::from_secs(1_700_000_040 + second);
            let counters =
                InterfaceCounters { packets: u64::from(ifid) + 10, ..InterfaceCounters::default() };
            let delta = Delta {
                producer: Producer {
                    site: "s".into(),
                    node: "c".into(),
                    ifid,
                    interface: format!("eth{ifid}"),
                    epoch: 1,
                    sequence: second as u64 + 1,
                },
                from,
                to: from.plus_secs(1),
                watermark: from.plus_secs(1),
                interface: InterfaceDelta { counters, ..InterfaceDelta::default() },
                ..Delta::default()
            };
            let subject = subjects.delta("s", partition::of_interface("s", ifid), "c", ifid);
            receipts.push(bus.append(&subject, &format!("{ifid}/{second}"), delta.encode()).await.unwrap());
        }
    }
    for receipt in receipts {
        receipt.stored().await.unwrap();
    }
}

/// What [`put`] of so many seconds makes each interface's packets.
pub fn counted(seconds: u64) -> Vec<u64> {
    (0..u64::from(INTERFACES)).map(|id| (id + 10) * seconds).collect()
}

/// The packets of each interface, when all are known and nothing is missing.
pub fn packets(api: &str) -> Option<Vec<u64>> {
    let (_, body) = ask("GET", &format!("{api}/interfaces")).filter(|(status, _)| *status == 200)?;
    let answer: Value = serde_json::from_str(&body).ok()?;
    let items = answer["items"].as_array()?.iter().filter(|row| row["site"] == "s");
    let items: Vec<&Value> = items.collect();
    let whole = items.len() == INTERFACES as usize && answer["missing"].as_array().is_none_or(Vec::is_empty);
    whole.then(|| items.iter().map(|row| row["stats"]["packets"].as_u64().unwrap()).collect())
}

#[test]
fn an_aggregator_process_that_is_killed_is_taken_over_with_everything_it_had_counted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(nats) = crate::cluster::nats_server("takeover") else { return };
    let Some(postgres) = crate::cluster_store::postgres_server(&runtime, "takeover") else { return };
    runtime.block_on(postgres.database("takeover"));
    let ports = [free_port(), free_port()];
    let setups = [("a", ports[0]), ("b", ports[1])].map(|(name, port)| {
        Setup::new(&format!(
            "[node]\nname = \"{name}\"\nsite = \"s\"\nstate_dir = \"{{dir}}/state\"\n
             [bus]\nkind = \"nats\"\nprefix = \"takeover\"\n[bus.nats]\nservers = [\"{}\"]\n
             [store]\nkind = \"postgres\"\n[store.postgres]\nurl = \"env:TEST_DATABASE\"\n
             [aggregator]\nsnapshot_s = 2\n[aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n
             [aggregator.monitor]\nenabled = false\n",
            nats.url
        ))
    });
    let mut running = setups.each_ref().map(|setup| {
        let mut command = flowhook(&["aggregator", "-c", &setup.config()]);
        command.env("TEST_DATABASE", postgres.url("takeover"));
        Running::start(command, &setup.path("log"))
    });
    let apis = ports.map(|port| format!("http://127.0.0.1:{port}/api/v1"));
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, "takeover"));
    for api in &apis {
        wait_for("both know each other", 40, || {
            let up = ask("GET", &format!("{api}/health"))?;
            let nodes = (up.0 == 200).then(|| get_json(&format!("{api}/nodes")))?;
            (nodes["items"].as_array()?.len() == 2).then_some(())
        });
    }
    runtime.block_on(put(&bus, "takeover", 0..100));
    for api in &apis {
        wait_for("either knows everything", 60, || (packets(api)? == counted(100)).then_some(()));
    }
    running[0].kill();
    runtime.block_on(put(&bus, "takeover", 100..130));
    wait_for("the other has taken over", 40, || (packets(&apis[1])? == counted(130)).then_some(()));
    let row = &get_json(&format!("{}/interfaces/3", apis[1]))["batches"]["c"];
    assert_eq!((row["expected"].as_u64(), row["missing"].as_u64()), (Some(130), Some(0)), "{row}");
    assert_eq!(running[1].terminate(), Some(0));
}
