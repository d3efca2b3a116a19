use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::*;
use crate::clock::Stopwatch;
use crate::model::query::{AlertQuery, FlowQuery};
use crate::model::{AlertAction, Timestamp};
use crate::store::conformance::{self, samples};
use crate::store::{AlertStore, Delivery, FlowStore, Ledger, Outcome, Store, StoreHealth, Transition};

use samples::{an_hour, at, event};

#[tokio::test]
async fn in_memory_keeps_the_contract() {
    let store = SqliteStore::in_memory().unwrap();
    conformance::store(&store).await;
}

#[tokio::test]
async fn on_disk_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("made/on/demand")).unwrap();
    conformance::store(&store).await;
    store.close().await;
}

/// Puts one of everything into the store.
async fn fill(store: &SqliteStore) {
    store.add_history(vec![samples::alert("x", AlertAction::Store, 1)]).await.unwrap();
    store.apply(vec![Transition::Store(samples::alert("y", AlertAction::Store, 1))]).await.unwrap();
    store.add_flows("batch".to_owned(), vec![samples::flow(1, 1)]).await.unwrap();
    store.accept(vec![event("e", "k", &["r"])], at(0), an_hour).await.unwrap();
    assert_eq!(claim(store, at(1)).await.len(), 1);
}

/// Asserts that everything of [`fill`] is there.
async fn check_filled(store: &SqliteStore) {
    assert_eq!(store.history(AlertQuery::default()).await.unwrap().items.len(), 1);
    assert_eq!(store.outbox(10).await.unwrap().len(), 1);
    assert_eq!(store.flows(FlowQuery::default()).await.unwrap().items.len(), 1);
    assert_eq!(store.outstanding().await.unwrap(), 1);
    assert_eq!(store.accept(vec![event("e", "k", &["r"])], at(0), an_hour).await.unwrap(), 0);
    assert_eq!(store.release_claims("owner").await.unwrap(), 1, "the claim is remembered");
}

async fn claim(store: &SqliteStore, now: Timestamp) -> Vec<Delivery> {
    store.claim("r", "owner", now, now.plus_secs(600), 64, 0).await.unwrap()
}

#[tokio::test]
async fn every_damage_is_seen_by_its_own_count() {
    use conformance::ledger::gate::{DAMAGES, before_damage};
    for (sql, count) in DAMAGES {
        let store = SqliteStore::in_memory().unwrap();
        before_damage(&store).await;
        store.ledger.write(move |conn| Ok(conn.execute_batch(sql)?)).await.unwrap();
        let audit = store.audit(at(1_002)).await.unwrap();
        assert!(count(&audit) > 0, "{sql}: {audit:?}");
    }
}

#[tokio::test]
async fn a_closed_store_is_whole_and_answers_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    fill(&store).await;
    let clone = store.clone();
    store.close().await;
    store.close().await;
    assert!(matches!(clone.outstanding().await, Err(StoreError::Closed)));
    assert!(matches!(clone.release_claims("owner").await, Err(StoreError::Closed)));
    assert!(!dir.path().join("ledger.db-wal").exists(), "the log is written back");
    check_filled(&SqliteStore::open(dir.path()).unwrap()).await;
}

#[tokio::test]
async fn close_waits_for_what_was_asked_before() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let accepts = (0..100).map(|n| {
        let store = store.clone();
        async move { store.accept(vec![event(&format!("e{n}"), "k", &["r"])], at(0), an_hour).await }
    });
    // Joined futures are polled in order: all accepts are queued when close is asked.
    let (accepted, ()) = futures::future::join(futures::future::join_all(accepts), store.close()).await;
    assert!(accepted.iter().all(|answer| matches!(answer, Ok(1))));
    assert_eq!(SqliteStore::open(dir.path()).unwrap().outstanding().await.unwrap(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_while_it_closes_is_answered() {
    for round in 0..300 {
        let store = SqliteStore::in_memory().unwrap();
        let askers: Vec<_> = (0..4)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    while store.outstanding().await.is_ok() {}
                    store.close().await;
                })
            })
            .collect();
        tokio::task::yield_now().await;
        store.close().await;
        for asker in askers {
            let answered = tokio::time::timeout(Duration::from_secs(20), asker).await;
            assert!(answered.is_ok(), "round {round}: somebody waits for ever");
            answered.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&dir.path().join("live")).unwrap();
    fill(&store).await;
    // What a killed process leaves: files as they are, the log not written back, no shared memory.
    let left = dir.path().join("left");
    std::fs::create_dir(&left).unwrap();
    for file in ["ledger.db", "ledger.db-wal", "flows.db", "flows.db-wal"] {
        std::fs::copy(dir.path().join("live").join(file), left.join(file)).unwrap();
    }
    check_filled(&SqliteStore::open(&left).unwrap()).await;
}

