//! The API on a real socket, before live shards.

use std::net::SocketAddr;

use serde_json::{Value, json};
use shared::model::{HostCounters, HostKey};
use shared::store::conformance::samples;
use shared::wire::delta::HostDelta;
use shared::wire::flow_batch::FlowBatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// An aggregator whose API listens on a free port.
async fn serving(bus: &SharedBus, store: &SqliteStore) -> (Aggregator, SocketAddr) {
    let mut deps = deps(bus, store);
    deps.config.api = ApiConfig { listen: "127.0.0.1:0".to_owned(), ..ApiConfig::default() };
    deps.networks = Arc::new(LocalNetworks::new(["10.0.0.0/8".parse().unwrap()]));
    let aggregator = spawn(deps).await.unwrap();
    let address = aggregator.api_address.unwrap();
    (aggregator, address)
}

/// Sends a request; gives status and body.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let answer = tokio::time::timeout(DEADLINE, exchange).await.expect("the API answers");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    // Large answers come in one chunk or more: the JSON is what lies between the braces.
    let body = match (body.find('{'), body.rfind('}')) {
        (Some(from), Some(to)) => &body[from..=to],
        _ => body,
    };
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn get(address: SocketAddr, path: &str) -> Value {
    let (status, body) = ask(address, "GET", path).await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body}"))
}

