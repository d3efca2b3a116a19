//! Role processes joined by a real NATS server that keep their things on a real PostgreSQL server.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use shared::bus::SharedBus;
use shared::model::{Entity, Granularity, Timestamp};
use shared::store::Ledger;
use shared::store::postgres::PostgresStore;
use shared::store::postgres::test_server::PostgresServer;
use shared::store::series::{SeriesStore, TopQuery};
use shared::wire::subject::Subjects;

use crate::support::http::{Recorder, ask, get_json};
use crate::support::program::{Running, Said, Setup, flowhook, run_fails, text};
use crate::support::{data, free_port, wait_for};

/// A real server for the time of a test; `None`, said loudly, where none is installed.
pub fn postgres_server(runtime: &tokio::runtime::Runtime, test: &str) -> Option<PostgresServer> {
    runtime.block_on(PostgresServer::start(test))
}

/// Appends test alerts; ends when the bus has them.
async fn publish(bus: &SharedBus, prefix: &str, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let alert = crate::cluster::alert(number);
        let subjects = Subjects::new(prefix);
        let subject = subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
        let json = serde_json::to_vec(&alert).unwrap();
        let receipt = bus.append(&subject, &alert.transition_id(), json.into()).await.unwrap();
        receipt.stored().await.unwrap();
    }
}

/// How often each alert came, by its idempotency key; and the types of all.
fn arrived(recorder: &Recorder) -> (BTreeMap<String, Vec<String>>, BTreeSet<String>) {
    let (mut keys, mut types) = (BTreeMap::<String, Vec<String>>::new(), BTreeSet::new());
    for request in recorder.requests() {
        for alert in request.json()["alerts"].as_array().unwrap() {
            let id = format!("{}/{}", alert["id"].as_str().unwrap(), alert["action"].as_str().unwrap());
            keys.entry(id).or_default().push(alert["idempotency_key"].as_str().unwrap().to_owned());
            types.insert(alert["type"].as_str().unwrap().to_owned());
        }
    }
    (keys, types)
}

fn ids(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| crate::cluster::alert(number).transition_id()).collect()
}