#[tokio::test]
async fn a_dropped_store_can_be_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    fill(&store).await;
    drop(store);
    check_filled(&SqliteStore::open(dir.path()).unwrap()).await;
}

fn open_error(dir: &Path) -> StoreError {
    SqliteStore::open(dir).err().expect("the store must not open")
}

#[test]
fn a_later_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(SqliteStore::open(dir.path()).unwrap());
    let file = dir.path().join("ledger.db");
    Connection::open(&file).unwrap().pragma_update(None, "user_version", 99).unwrap();
    match open_error(dir.path()) {
        StoreError::TooNew { path, found, known } => {
            assert_eq!((path, found, known), (file.display().to_string(), 99, LEDGER.steps.len() as i64));
        }
        other => panic!("{other}"),
    }
}

#[test]
fn an_empty_file_of_version_0_gets_the_schema() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ledger.db"), b"").unwrap();
    drop(SqliteStore::open(dir.path()).unwrap());
    let conn = Connection::open(dir.path().join("ledger.db")).unwrap();
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, LEDGER.steps.len() as i64);
    conn.execute("DELETE FROM delivery", []).unwrap();
}

#[test]
fn a_path_that_cannot_be_a_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    for path in [file.clone(), file.join("below")] {
        match open_error(&path) {
            StoreError::Open { path: named, .. } => assert_eq!(named, path.display().to_string()),
            other => panic!("{other}"),
        }
    }
    let taken = dir.path().join("taken");
    std::fs::create_dir_all(taken.join("flows.db")).unwrap();
    assert!(open_error(&taken).to_string().contains("flows.db"));
}

#[tokio::test]
async fn a_damaged_file_is_one_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ledger.db");
    std::fs::write(&file, [b'x'; 9000]).unwrap();
    let error = open_error(dir.path());
    assert_eq!(error.to_string(), format!("cannot open store {}: file is not a database", file.display()));
    assert_eq!(std::fs::read(&file).unwrap(), [b'x'; 9000], "and is left as it is");

    std::fs::remove_file(&file).unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    fill(&store).await;
    store.close().await;
    let mut bytes = std::fs::read(&file).unwrap();
    // Everything behind the file header: the page that lists the tables is garbage.
    bytes[100..4096].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    assert!(
        matches!(open_error(dir.path()), StoreError::Open { path, .. } if path == file.display().to_string())
    );
}

#[tokio::test]
async fn writes_that_wait_together_share_a_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let before = store.ledger_commits();
    let accepts = (0..100).map(|n| store.accept(vec![event(&format!("e{n}"), "k", &["r"])], at(0), an_hour));
    let accepted = futures::future::join_all(accepts).await;
    assert!(accepted.iter().all(|answer| matches!(answer, Ok(1))));
    let commits = store.ledger_commits() - before;
    assert!(commits <= 20, "100 accepts took {commits} commits");
}

#[tokio::test]
async fn a_write_that_fails_takes_no_other_with_it() {
    let store = SqliteStore::in_memory().unwrap();
    // Holds the thread until the others wait behind it, so that they share a transaction.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let held = store.ledger.write(move |_| wait.recv().map_err(|_| StoreError::Closed));
    let good = |id: &'static str| store.accept(vec![event(id, id, &["r"])], at(0), an_hour);
    let half = store.ledger.write(|conn| -> Result<(), StoreError> {
        conn.execute("INSERT INTO lane (recipient) VALUES ('half')", [])?;
        conn.execute("INSERT INTO no_such_table VALUES (1)", [])?;
        Ok(())
    });
    let panics = store.ledger.write(|conn| -> Result<(), StoreError> {
        conn.execute("INSERT INTO lane (recipient) VALUES ('panic')", [])?;
        panic!("boom");
    });
    let release = async move { go.send(()).unwrap() };
    let before = store.ledger_commits();
    let (held, one, half, panics, two, ()) =
        futures::join!(held, good("one"), half, panics, good("two"), release);
    held.unwrap();
    assert_eq!((one.unwrap(), two.unwrap()), (1, 1));
    assert!(half.unwrap_err().to_string().contains("no_such_table"));
    assert_eq!(panics.unwrap_err().to_string(), "store: panic: boom");
    assert!(store.ledger_commits() - before <= 2);
    let stats = store.stats().await.unwrap();
    let lanes: Vec<_> = stats.iter().map(|lane| (lane.recipient.as_str(), lane.pending)).collect();
    assert_eq!(lanes, [("r", 2)], "nothing of the failed ones is left");
}

#[tokio::test]
async fn a_transaction_the_database_gives_up_fails_its_jobs_and_no_later_one() {
    let store = SqliteStore::in_memory().unwrap();
    let gives_up = store.ledger.write(|conn| Ok(conn.execute_batch("ROLLBACK")?));
    let (first, lost, next) = futures::join!(
        store.accept(vec![event("one", "k", &["r"])], at(0), an_hour),
        gives_up,
        store.accept(vec![event("two", "k", &["r"])], at(0), an_hour),
    );
    assert!(lost.unwrap_err().to_string().contains("given up by the database"));
    assert_eq!(next.unwrap(), 1);
    let expected = 1 + u64::from(first.is_ok());
    assert_eq!(store.outstanding().await.unwrap(), expected, "an answer and the rows agree");
}

