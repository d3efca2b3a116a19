//! Six hours without an endpoint, in a process of its own: its memory is that of this test alone.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use notifier::NotifierDeps;
use serde_json::json;
use shared::bus::memory::MemoryBus;
use shared::bus::{Bus, SharedBus};
use shared::clock::{Clock, ManualClock, SharedClock};
use shared::model::{Alert, Timestamp};
use shared::seal::Sealer;
use shared::settings::Settings;
use shared::store::sqlite::SqliteStore;
use shared::store::{Ledger, RecipientStats};
use shared::wire::subject::Subjects;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Alerts of the six hours, of about a kilobyte each.
const ALERTS: usize = 50_000;

/// Half hours.
const ROUNDS: usize = 12;

/// What the process may grow by after the first hour: much less than the alerts take.
const FLAT_KIB: u64 = 16 * 1024;

const START: i64 = 1_800_000_000;

fn alert(number: usize, at: Timestamp) -> Alert {
    serde_json::from_value(json!({
        "schema_version": 1, "id": format!("{number:032x}"), "action": "store", "type": "outage",
        "entity": "host", "entity_value": format!("host{number}"), "severity": "critical",
        "category": "security", "score": 1, "tstamp": at, "site": "s", "node": "n", "ifid": 0,
        "interface": "eth0", "script": "outage", "message": "x".repeat(1000),
    }))
    .unwrap()
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Answers 503 until it works; notes each message that it took.
async fn endpoint(works: Arc<AtomicBool>, told: Arc<Mutex<Vec<String>>>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (works, told) = (Arc::clone(&works), Arc::clone(&told));
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while socket.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                    let Some((body, end)) = request(&bytes) else { continue };
                    let up = works.load(Ordering::SeqCst);
                    if up {
                        told.lock().unwrap().push(String::from_utf8(body.to_owned()).unwrap());
                    }
                    bytes.drain(..end);
                    let status = if up { "200 OK" } else { "503 Service Unavailable" };
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// The body of the first whole request, and where it ends.
fn request(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..head]).unwrap().to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let end = head + length.parse::<usize>().unwrap();
    Some((bytes.get(head..end)?, end))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_flat_and_order_kept_while_an_endpoint_is_down_for_six_hours() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (works, told) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<Vec<String>>>::default());
    let port = endpoint(Arc::clone(&works), Arc::clone(&told)).await;
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let bus = MemoryBus::new(Default::default());
    let subjects = Subjects::new("outage");
    let mut questions = bus.subscribe(&subjects.request_role("aggregator", "store_alerts")).await.unwrap();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            question.reply.unwrap().send("{\"stored\":1}".to_owned());
        }
    });
    let clock = ManualClock::new(Timestamp::from_secs(START));
    let config = format!(
        "allow_private_targets = true\nhooks = {{ enabled = false }}\n
         [[endpoint]]\nname = 'e'\nkind = 'slack'\nparams = {{ webhook_url = 'http://127.0.0.1:{port}/hunter2' }}\n
         [[recipient]]\nname = 'r'\nendpoint = 'e'\ngate = {{ digest_above = 20, list_at_most = 3 }}\n"
    );
    let known = Settings { edits_known: true, ..Settings::default() };
    let (actor, handle) = notifier::spawn(NotifierDeps {
        bus: Arc::clone(&bus) as SharedBus,
        hooks: Arc::new(store.clone()),
        ledger: Arc::new(store.clone()),
        events: shared::events::Emitter::quiet(),
        site: "s".to_owned(),
        clock: Arc::clone(&clock) as SharedClock,
        subjects: subjects.clone(),
        settings: tokio::sync::watch::channel(Arc::new(known)).1,
        sealer: Arc::new(Sealer::of_nobody().unwrap()),
        config: toml::from_str(&config).unwrap(),
        owner: "n".to_owned(),
        instance: String::new(),
    })
    .await
    .unwrap();
    // Each comes to the ledger before it is accepted.
    let tell = async |numbers: std::ops::Range<usize>| {
        for chunk in numbers.collect::<Vec<_>>().chunks(500) {
            let mut receipts = Vec::with_capacity(chunk.len());
            for number in chunk {
                let alert = alert(*number, clock.now());
                let subject = subjects.alert(&alert.site, alert.entity, alert.severity, alert.action);
                let payload = serde_json::to_vec(&alert).unwrap();
                receipts.push(bus.append(&subject, &alert.transition_id(), payload.into()).await.unwrap());
            }
            for receipt in receipts {
                receipt.stored().await.unwrap();
            }
        }
    };
    let stats = async |name: &str| -> RecipientStats {
        let stats = store.stats().await.unwrap();
        stats.into_iter().find(|stats| stats.recipient == name).unwrap_or_default()
    };
    let mut first_hour = 0;
    for round in 0..ROUNDS {
        tell(round * ALERTS / ROUNDS..(round + 1) * ALERTS / ROUNDS).await;
        clock.advance(Duration::from_secs(1800));
        if round == 1 {
            first_hour = resident_kib();
        }
    }
    assert_eq!(stats("r").await.pending, ALERTS as u64, "nothing is given up");
    let six_hours = resident_kib();
    works.store(true, Ordering::SeqCst);
    // The next alert makes the lane look again, whose far end is tried once more by then.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let mut number = ALERTS;
    while stats("r").await.pending > 0 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", stats("r").await);
        clock.advance(Duration::from_secs(300));
        tell(number..number + 1).await;
        number += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let last = resident_kib();
    println!("resident after one hour {first_hour} KiB, after six {six_hours} KiB, at the end {last} KiB");
    for grown in [six_hours, last] {
        assert!(grown < first_hour + FLAT_KIB, "{first_hour} KiB after an hour, {grown} KiB later");
    }
    let stats = stats("r").await;
    assert_eq!(stats.delivered + stats.merged, number as u64, "{stats:?}");
    let told = told.lock().unwrap().clone();
    assert!(told.len() < 60 + (number - ALERTS), "digests: {} messages", told.len());
    assert!(told[0].contains("1000 alerts: ") && told[0].contains("; and 997 more"), "{}", told[0]);
    // The first alert of each message.
    let first_of = |message: &String| -> usize {
        let digits = |(_, rest): (&str, &str)| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok();
        message.match_indices("host").find_map(|(at, _)| digits(message.split_at(at + 4))).unwrap()
    };
    assert!(told.iter().map(first_of).is_sorted(), "the order is kept");
    actor.stop(None);
    handle.await.unwrap();
}
