//! Two aggregator processes share the partitions over real servers, and one of them is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use shared::bus::test_server::NatsServer;
use shared::bus::{SharedBus, Stream};
use shared::model::{Alert, InterfaceCounters, Timestamp};
use shared::store::postgres::test_server::PostgresServer;
use shared::wire::delta::{Delta, InterfaceDelta, Producer};
use shared::wire::partition;
use shared::wire::subject::Subjects;

use crate::support::http::{ask, get_json};
use crate::support::program::{Running, Setup, flowhook};
use crate::support::{free_port, wait_for};

/// Interfaces of which [`put`] tells.
pub const INTERFACES: u32 = 8;

/// A second of an interface, in which it saw as many packets as its id says, and ten more: where it goes,
/// and the message.
pub fn second_of(subjects: &Subjects, ifid: u32, second: i64) -> (String, bytes::Bytes) {
    let from = Timestamp::from_secs(1_700_000_040 + second);
    let counters = InterfaceCounters { packets: u64::from(ifid) + 10, ..InterfaceCounters::default() };
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
    (subjects.delta("s", partition::of_interface("s", ifid), "c", ifid), delta.encode())
}

/// Puts these seconds of every interface on the bus.
pub async fn put(bus: &SharedBus, prefix: &str, seconds: std::ops::Range<i64>) {
    let subjects = Subjects::new(prefix);
    let mut receipts = Vec::new();
    for second in seconds {
        for ifid in 0..INTERFACES {
            let (subject, payload) = second_of(&subjects, ifid, second);
            receipts.push(bus.append(&subject, &format!("{ifid}/{second}"), payload).await.unwrap());
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

/// Raises alerts whose text tells of everything that a takeover could spoil.
const SCRIPT: &str = r#"#{
    kind: "interface",
    hooks: #{ min: |p| {
        let n = recall("n"); if n == () { n = 0 }
        remember("n", n + 1);
        store_alert(#{ message: `run ${n}: ${p.delta.packets} of ${p.stats.packets}`, value: p.delta.packets });
    } }
}"#;

/// Aggregator processes of one prefix and one database.
struct Cluster {
    prefix: &'static str,
    apis: Vec<String>,
    running: Vec<Running>,
    bus: SharedBus,
    _setups: Vec<Setup>,
}

impl Cluster {
    fn start(
        runtime: &tokio::runtime::Runtime,
        (nats, postgres): (&NatsServer, &PostgresServer),
        prefix: &'static str,
        names: &[&str],
    ) -> Self {
        runtime.block_on(postgres.database(prefix));
        let (mut apis, mut running, mut setups) = (Vec::new(), Vec::new(), Vec::new());
        for name in names {
            let port = free_port();
            let setup = Setup::new(&format!(
                "[node]\nname = \"{name}\"\nsite = \"s\"\nstate_dir = \"{{dir}}/state\"\n
                 [bus]\nkind = \"nats\"\nprefix = \"{prefix}\"\n[bus.nats]\nservers = [\"{}\"]\n
                 [store]\nkind = \"postgres\"\n[store.postgres]\nurl = \"env:TEST_DATABASE\"\n
                 [scripts]\ndir = \"{{dir}}/scripts\"\n
                 [aggregator]\nsnapshot_s = 2\n[aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n
                 [aggregator.monitor]\nenabled = false\n",
                nats.url
            ));
            std::fs::create_dir(setup.path("scripts")).unwrap();
            std::fs::write(setup.path("scripts/told.rhai"), SCRIPT).unwrap();
            let mut command = flowhook(&["aggregator", "-c", &setup.config()]);
            command.env("TEST_DATABASE", postgres.url(prefix));
            running.push(Running::start(command, &setup.path("log")));
            apis.push(format!("http://127.0.0.1:{port}/api/v1"));
            setups.push(setup);
        }
        for api in &apis {
            wait_for("all know each other", 40, || {
                let up = ask("GET", &format!("{api}/health"))?;
                let nodes = (up.0 == 200).then(|| get_json(&format!("{api}/nodes")))?;
                (nodes["items"].as_array()?.len() == names.len()).then_some(())
            });
        }
        let bus = runtime.block_on(crate::cluster::connect(&nats.url, prefix));
        Self { prefix, apis, running, bus, _setups: setups }
    }

    /// What the script told, by id; each time it came it has to be the same.
    async fn told(&self) -> BTreeMap<String, String> {
        let filter = Subjects::new(self.prefix).all("al");
        let mut alerts = self.bus.consume(Stream::Alert, "test", &filter).await.unwrap();
        let mut told = BTreeMap::new();
        // Two minutes have ended on each interface.
        while told.len() < 2 * INTERFACES as usize {
            let next = tokio::time::timeout(Duration::from_secs(60), alerts.next());
            let queued = next.await.expect("all alerts come").unwrap();
            let alert: Alert = serde_json::from_slice(&queued.payload).unwrap();
            queued.ack();
            if alert.script == "told" {
                let before = told.insert(alert.transition_id(), alert.message.clone());
                assert!(before.is_none_or(|text| text == alert.message), "{alert:?}");
            }
        }
        told
    }
}

#[test]
fn an_aggregator_process_that_is_killed_is_taken_over_with_everything_it_had_counted_and_told() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(nats) = crate::cluster::nats_server("takeover") else { return };
    let Some(postgres) = crate::cluster_store::postgres_server(&runtime, "takeover") else { return };
    let mut calm = Cluster::start(&runtime, (&nats, &postgres), "calm", &["a"]);
    runtime.block_on(put(&calm.bus, "calm", 0..130));
    wait_for("everything in a calm run", 60, || (packets(&calm.apis[0])? == counted(130)).then_some(()));
    let expected = runtime.block_on(calm.told());
    assert_eq!(calm.running[0].terminate(), Some(0));

    let mut two = Cluster::start(&runtime, (&nats, &postgres), "takeover", &["a", "b"]);
    runtime.block_on(put(&two.bus, "takeover", 0..100));
    for api in &two.apis {
        wait_for("either knows everything", 60, || (packets(api)? == counted(100)).then_some(()));
    }
    two.running[0].kill();
    runtime.block_on(put(&two.bus, "takeover", 100..130));
    // Within 15 s of the kill all partitions are held again and everything is counted.
    wait_for("the other has taken over", 15, || (packets(&two.apis[1])? == counted(130)).then_some(()));
    let row = &get_json(&format!("{}/interfaces/3", two.apis[1]))["batches"]["c"];
    assert_eq!((row["expected"].as_u64(), row["missing"].as_u64()), (Some(130), Some(0)), "{row}");
    assert_eq!(runtime.block_on(two.told()), expected, "the same alerts under the same ids");
    assert_eq!(two.running[1].terminate(), Some(0));
}