#[test]
fn roles_share_a_postgresql_that_is_killed_and_everything_arrives_under_one_key() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(nats) = crate::cluster::nats_server("roles on PostgreSQL") else { return };
    let Some(mut postgres) = postgres_server(&runtime, "roles on PostgreSQL") else { return };
    let database = runtime.block_on(postgres.database("roles"));
    let url = postgres.url("roles");
    let recorder = Recorder::start();
    let port = free_port();
    let demo = std::fs::read_to_string(format!("{}/config/demo.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let setup = |name: &str, more: &str| {
        let own = demo
            .replace("demo-node", name)
            .replace("http://127.0.0.1:9099/alerts", &format!("{}/{name}", recorder.url()))
            .replace("dir = \"config/demo/scripts\"", "")
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"))
            .replace("[notifier]\n", "[notifier]\nclaim_lease_s = 20\n")
            .replace("[node]\n", "[node]\nstate_dir = \"{dir}/state\"\nsecret_key = \"env:TEST_KEY\"\n");
        Setup::new(&format!(
            "{own}\n[bus]\nkind = \"nats\"\nprefix = \"pg\"\n[bus.nats]\nservers = [\"{}\"]\n
             [store]\nkind = \"postgres\"\n[store.postgres]\nurl = \"env:TEST_DATABASE\"\nconnect_timeout_s = 1\n{more}",
            nats.url
        ))
    };
    let start = |role: &str, setup: &Setup| {
        let mut command = flowhook(&[role, "-c", &setup.config()]);
        command.env("TEST_DATABASE", &url).env("TEST_KEY", "5a".repeat(32));
        Running::start(command, &setup.path("log"))
    };
    let (one, two, aggregator) = (setup("n1", ""), setup("n2", ""), setup("a1", ""));
    let mut first = start("notifier", &one);
    let mut second = start("notifier", &two);
    let mut third = start("aggregator", &aggregator);
    let api = format!("http://127.0.0.1:{port}/api/v1");
    wait_for("the API", 30, || ask("GET", &format!("{api}/health")).filter(|(status, _)| *status == 200));
    assert!(!aggregator.path("state/ledger.db").exists(), "alerts and deliveries are kept in no file");

    // The server dies in the middle of the deliveries, and a capture comes while it is away.
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, "pg"));
    let publisher = {
        let bus = std::sync::Arc::clone(&bus);
        runtime.spawn(async move { publish(&bus, "pg", 0..600).await })
    };
    wait_for("deliveries before the kill", 60, || (arrived(&recorder).0.len() >= 60).then_some(()));
    postgres.kill();
    let capture = data("demo.pcap");
    let files = format!("\n[[collector.interface]]\nname = \"file\"\nfiles = [\"{}\"]\n", text(&capture));
    let collecting = setup("c1", &files);
    let mut collector = start("collector", &collecting);
    wait_for("a notifier that misses its store", 30, || {
        std::fs::read_to_string(one.path("log")).unwrap().contains("the store fails").then_some(())
    });
    runtime.block_on(postgres.restart());
    runtime.block_on(publisher).unwrap();

    let wanted: BTreeSet<String> = ids(0..600).into_iter().collect();
    wait_for("every alert at the webhook", 120, || {
        let (keys, types) = arrived(&recorder);
        let types_there = ["unexpected_dns", "syn_scan", "store_failed"].iter().all(|t| types.contains(*t));
        (types_there && wanted.iter().all(|id| keys.contains_key(id))).then_some(())
    });
    // What was counted while the store was away is whole.
    let interfaces = get_json(&format!("{api}/interfaces"));
    assert_eq!(interfaces["items"][0]["stats"]["packets"], 3529, "{interfaces}");
    wait_for("all in the history", 60, || {
        let (status, body) = ask("GET", &format!("{api}/alerts?limit=1000"))?;
        let body: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let found: BTreeSet<&str> =
            body["items"].as_array()?.iter().filter_map(|a| a["id"].as_str()).collect();
        wanted.iter().all(|id| found.contains(id.split('/').next().unwrap_or_default())).then_some(())
    });
    for (id, keys) in arrived(&recorder).0 {
        assert!(keys.iter().all(|key| *key == keys[0]), "{id} came with different keys: {keys:?}");
    }

    // In quiet times each delivery is made once, by one of both.
    runtime.block_on(publish(&bus, "pg", 1000..1200));
    let calm = ids(1000..1200);
    wait_for("the quiet ones", 60, || {
        let keys = arrived(&recorder).0;
        calm.iter().all(|id| keys.contains_key(id)).then_some(())
    });
    let keys = arrived(&recorder).0;
    assert!(calm.iter().all(|id| keys[id].len() == 1), "each once");
    let to = |path: &str| recorder.requests_to(path).len();
    assert!(to("/n1") > 0 && to("/n2") > 0, "both take part: {} and {}", to("/n1"), to("/n2"));

    // One notifier dies with claims in hand; the other takes over when they have run out.
    let publisher = {
        let bus = std::sync::Arc::clone(&bus);
        runtime.spawn(async move { publish(&bus, "pg", 2000..2300).await })
    };
    let last = ids(2000..2300);
    let there = || last.iter().filter(|id| arrived(&recorder).0.contains_key(*id)).count();
    wait_for("some of the last", 60, || (there() >= 20).then_some(()));
    first.kill();
    runtime.block_on(publisher).unwrap();
    wait_for("all of the last", 90, || (there() == last.len()).then_some(()));
    let store = runtime.block_on(PostgresStore::open(&database)).unwrap();
    // No minute of the time series is missing either.
    let bytes = runtime.block_on(store.top(TopQuery {
        entity: Entity::Interface,
        site: None,
        ifid: None,
        period: Granularity::Min,
        from: Timestamp::ZERO,
        to: Timestamp::MAX,
        places: vec![0],
        limit: 10,
    }));
    let bytes: Vec<u64> = bytes.unwrap().into_iter().map(|(_, sum)| sum).collect();
    assert_eq!(bytes, [interfaces["items"][0]["stats"]["bytes"].as_u64().unwrap()]);
    wait_for("an empty ledger", 60, || (runtime.block_on(store.outstanding()).ok()? == 0).then_some(()));
    for (id, keys) in arrived(&recorder).0 {
        assert!(keys.iter().all(|key| *key == keys[0]), "{id} came with different keys: {keys:?}");
    }
    for process in [&mut collector, &mut third, &mut second] {
        assert_eq!(process.terminate(), Some(0));
    }
}

