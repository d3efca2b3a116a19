//! Lines on real sockets become alerts on the bus.

use std::net::UdpSocket;
use std::sync::Arc;

use shared::bus::Stream;
use shared::store::sqlite::SqliteStore;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::supervisor::tests::{DEADLINE, bus, deps, next, stop};
use crate::{AggregatorError, spawn};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_by_udp_and_tcp_become_alerts_and_what_is_malformed_is_counted() {
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut alerts = bus.consume(Stream::Alert, "test", "al.v1.>").await.unwrap();
    let mut deps = deps(&bus, &store);
    deps.config.syslog.listen = "127.0.0.1:0".to_owned();
    let aggregator = spawn(deps).await.unwrap();
    let address = aggregator.syslog_address.unwrap();

    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.send_to(b"no priority", address).unwrap();
    udp.send_to(b"<11>Oct 11 22:14:15 gate disk: failing", address).unwrap();
    let alert = next(&mut alerts).await;
    assert_eq!((alert.message.as_str(), alert.entity_value.as_str()), ("disk: failing", "127.0.0.1"));

    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(b"<10>1 - gate fan - - - stands still\n31 <10>1 - gate fan - - - turns on").await.unwrap();
    assert_eq!(next(&mut alerts).await.message, "fan: stands still");
    assert_eq!(next(&mut alerts).await.message, "fan: turns on");

    let report = aggregator.report().await;
    assert_eq!(report.errors["log_lines_malformed"], 1);
    assert_eq!(report.scripts["host_log"].calls, 3);
    stop(aggregator).await;
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (bus, store) = (bus(), SqliteStore::in_memory().unwrap());
    let mut deps = deps(&Arc::clone(&bus), &store);
    deps.config.syslog.listen = taken.local_addr().unwrap().to_string();
    let error = tokio::time::timeout(DEADLINE, spawn(deps)).await.unwrap().err().expect("it is taken");
    assert!(matches!(error, AggregatorError::Syslog { .. }), "{error}");
    assert!(error.to_string().contains("aggregator.syslog.listen"), "{error}");
}