/// Where there is no room, SQLite may give up more than the write that found none.
#[tokio::test]
async fn a_full_disk_that_costs_a_whole_group_is_what_each_of_it_is_told_and_it_passes() {
    let store = SqliteStore::in_memory().unwrap();
    let mut health = store.ledger.health();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (running, runs) = tokio::sync::oneshot::channel();
    let ledger = store.ledger.clone();
    let held = tokio::spawn(async move {
        let waiting = ledger.write(move |_| {
            let _ = running.send(());
            wait.recv().map_err(|_| StoreError::Closed)
        });
        waiting.await
    });
    // From now on the others wait behind it, and share a transaction.
    runs.await.unwrap();
    let good = |id: &'static str| store.accept(vec![event(id, id, &["r"])], at(0), an_hour);
    let full = store.ledger.write(|conn| {
        let limit = |pages: i64| conn.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()));
        limit(conn.query_row("PRAGMA page_count", [], |row| row.get(0))?)?;
        let written = conn.execute("INSERT INTO lane (recipient) VALUES (hex(zeroblob(1000000)))", []);
        limit(1 << 30)?;
        assert!(conn.is_autocommit(), "everything was given up");
        Ok(written?)
    });
    let release = async move { go.send(()).unwrap() };
    let (held, one, full, two, ()) = futures::join!(held, good("one"), full, good("two"), release);
    held.unwrap().unwrap();
    for end in [one.map(drop), full.map(drop)] {
        assert!(matches!(&end, Err(StoreError::Disk(cause)) if cause.contains("full")), "{end:?}");
    }
    assert_eq!(two.unwrap(), 1, "what came behind it is not lost");
    assert_eq!(store.outstanding().await.unwrap(), 1);
    assert!(health.has_changed().unwrap() && *health.borrow_and_update() == StoreHealth::Working);
}

#[tokio::test]
async fn pruning_goes_on_over_many_transactions() {
    let store = SqliteStore::in_memory().unwrap();
    let flows = (0..PRUNE_ROWS * 2 + 1).map(|_| samples::flow(1, 1)).collect();
    store.add_flows("batch".to_owned(), flows).await.unwrap();
    assert_eq!(store.prune_flows(at(2)).await.unwrap(), PRUNE_ROWS as u64 * 2 + 1);
}

#[tokio::test]
async fn the_hot_statements_walk_indexes() {
    let store = SqliteStore::in_memory().unwrap();
    let statements = [
        (
            "delivery_queue",
            "SELECT MIN(seq) FROM delivery WHERE recipient = 'r' AND order_key = 'k' AND finished_at IS NULL",
        ),
        (
            "delivery_due",
            "SELECT MIN(next_at) FROM delivery WHERE recipient = 'r' AND head = 1 AND state = 'pending'",
        ),
        (
            "delivery_claimed",
            "SELECT MIN(claim_until) FROM delivery WHERE recipient = 'r' AND state = 'claimed'",
        ),
        ("delivery_head", "SELECT 1 FROM delivery WHERE recipient = 'r' AND order_key = 'k' AND head = 1"),
        ("outbox_waiting", "SELECT number, json FROM outbox WHERE json IS NOT NULL ORDER BY number LIMIT 10"),
    ];
    for (index, sql) in statements {
        let plan = store.ledger.read(move |conn| {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let steps = explain.query_map([], |row| row.get::<_, String>(3))?;
            Ok(steps.collect::<Result<Vec<_>, _>>()?.join("; "))
        });
        let plan = plan.await.unwrap();
        assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

/// Prints how fast it is here; asserts only that nothing is lost.
#[tokio::test]
async fn a_long_queue_drains() {
    const EVENTS: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path()).unwrap();
    let clock = Stopwatch::start();
    for chunk in 0..EVENTS / 500 {
        let of = |n: usize| event(&format!("e{chunk}/{n}"), &format!("k{}", n % 250), &["r"]);
        store.accept((0..500).map(of).collect(), at(0), an_hour).await.unwrap();
    }
    let accepted = clock.elapsed();
    let clock = Stopwatch::start();
    let mut done = 0;
    loop {
        let claimed = claim(&store, at(1)).await;
        if claimed.is_empty() {
            break;
        }
        done += claimed.len();
        let ends = claimed.into_iter().map(|delivery| (delivery, Outcome::DELIVERED)).collect();
        store.settle(ends, at(1)).await.unwrap();
    }
    assert_eq!(done, EVENTS);
    println!("{EVENTS} events: accepted in {accepted:?}, claimed and settled in {:?}", clock.elapsed());
}