#[test]
fn a_store_that_cannot_be_used_is_named_at_the_start() {
    let port = free_port();
    let with = |settings: &str| {
        Setup::new(&format!(
            "[node]\nstate_dir = \"{{dir}}/state\"\n[store]\nkind = \"postgres\"\n[store.postgres]\n{settings}\n"
        ))
    };
    let gone = with(&format!("url = \"postgresql://u:hunter2@127.0.0.1:{port}/db\""));
    let stderr = run_fails(&["run", "-c", &gone.config()], 1);
    assert!(stderr.contains(&port.to_string()) && !stderr.contains("hunter2"), "{stderr}");
    let wrong = with("url = \"mysql://u:hunter2@h/db\"\npool_size = 0\nschema = \"a b\"");
    for command in ["run", "check"] {
        let stderr = run_fails(&[command, "-c", &wrong.config()], 3);
        for key in ["store.postgres.url", "store.postgres.pool_size", "store.postgres.schema"] {
            assert!(stderr.contains(key) && !stderr.contains("hunter2"), "{key}: {stderr}");
        }
    }
    let missing = with("url = \"env:NO_SUCH_VARIABLE\"");
    let stderr = run_fails(&["check", "-c", &missing.config()], 3);
    assert!(stderr.contains("NO_SUCH_VARIABLE"), "{stderr}");
    let shown = with("url = \"postgresql://u:hunter2@h/db\"");
    let mut dump: Command = flowhook(&["config", "dump", "-c", &shown.config()]);
    let output = String::from_utf8(dump.said().unwrap().stdout).unwrap();
    assert!(output.contains("postgres") && !output.contains("hunter2"), "{output}");
}

#[test]
fn sites_that_keep_to_themselves_have_a_schema_each_and_count_their_own() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(nats) = crate::cluster::nats_server("own sites") else { return };
    let Some(postgres) = postgres_server(&runtime, "own sites") else { return };
    runtime.block_on(postgres.database("sites"));
    let setup = |site: &str, schema: &str, port: u16, more: &str| {
        Setup::new(&format!(
            "[node]\nname = \"{site}-{port}\"\nsite = \"{site}\"\nstate_dir = \"{{dir}}/state\"\n
             secret_key = \"env:TEST_KEY\"\n[bus]\nkind = \"nats\"\nprefix = \"sites\"\n
             [bus.nats]\nservers = [\"{}\"]\n[store]\nkind = \"postgres\"\n
             [store.postgres]\nurl = \"env:TEST_DATABASE\"\nschema = \"{schema}\"\n
             [aggregator]\nonly_own_site = true\n[aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n{more}",
            nats.url
        ))
    };
    let command = |role: &str, setup: &Setup| {
        let mut command = flowhook(&[role, "-c", &setup.config()]);
        command.env("TEST_DATABASE", postgres.url("sites")).env("TEST_KEY", "5a".repeat(32));
        command
    };
    let start = |role: &str, setup: &Setup| Running::start(command(role, setup), &setup.path("log"));
    let ports = [free_port(), free_port()];
    let sites = ["berlin", "oslo"];
    let aggregators = [0, 1].map(|n| setup(sites[n], sites[n], ports[n], ""));
    let mut running: Vec<Running> = aggregators.iter().map(|setup| start("aggregator", setup)).collect();
    let capture = data("demo.pcap");
    let files = format!("[[collector.interface]]\nname = \"file\"\nfiles = [\"{}\"]\n", text(&capture));
    let collectors = sites.map(|site| setup(site, site, free_port(), &files));
    running.extend(collectors.iter().map(|setup| start("collector", setup)));
    for (site, port) in sites.iter().zip(ports) {
        let api = format!("http://127.0.0.1:{port}/api/v1");
        wait_for("the own site, and no other", 60, || {
            let (status, body) = ask("GET", &format!("{api}/interfaces"))?;
            let body: Value = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
            let rows = body["items"].as_array()?;
            let whole = rows.first().is_some_and(|row| row["stats"]["packets"] == 3529);
            assert!(rows.iter().all(|row| row["site"] == *site), "{body}");
            whole.then_some(())
        });
    }
    // The schema of one site is no other's.
    let intruder = setup("oslo", "berlin", free_port(), "");
    let output = command("aggregator", &intruder).said().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("'site berlin'") && stderr.contains("'site oslo'"), "{stderr}");
    for process in &mut running {
        assert_eq!(process.terminate(), Some(0));
    }
}
