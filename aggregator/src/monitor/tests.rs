//! Probes of real servers on this machine, and the actor that sends them.

use std::net::SocketAddr;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use shared::bus::nats::{NatsBus, NatsConfig};
use shared::bus::test_server::NatsServer;
use shared::bus::{SharedBus, Stream};
use shared::clock::{ManualClock, SystemClock};
use shared::model::{AlertAction, Category, Entity, Granularity};
use shared::settings::Settings;
use shared::store::AlertStore;
use shared::store::series::{SeriesQuery, SeriesStore};
use shared::store::sqlite::SqliteStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::spawn;
use crate::supervisor::tests::{DEADLINE, bus, deps, next, stop};

/// One round of one probe at `port` of this machine.
async fn round(measure: &str, port: Option<u16>, more: Value) -> Round {
    // A process has one TLS provider; a second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut host = json!({ "host": "127.0.0.1", "measure": measure, "port": port, "probes": 1 });
    host.as_object_mut().unwrap().extend(serde_json::from_value::<serde_json::Map<_, _>>(more).unwrap());
    let host: MonitorHost = serde_json::from_value(host).unwrap();
    host.check().unwrap();
    let (prober, permits) = (Prober::default(), Semaphore::new(1));
    let round = prober.round(&host, &permits, &SystemClock);
    let round = tokio::time::timeout(DEADLINE, round).await.expect("a round ends");
    assert_eq!(round.sent, 1);
    round
}

fn is_up(round: &Round) -> bool {
    assert_eq!(round.rtts_us.is_empty(), round.reason.is_some(), "{round:?}");
    !round.rtts_us.is_empty()
}

fn reason(round: Round) -> String {
    assert!(!is_up(&round), "{round:?}");
    round.reason.unwrap()
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A port on which nobody listens.
async fn closed() -> u16 {
    listener().await.1
}

#[tokio::test]
async fn a_tcp_port_is_up_while_somebody_listens() {
    let (_open, port) = listener().await;
    let up = round("tcp", Some(port), json!({})).await;
    assert!(is_up(&up));
    assert_eq!(up.address, Some("127.0.0.1".parse().unwrap()));
    let why = reason(round("tcp", Some(closed().await), json!({})).await);
    assert!(why.contains("refused"), "{why}");
    let named = round("tcp", Some(port), json!({ "host": "localhost" })).await;
    assert!(named.address.is_some_and(|ip| ip.is_loopback()));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_says_so() {
    for (measure, port) in [("tcp", Some(1)), ("icmp", None), ("http", None)] {
        let why = reason(round(measure, port, json!({ "host": "no-such-host.invalid" })).await);
        assert!(why.contains("no-such-host.invalid does not resolve"), "{why}");
    }
}

/// Answers every request with this status.
async fn serve_http(listener: TcpListener, status: &'static str) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 1024];
        let len = stream.read(&mut request).await.unwrap_or(0);
        let up = String::from_utf8_lossy(&request[..len]).starts_with("GET /up?x=1 ");
        let status = if up { "204 No Content" } else { status };
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn http_is_up_when_the_status_is_no_failure() {
    let (server, port) = listener().await;
    tokio::spawn(serve_http(server, "503 Service Unavailable"));
    assert!(is_up(&round("http", Some(port), json!({ "path": "/up?x=1" })).await));
    let why = reason(round("http", Some(port), json!({})).await);
    assert_eq!(why, "the answer is 503 Service Unavailable");
    let (server, port) = listener().await;
    tokio::spawn(serve_http(server, "302 Found\r\nlocation: http://no-such-host.invalid/"));
    assert!(is_up(&round("http", Some(port), json!({})).await), "a redirect is an answer");
    let why = reason(round("http", Some(closed().await), json!({})).await);
    assert!(why.contains("refused"), "{why}");
}

#[tokio::test]
async fn a_probe_that_hangs_is_cut_at_its_timeout() {
    // The kernel accepts; nobody answers.
    let (_silent, port) = listener().await;
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dns = silent.local_addr().unwrap().port();
    for (measure, port) in [("http", port), ("tls", port), ("dns", dns)] {
        let why = reason(round(measure, Some(port), json!({ "timeout_ms": 50 })).await);
        assert_eq!(why, "no answer within 50 ms");
    }
}

/// A TLS server whose certificate is valid until the end of `year`.
async fn serve_tls(year: i32) -> u16 {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 12, 31));
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, port) = listener().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    port
}

#[tokio::test]
async fn tls_tells_when_the_certificate_expires_also_of_one_that_has() {
    let valid = round("tls", Some(serve_tls(2200).await), json!({})).await;
    assert!(is_up(&valid) && valid.days_left().unwrap() > 365.0, "{valid:?}");
    let expired_port = serve_tls(2021).await;
    let expired = round("tls", Some(expired_port), json!({})).await;
    assert!(is_up(&expired) && expired.days_left().unwrap() < -1000.0, "{expired:?}");
    let (server, port) = listener().await;
    tokio::spawn(serve_http(server, "200 OK"));
    let why = reason(round("tls", Some(port), json!({})).await);
    assert!(why.starts_with("no TLS: "), "{why}");
    let why = reason(round("https", Some(expired_port), json!({})).await);
    assert!(why.contains("certificate"), "{why}");
    assert!(is_up(&round("https", Some(serve_tls(2200).await), json!({ "insecure": true })).await));
}

