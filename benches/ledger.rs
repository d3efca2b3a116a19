//! What the embedded ledger costs on this disk: accepting, and claiming with settling.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "benches")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shared::model::{Severity, Timestamp};
use shared::store::sqlite::SqliteStore;
use shared::store::{EventKind, Ledger, LedgerEvent, Outcome, Store};

/// Events of one transaction.
const ACCEPT: usize = 100;
/// Deliveries of one claim.
const CLAIM: usize = 64;
const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Numbered events that differ in id and order key; `numbers` goes on from call to call.
fn events(numbers: &mut u64, count: usize, recipient: &str) -> Vec<LedgerEvent> {
    let mut next = || {
        *numbers += 1;
        LedgerEvent {
            id: format!("{numbers:032x}/engage"),
            kind: EventKind::Alert,
            order_key: format!("main|host|192.0.2.1@{numbers}|threshold_cross|traffic"),
            severity: Severity::Error,
            // About the size of a flow alert.
            payload: format!(r#"{{"id":"{numbers:032x}","message":"{}"}}"#, "x".repeat(900)),
            traceparent: None,
            recipients: vec![recipient.to_owned()],
            config_version: "1".to_owned(),
            not_before: None,
            spared: Vec::new(),
        }
    };
    (0..count).map(|_| next()).collect()
}

fn an_hour(_: Severity) -> Duration {
    Duration::from_secs(3600)
}

fn ledger(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(dir.path()).expect("a store");
    let mut numbers = 0;
    let mut group = criterion.benchmark_group("ledger");

    group.throughput(Throughput::Elements(ACCEPT as u64));
    group.bench_function("accept_100", |bench| {
        bench.iter_batched(
            || events(&mut numbers, ACCEPT, "accepted"),
            |batch| runtime.block_on(store.accept(black_box(batch), NOW, an_hour)).expect("accepted"),
            BatchSize::PerIteration,
        );
    });

    group.throughput(Throughput::Elements(CLAIM as u64));
    group.bench_function("claim_settle_64", |bench| {
        bench.iter_batched(
            || {
                let batch = events(&mut numbers, CLAIM, "claimed");
                runtime.block_on(store.accept(batch, NOW, an_hour)).expect("accepted");
            },
            |()| {
                runtime.block_on(async {
                    let until = NOW.plus_secs(60);
                    let claimed =
                        store.claim("claimed", "bench", NOW, until, CLAIM, 0).await.expect("claimed");
                    assert_eq!(claimed.len(), CLAIM);
                    let ends = claimed.into_iter().map(|delivery| (delivery, Outcome::DELIVERED)).collect();
                    store.settle(ends, NOW).await.expect("settled");
                });
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
    runtime.block_on(store.close());
}

criterion_group!(benches, ledger);
criterion_main!(benches);
