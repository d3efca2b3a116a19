use std::sync::Arc;
use std::time::Duration;

use super::migrate::{STEPS, Step};
use super::test_server::PostgresServer;
use super::*;
use crate::model::query::FlowQuery;
use crate::model::{AlertAction, Timestamp};
use crate::secret::Secret;
use crate::store::conformance::{self, samples};
use crate::store::documents::{Change, DocumentKind, DocumentStore, Put};
use crate::store::{AlertStore, FlowStore, Ledger, Outcome, Transition};

use samples::{an_hour, at, event};

const DEADLINE: Duration = Duration::from_secs(60);

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

#[tokio::test]
async fn postgres_keeps_the_contract() {
    let Some(server) = PostgresServer::start("postgres_keeps_the_contract").await else { return };
    let store = PostgresStore::open(&server.database("contract").await).await.unwrap();
    conformance::store(&store).await;
    // A text that this server cannot hold as it is.
    let odd = event("odd\0id", "k\0", &["odd\0"]);
    assert_eq!(store.accept(vec![odd.clone()], at(0), an_hour).await.unwrap(), 1);
    assert_eq!(store.accept(vec![odd], at(0), an_hour).await.unwrap(), 0);
    let claimed = store.claim("odd\0", "o\0", at(0), at(60), 5, 0).await.unwrap();
    let end = Outcome::Dead { reason: "\0".to_owned() };
    store.settle(vec![(claimed[0].clone(), end)], at(1)).await.unwrap();
    assert_eq!(store.dead_letters(Some("odd\0"), 5).await.unwrap().len(), 1);
    store.close().await;
    assert!(matches!(store.outstanding().await, Err(StoreError::Closed)));
}