#[tokio::test]
async fn dns_is_up_when_the_answer_is_no_error() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut message = [0; 512];
        while let Ok((len, from)) = server.recv_from(&mut message).await {
            let known = message[12..len].starts_with(b"\x02up\x07example\x00");
            message[2] |= 0x80;
            message[3] = if known { 0x80 } else { 0x83 };
            // An answer to somebody else comes first.
            let other = [message[0] ^ 1, message[1]];
            let _ = server.send_to(&[&other[..], &message[2..len]].concat(), from).await;
            let _ = server.send_to(&message[..len], from).await;
        }
    });
    assert!(is_up(&round("dns", Some(port), json!({ "query": "up.example" })).await));
    assert_eq!(reason(round("dns", Some(port), json!({})).await), "the answer is NXDOMAIN");
}

#[tokio::test]
async fn icmp_reaches_this_machine() {
    for host in ["127.0.0.1", "::1"] {
        let round = round("icmp", None, json!({ "host": host })).await;
        // A container may have no IPv6; what may not be sent says so.
        match round.reason {
            None => assert_eq!(round.rtts_us.len(), 1),
            Some(why) => assert_eq!(host, "::1", "{why}"),
        }
    }
}

fn settings(hosts: &[(&str, Value)]) -> Arc<Settings> {
    let host = |(_, host): &(&str, Value)| {
        let host: MonitorHost = serde_json::from_value(host.clone()).unwrap();
        (host.value(), host)
    };
    Arc::new(Settings { monitor: Arc::new(hosts.iter().map(host).collect()), ..Settings::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_survives_a_restart_and_is_released_when_the_host_is_back() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut alerts = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
    let start: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
    let port = closed().await;
    let host = json!({ "host": "127.0.0.1", "measure": "tcp", "port": port, "probes": 1,
                       "failures": "1 of 1", "hold_s": 0 });
    let aggregator = |at: Timestamp, known: Arc<Settings>| {
        let mut deps = deps(&bus, &store);
        let clock = ManualClock::new(at);
        deps.clock = clock.clone();
        let (edit, settings) = tokio::sync::watch::channel(known);
        deps.settings = settings;
        (deps, clock, edit)
    };
    let (first, _clock, _edit) = aggregator(start, settings(&[("x", host.clone())]));
    let running = spawn(first).await.unwrap();
    let down = next(&mut alerts).await;
    assert_eq!(
        (down.entity, down.action, down.category),
        (Entity::AmHost, AlertAction::Engage, Category::ActiveMonitoring)
    );
    assert_eq!(down.entity_value, format!("tcp@127.0.0.1:{port}"));
    assert!(down.message.contains("refused"), "{}", down.message);
    stop(running).await;
    assert_eq!(store.engaged(None).await.unwrap().len(), 1, "a stop releases nothing");

    let server = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).await.unwrap();
    let (second, clock, edit) = aggregator(start.plus_secs(600), settings(&[("x", host.clone())]));
    let running = spawn(second).await.unwrap();
    let back = next(&mut alerts).await;
    assert_eq!((back.action, &back.id), (AlertAction::Release, &down.id));
    drop(server);
    clock.advance(Duration::from_secs(120));
    let again = next(&mut alerts).await;
    assert_eq!((again.action, again.id == down.id), (AlertAction::Engage, false));
    edit.send_replace(settings(&[]));
    let gone = next(&mut alerts).await;
    assert_eq!((gone.action, &gone.id), (AlertAction::Release, &again.id), "it is probed no more");
    stop(running).await;

    let query = SeriesQuery {
        entity: Entity::AmHost,
        value: down.entity_value,
        site: None,
        ifid: None,
        period: Granularity::Day,
        from: Timestamp::ZERO,
        to: Timestamp::MAX,
        limit: 10,
    };
    let series = store.series(query).await.unwrap();
    let up = &series[0].points[0].metrics["up"];
    assert_eq!((up.sum, up.count), (1.0, 3), "down, up, down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_aggregators_of_a_site_one_probes_and_the_other_takes_over() {
    let Some(server) = NatsServer::start("of_two_aggregators_of_a_site_one_probes").await else { return };
    let connect =
        || NatsBus::connect(NatsConfig { servers: vec![server.url.clone()], ..NatsConfig::default() });
    let bus: SharedBus = connect().await.unwrap();
    let mut alerts = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
    let mut words = bus.subscribe("mo.v1.s.*").await.unwrap();
    let clock = ManualClock::new("2026-01-05T10:00:00Z".parse().unwrap());
    let host = json!({ "host": "127.0.0.1", "measure": "tcp", "port": closed().await, "probes": 1,
                       "failures": "1 of 1" });
    let mut running = Vec::new();
    // The one that waits comes first: it hears every word of the other.
    for node in ["b", "a"] {
        let own: SharedBus = connect().await.unwrap();
        let mut deps = deps(&own, &SqliteStore::in_memory().unwrap());
        deps.node = node.to_owned();
        deps.clock = clock.clone();
        deps.settings = tokio::sync::watch::channel(settings(&[("x", host.clone())])).1;
        running.push(spawn(deps).await.unwrap());
    }
    let mut heard = async |node: &str| {
        let heard = async { while words.next().await.unwrap().subject != format!("mo.v1.s.{node}") {} };
        tokio::time::timeout(DEADLINE, heard).await.expect("it speaks");
    };
    heard("a").await;
    clock.advance(Duration::from_secs(4));
    heard("a").await;
    clock.advance(Duration::from_secs(4));
    assert_eq!(next(&mut alerts).await.node, "a");
    stop(running.pop().unwrap()).await;
    clock.advance(Duration::from_secs(11));
    assert_eq!(next(&mut alerts).await.node, "b");
    stop(running.pop().unwrap()).await;
}