fn with_hosts(delta: Delta, hosts: &[&str]) -> Delta {
    let host = |host: &&str| HostDelta {
        key: host.parse::<HostKey>().unwrap(),
        mac: None,
        local: host.starts_with("10."),
        last_seen: delta.from,
        counters: HostCounters { bytes_sent: 7, ..HostCounters::default() },
    };
    Delta { hosts: hosts.iter().map(host).collect(), ..delta }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_elements_are_served_in_pages_over_all_sites() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let (aggregator, address) = serving(&bus, &store).await;
    // Two sites number their interfaces on their own, and both know the same hosts.
    for site in ["s", "t/u"] {
        let hosts = ["10.0.0.1", "10.0.0.1@42", "192.0.2.9"];
        put(&bus, &with_hosts(of_minute(site, 0, 10), &hosts)).await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/hosts?limit=1".to_owned();
    loop {
        let page = get(address, &path).await;
        let [row] = &page["items"].as_array().unwrap()[..] else { panic!("{page}") };
        seen.push(format!("{} {}", row["site"].as_str().unwrap(), row["host"].as_str().unwrap()));
        assert_eq!(page["missing"], json!([]));
        match page["next"].as_str() {
            Some(next) => path = format!("/api/v1/hosts?limit=1&cursor={next}"),
            None => break,
        }
    }
    let hosts = |site: &str| ["10.0.0.1", "10.0.0.1@42", "192.0.2.9"].map(|host| format!("{site} {host}"));
    assert_eq!(seen, [hosts("s"), hosts("t/u")].concat());

    let rows = |page: &Value| page["items"].as_array().unwrap().len();
    assert_eq!(rows(&get(address, "/api/v1/hosts?local=true").await), 4);
    assert_eq!(rows(&get(address, "/api/v1/hosts?search=192.0.2.0/24&ifid=0").await), 2);
    assert_eq!(rows(&get(address, "/api/v1/hosts?ifid=9").await), 0);
    let one = get(address, "/api/v1/hosts/10.0.0.1@42").await;
    assert_eq!((rows(&one), &one["items"][0]["stats"]["bytes"]), (2, &json!(7)));

    let interfaces = get(address, "/api/v1/interfaces").await;
    assert_eq!((rows(&interfaces), &interfaces["items"][1]["site"]), (2, &json!("t/u")));
    assert_eq!(get(address, "/api/v1/interfaces/0").await["site"], "s");
    assert_eq!(get(address, "/api/v1/interfaces/0?site=t/u").await["site"], "t/u");
    assert_eq!(ask(address, "GET", "/api/v1/interfaces/0?site=v").await.0, 404);
    let networks = get(address, "/api/v1/networks").await;
    assert_eq!((rows(&networks), &networks["items"][0]["network"]), (2, &json!("10.0.0.0/8")));
    let health = get(address, "/api/v1/health").await;
    assert_eq!((&health["status"], &health["interfaces"]), (&json!("ok"), &json!(2)));
    assert_eq!(ask(address, "GET", "/metrics").await.1, "up 1\n");
    stop(aggregator).await;
    assert!(TcpStream::connect(address).await.is_err(), "a stopped API listens no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_are_listed_before_the_first_delta_and_counted_after_it() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let (aggregator, address) = serving(&bus, &store).await;
    let of = |page: &Value, key: &str| -> Value {
        page["items"].as_array().unwrap().iter().find(|script| script["key"] == key).unwrap().clone()
    };
    let before = get(address, "/api/v1/scripts").await;
    assert_eq!(of(&before, "no_activity")["counts"]["calls"], 0);
    assert_eq!(of(&before, "obsolete_tls")["counts"], Value::Null, "a flow script runs elsewhere");
    minute(&bus, 0, 10).await;
    let after = get(address, "/api/v1/scripts").await;
    assert_eq!(of(&after, "no_activity")["counts"]["calls"], 1);
    assert_eq!(after["missing"], json!(["n"]), "the collector does not answer");
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn live_flows_are_asked_of_the_collectors_and_who_is_silent_is_named() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let (aggregator, address) = serving(&bus, &store).await;
    for (site, node) in [("a", "here"), ("b", "gone")] {
        let mut delta = of_minute(site, 0, 10);
        delta.producer.node = node.to_owned();
        put(&bus, &delta).await;
    }
    let mut questions = bus.subscribe(&Subjects::default().request("here", "flows")).await.unwrap();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let query: Value = serde_json::from_slice(&question.payload).unwrap();
            let answer = match query["after"].as_i64() {
                None => json!({ "items": [{ "id": 1 }], "next": "1" }),
                Some(_) => json!({ "items": [{ "id": 2 }] }),
            };
            question.reply.unwrap().send(answer.to_string());
        }
    });
    let first = get(address, "/api/v1/flows/live?limit=1").await;
    assert_eq!((&first["items"], &first["next"]), (&json!([{ "id": 1 }]), &json!("0/a/1")));
    let rest = get(address, "/api/v1/flows/live?limit=5&cursor=0/a/1").await;
    assert_eq!((&rest["items"], &rest["missing"]), (&json!([{ "id": 2 }]), &json!(["eth0 on gone"])));
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ended_flows_on_the_bus_are_stored_once_and_served_in_pages() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let (aggregator, address) = serving(&bus, &store).await;
    let producer = of_minute("s", 0, 0).producer;
    let batch = FlowBatch { producer, flows: (1..=3).map(|host| samples::flow(host, 0).flow).collect() };
    for id in ["first", "again"] {
        let subject = Subjects::default().flows("s", "n", 0);
        let receipt = bus.append(&subject, id, batch.encode()).await.unwrap();
        tokio::time::timeout(DEADLINE, receipt.stored()).await.expect("the writer acknowledges").unwrap();
    }
    let first = get(address, "/api/v1/flows?limit=2&l7=TLS").await;
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    assert_eq!(first["items"][0]["site"], "s");
    let next = first["next"].as_str().unwrap();
    let second = get(address, &format!("/api/v1/flows?limit=2&cursor={next}")).await;
    assert_eq!((second["items"].as_array().unwrap().len(), &second["next"]), (1, &Value::Null));
    stop(aggregator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_named() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut deps = deps(&bus, &store);
    deps.config.api.enabled = true;
    deps.config.api.listen = taken.local_addr().unwrap().to_string();
    match spawn(deps).await.map(|_| ()) {
        Err(AggregatorError::PortTaken { address }) => assert_eq!(address, taken.local_addr().unwrap()),
        other => panic!("{other:?}"),
    }
}