#[tokio::test]
async fn flows_lie_by_day_and_old_days_go_whole() {
    let Some(server) = PostgresServer::start("flows_lie_by_day").await else { return };
    let config = server.database("days").await;
    let store = PostgresStore::open(&config).await.unwrap();
    let sql = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'flowhook.flow_record'::regclass";
    let partitions = async || server.sql("days", sql).await.unwrap().parse::<u32>().unwrap();
    let ahead = partitions().await;
    assert_eq!(ahead, 1 + 4, "today, three days ahead, and the rest");
    let days: Vec<_> = (0..3).map(|day| samples::flow(1, day * 86_400)).collect();
    store.add_flows("n/1".to_owned(), days.clone()).await.unwrap();
    assert_eq!(partitions().await, ahead + 3);
    let other = "SELECT count(*) FROM flowhook.flow_record_other";
    assert_eq!(server.sql("days", other).await.as_deref(), Some("0"));
    assert_eq!(store.prune_flows(at(86_400)).await.unwrap(), 1, "the first day is over");
    assert_eq!(partitions().await, ahead + 2);
    // A day that was dropped is made again by who has dropped it, and found by who has not.
    let other = PostgresStore::open(&config).await.unwrap();
    store.add_flows("n/2".to_owned(), days[..1].to_vec()).await.unwrap();
    other.add_flows("n/3".to_owned(), days[..1].to_vec()).await.unwrap();
    assert_eq!(store.prune_flows(at(86_400)).await.unwrap(), 2);
    other.add_flows("n/4".to_owned(), days[..1].to_vec()).await.unwrap();
    let found = other.flows(FlowQuery { to: Some(at(3600)), ..Default::default() }).await.unwrap();
    assert_eq!(found.items.len(), 1, "where no day is made any more the rest takes it");
    assert_eq!(store.prune_flows(at(86_400)).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_share_one_ledger() {
    const EVENTS: usize = 400;
    let Some(server) = PostgresServer::start("many_share_one_ledger").await else { return };
    let config = server.database("shared").await;
    let claimed: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    let mut notifiers = Vec::new();
    for n in 0..4 {
        let (config, claimed) = (config.clone(), Arc::clone(&claimed));
        notifiers.push(tokio::spawn(async move {
            // All start at once: one makes the schema, the others wait for it.
            let store = PostgresStore::open(&config).await.unwrap();
            // Every event is accepted by two of them, in other orders.
            let mine = (0..EVENTS)
                .filter(|e| e % 2 == n % 2)
                .map(|e| event(&format!("e{e:03}"), &format!("k{}", e % 7), &["a", "b"]));
            let mut mine: Vec<_> = mine.collect();
            if n > 1 {
                mine.reverse();
            }
            for part in mine.chunks(20) {
                store.accept(part.to_vec(), at(0), an_hour).await.unwrap();
            }
            let owner = format!("n{n}");
            loop {
                for lane in ["a", "b"] {
                    let batch = store.claim(lane, &owner, at(1), at(600), 5, 0).await.unwrap();
                    claimed.lock().unwrap().extend(batch.iter().map(|d| d.idempotency_key()));
                    let ends = batch.into_iter().map(|delivery| (delivery, Outcome::DELIVERED)).collect();
                    store.settle(ends, at(1)).await.unwrap();
                }
                let delivered: u64 = store.stats().await.unwrap().iter().map(|lane| lane.delivered).sum();
                if delivered == EVENTS as u64 * 2 {
                    return;
                }
            }
        }));
    }
    for notifier in notifiers {
        tokio::time::timeout(DEADLINE, notifier).await.unwrap().unwrap();
    }
    let mut claimed = claimed.lock().unwrap().clone();
    assert_eq!(claimed.len(), EVENTS * 2, "nothing is claimed twice");
    claimed.sort();
    claimed.dedup();
    assert_eq!(claimed.len(), EVENTS * 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_change_the_same_one_wins_and_none_fails() {
    let Some(server) = PostgresServer::start("of_those_who_change_the_same").await else { return };
    let store = PostgresStore::open(&server.database("rivals").await).await.unwrap();
    let change = |n: u32| Change {
        kind: DocumentKind::Pools,
        name: "office".to_owned(),
        value: Some(serde_json::json!({ "n": n })),
        expected: Some(0),
        by: format!("user {n}"),
        at: at(0),
    };
    let puts = futures::future::join_all((0..6).map(|n| store.change(change(n)))).await;
    let done = puts.iter().filter(|put| matches!(put, Ok(Put::Done(_)))).count();
    let late = puts.iter().filter(|put| matches!(put, Ok(Put::Conflict(1)))).count();
    assert_eq!((done, late), (1, 5), "{puts:?}");
    // Transitions of the same alerts, in other orders.
    let engage = |n: usize| {
        let alert = samples::alert(&format!("x{n}"), AlertAction::Engage, 0);
        Transition::Engage(crate::store::EngagedAlert { partition: 1, alert })
    };
    let applies = (0..6).map(|turn| {
        let mut all: Vec<_> = (0..50).map(engage).collect();
        all.rotate_left(turn * 7);
        store.apply(all)
    });
    for applied in futures::future::join_all(applies).await {
        applied.unwrap();
    }
    assert_eq!(store.engaged(None).await.unwrap().len(), 50);
    assert_eq!(store.outbox(1000).await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_server_that_is_killed_loses_nothing_answered_and_is_found_again() {
    let Some(mut server) = PostgresServer::start("a_server_that_is_killed").await else { return };
    let config = PostgresConfig { connect_timeout_s: 1, ..server.database("killed").await };
    let store = PostgresStore::open(&config).await.unwrap();
    let mut health = Store::health(&store).unwrap();
    store.accept(vec![event("before", "k", &["r"])], at(0), an_hour).await.unwrap();
    let accept = async |id: &str| store.accept(vec![event(id, id, &["r"])], at(0), an_hour).await;
    // One whose answer is on its way when the server dies.
    let held = server.url("killed");
    let (client, connection) = tokio_postgres::connect(&held, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE flowhook.event").await.unwrap();
    let in_flight = tokio::spawn({
        let store = store.clone();
        async move { store.accept(vec![event("in flight", "f", &["r"])], at(0), an_hour).await }
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    until("the accept waits", async || {
        (server.sql("killed", waits).await.as_deref() == Some("1")).then_some(())
    })
    .await;
    server.kill();
    let told = in_flight.await.unwrap().unwrap_err();
    assert!(matches!(told, StoreError::Unavailable(_)), "{told}");
    let _ = connection.await;
    let error = accept("down").await.unwrap_err().to_string();
    assert!(
        error.contains(&server.port().to_string()) && !error.contains(crate::secret::mark::MARK),
        "{error}"
    );
    tokio::time::timeout(DEADLINE, health.wait_for(|h| matches!(h, StoreHealth::Failing(_))))
        .await
        .unwrap()
        .unwrap();
    server.restart().await;
    until("it takes writes", async || accept("after").await.ok()).await;
    tokio::time::timeout(DEADLINE, health.wait_for(|h| *h == StoreHealth::Working)).await.unwrap().unwrap();
    let claimed = store.claim("r", "o", at(0), at(60), 10, 0).await.unwrap();
    let ids: Vec<_> = claimed.iter().map(|d| d.event_id.as_str()).collect();
    assert_eq!(ids, ["before", "after"], "and what had failed was not done by stealth");
}

#[tokio::test]
async fn every_damage_is_seen_by_its_own_count() {
    use conformance::ledger::gate::{DAMAGES, before_damage};
    let Some(server) = PostgresServer::start("every_damage_is_seen").await else { return };
    for (number, (sql, count)) in DAMAGES.into_iter().enumerate() {
        let name = format!("damage{number}");
        let store = PostgresStore::open(&server.database(&name).await).await.unwrap();
        before_damage(&store).await;
        server.sql(&name, &format!("SET search_path TO flowhook; {sql}")).await;
        let audit = store.audit(at(1_002)).await.unwrap();
        assert!(count(&audit) > 0, "{sql}: {audit:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_read_only_is_told_and_used_again() {
    let Some(server) = PostgresServer::start("a_server_that_is_read_only").await else { return };
    let config = PostgresConfig { connect_timeout_s: 1, ..server.database("readonly").await };
    let store = PostgresStore::open(&config).await.unwrap();
    let mut health = Store::health(&store).unwrap();
    let read_only = async |on: &str| {
        let sql = format!("ALTER SYSTEM SET default_transaction_read_only = {on}");
        server.sql("postgres", &sql).await;
        server.sql("postgres", "SELECT pg_reload_conf()").await;
    };
    read_only("on").await;
    let failing = |h: &StoreHealth| matches!(h, StoreHealth::Failing(why) if why.contains("read-only"));
    tokio::time::timeout(DEADLINE, health.wait_for(failing)).await.unwrap().unwrap();
    assert!(store.accept(vec![event("e", "k", &["r"])], at(0), an_hour).await.is_err());
    let error = PostgresStore::open(&config).await.err().expect("it must not open").to_string();
    assert!(error.contains("does not allow writes"), "{error}");
    read_only("off").await;
    tokio::time::timeout(DEADLINE, health.wait_for(|h| *h == StoreHealth::Working)).await.unwrap().unwrap();
    assert_eq!(store.accept(vec![event("e", "k", &["r"])], at(0), an_hour).await.unwrap(), 1);
}

#[tokio::test]
async fn a_schema_of_a_later_release_is_used_where_that_release_allows_it() {
    let Some(server) = PostgresServer::start("a_schema_of_a_later_release").await else { return };
    let config = server.database("later").await;
    drop(PostgresStore::open(&config).await.unwrap());
    let known = STEPS.len() as i64;
    let own = || STEPS.iter().map(|s| Step { sql: s.sql, usable_from: s.usable_from });
    // The next release adds a column, and lets this one go on.
    let mut later: Vec<Step> = own().collect();
    later.push(Step { sql: "ALTER TABLE lane ADD COLUMN later text", usable_from: known });
    let newer = PostgresStore::open_with(&config, &later).await.unwrap();
    let older = PostgresStore::open(&config).await.unwrap();
    newer.accept(vec![event("e", "k", &["r"])], at(0), an_hour).await.unwrap();
    assert_eq!(older.claim("r", "o", at(0), at(60), 1, 0).await.unwrap().len(), 1);
    // The one after that does not.
    later.push(Step { sql: "ALTER TABLE lane RENAME COLUMN later TO later_still", usable_from: known + 2 });
    PostgresStore::open_with(&config, &later).await.unwrap();
    match PostgresStore::open(&config).await {
        Err(StoreError::TooNew { found, known: knows, .. }) => assert_eq!((found, knows), (known + 2, known)),
        other => panic!("{:?}", other.err()),
    }
    // A step that fails leaves the schema as it was.
    let broken = server.database("broken").await;
    let mut steps: Vec<Step> = own().collect();
    steps.push(Step { sql: "CREATE TABLE (", usable_from: 1 });
    let error = PostgresStore::open_with(&broken, &steps).await.err().unwrap().to_string();
    assert!(error.contains("syntax error"), "{error}");
    PostgresStore::open(&broken).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_that_gets_into_the_way_of_who_works_is_tried_again() {
    let Some(server) = PostgresServer::start("a_step_that_gets_into_the_way").await else { return };
    let config = server.database("busy").await;
    let older = PostgresStore::open(&config).await.unwrap();
    older.accept(vec![event("e", "k", &["r"])], at(0), an_hour).await.unwrap();
    // Takes the tables in the other order than the step, and is never the one that gives way.
    let url = server.url("busy");
    let (mut busy, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let work = busy.transaction().await.unwrap();
    let first = "SET LOCAL deadlock_timeout = '1h'; LOCK TABLE flowhook.event IN ACCESS SHARE MODE";
    work.batch_execute(first).await.unwrap();
    let mut later: Vec<Step> =
        STEPS.iter().map(|s| Step { sql: s.sql, usable_from: s.usable_from }).collect();
    let sql = "ALTER TABLE lane ADD COLUMN later text; ALTER TABLE event ADD COLUMN later text";
    later.push(Step { sql, usable_from: 1 });
    let upgrade = tokio::spawn({
        let config = config.clone();
        async move { PostgresStore::open_with(&config, &later).await.map(drop) }
    });
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'flowhook.event'::regclass";
    until("the step to wait", async || {
        (server.sql("busy", waits).await.as_deref() == Some("1")).then_some(())
    })
    .await;
    work.batch_execute("LOCK TABLE flowhook.lane IN ACCESS SHARE MODE").await.unwrap();
    work.commit().await.unwrap();
    upgrade.await.unwrap().unwrap();
    assert_eq!(older.claim("r", "o", at(0), at(60), 1, 0).await.unwrap().len(), 1);
    let column = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'later'";
    assert_eq!(server.sql("busy", column).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn what_cannot_be_opened_is_one_clear_error_without_the_password() {
    let Some(server) = PostgresServer::start("what_cannot_be_opened").await else { return };
    let good = server.url("postgres");
    let with = |url: String| PostgresConfig { url: Some(Secret::new(url)), ..PostgresConfig::default() };
    let cases = [
        (with(good.replace(crate::secret::mark::MARK, "hunter2-wrong")), "password authentication failed"),
        (with(good.replace("/postgres", "/nowhere")), "database \"nowhere\" does not exist"),
        (with(good.replace(&server.port().to_string(), "1")), "refused"),
        (PostgresConfig { tls_required: true, ..with(good.clone()) }, "TLS"),
        (PostgresConfig { tls_ca: Some("/nonexistent.pem".into()), ..with(good) }, "/nonexistent.pem"),
    ];
    for (config, cause) in cases {
        let error = PostgresStore::open(&config).await.err().expect("it must not open");
        let text = error.to_string();
        assert!(matches!(error, StoreError::Open { .. }), "{text}");
        assert!(text.contains(cause) && !text.contains(crate::secret::mark::MARK), "{text}: {cause}");
    }
}

#[tokio::test]
async fn a_server_that_demands_tls_gets_it_and_must_be_who_it_says() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let started =
        PostgresServer::start_with_tls("demands_tls", &certificate.pem(), &key.serialize_pem()).await;
    let Some(server) = started else { return };
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, certificate.pem()).unwrap();
    let config = PostgresConfig { tls_ca: Some(ca), tls_required: true, ..server.config("postgres") };
    let store = PostgresStore::open(&config).await.unwrap();
    assert_eq!(store.accept(vec![event("e", "k", &["r"])], at(0), an_hour).await.unwrap(), 1);
    let clear = PostgresConfig { tls_required: false, ..config.clone() };
    let error = PostgresStore::open(&clear).await.err().expect("clear text is refused").to_string();
    assert!(error.contains("no encryption"), "{error}");
    let strangers = PostgresConfig { tls_ca: None, ..config };
    let error = PostgresStore::open(&strangers).await.err().expect("nobody vouches for it").to_string();
    assert!(error.contains("certificate"), "{error}");
}

/// Prints how fast it is here; asserts only that nothing is lost.
#[tokio::test]
async fn a_long_queue_drains() {
    const EVENTS: usize = 5_000;
    let Some(server) = PostgresServer::start("a_long_queue_drains").await else { return };
    let store = PostgresStore::open(&server.database("queue").await).await.unwrap();
    let clock = crate::clock::Stopwatch::start();
    for chunk in 0..EVENTS / 500 {
        let of = |n: usize| event(&format!("e{chunk}/{n}"), &format!("k{}", n % 250), &["r"]);
        store.accept((0..500).map(of).collect(), at(0), an_hour).await.unwrap();
    }
    let accepted = clock.elapsed();
    let clock = crate::clock::Stopwatch::start();
    let mut done = 0;
    loop {
        let claimed = store.claim("r", "o", at(1), at(600), 64, 0).await.unwrap();
        if claimed.is_empty() {
            break;
        }
        done += claimed.len();
        let ends = claimed.into_iter().map(|delivery| (delivery, Outcome::DELIVERED)).collect();
        store.settle(ends, at(1)).await.unwrap();
    }
    assert_eq!(done, EVENTS);
    println!("{EVENTS} events: accepted in {accepted:?}, claimed and settled in {:?}", clock.elapsed());
    let clock = crate::clock::Stopwatch::start();
    let flows: Vec<_> = (0..2000).map(|n| samples::flow((n % 250) as u8, 5)).collect();
    for n in 0..5 {
        store.add_flows(format!("b/{n}"), flows.clone()).await.unwrap();
    }
    println!("10000 flows in {:?}", clock.elapsed());
    assert_eq!(store.prune_flows(Timestamp::MAX).await.unwrap(), 10_000);
}
