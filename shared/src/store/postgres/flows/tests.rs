use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::store::conformance::samples::{at, flow};
use crate::store::postgres::pool::Connection;
use crate::store::postgres::test_server::PostgresServer;
use crate::wire::flow_batch::tests::flows;

/// A store in a database of this name; the server lives as long as it is held.
async fn store(name: &str) -> Option<(PostgresServer, PostgresStore)> {
    let server = PostgresServer::start(name).await?;
    let store = PostgresStore::open(&server.database(name).await).await.unwrap();
    Some((server, store))
}

/// What pages of `limit` hold, one after the other.
async fn pages(store: &PostgresStore, mut query: FlowQuery, limit: usize) -> Vec<StoredFlow> {
    let mut found = Vec::new();
    query.limit = limit;
    loop {
        let page = store.flows(query.clone()).await.unwrap();
        found.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next.parse().unwrap()),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_stored_flow_comes_back_as_it_was() {
    let Some((_server, store)) = store("a_stored_flow").await else { return };
    let mut runner = TestRunner::deterministic();
    let mut any = || flows().new_tree(&mut runner).unwrap().current();
    let mut batch: Vec<StoredFlow> = (0..300)
        .map(|n| StoredFlow { site: format!("s{}", n % 3), node: format!("n{}", n % 2), flow: any() })
        .collect();
    for stored in &mut batch {
        // A day each would be a table each.
        stored.flow.last_seen = at(0);
    }
    batch[0].flow.ifid = u32::MAX;
    batch[1].flow.export = serde_json::from_str(r#"{"exporter":"192.0.2.9","input":3}"#).unwrap();
    batch[2].flow.geo = serde_json::from_str(r#"{"client":{"country":"FR"}}"#).unwrap();
    assert!(batch[1].flow.export.is_some() && batch[2].flow.geo.is_some());
    batch[4].flow.info = serde_json::from_str(
        r#"{"http":{},"dns":{"query":"q","errors":3},"ssh":{"hassh":"h"},"tls":{"ja4":"j","cipher":4865,
            "certificate":{"names":["a","b"],"not_before":-5,"self_signed":true,"fingerprint":"f"}}}"#,
    )
    .unwrap();
    (batch[3].flow.earlier_s, batch[3].flow.top_score, batch[3].flow.l7_payloads) = (u32::MAX, 7, 255);
    store.add_flows("b".to_owned(), batch.clone()).await.unwrap();
    batch.reverse();
    let found = pages(&store, FlowQuery::default(), 100).await;
    for (found, stored) in found.iter().zip(&batch) {
        assert_eq!(found, stored);
    }
    assert_eq!(found.len(), batch.len());
}

/// What the release before does to store a flow.
async fn add_as_before(connection: &Connection, stored: &StoredFlow) {
    let sql = "INSERT INTO flow (last_seen, ifid, client_ip, server_ip, client_port, server_port, l7, json)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let (flow, json) = (&stored.flow, serde_json::to_string(stored).unwrap());
    let (client, server) = (&flow.client, &flow.server);
    let (ports, l7) = ([i32::from(client.port), i32::from(server.port)], &*flow.l7);
    let (last_seen, ifid) = (flow.last_seen.ns(), i64::from(flow.ifid));
    connection
        .execute(sql, &[&last_seen, &ifid, &client.ip, &server.ip, &ports[0], &ports[1], &l7, &json])
        .await
        .unwrap();
}

#[tokio::test]
async fn flows_of_both_forms_are_one_list() {
    const DAY: i64 = 86_400;
    let Some((_server, store)) = store("flows_of_both_forms").await else { return };
    let connection = store.database.get().await.unwrap();
    let day = day_of(at(-DAY)) * 86_400 * 1_000_000_000;
    let make = format!(
        "CREATE TABLE flow_19700101 PARTITION OF flow FOR VALUES FROM ({day}) TO ({})",
        day + 86_400 * 1_000_000_000
    );
    connection.batch_execute(&make).await.unwrap();
    let old: Vec<_> = (0..5).map(|n| flow(n, if n < 2 { -DAY } else { 0 })).collect();
    for stored in &old[..4] {
        add_as_before(&connection, stored).await;
    }
    let new: Vec<_> = (3..8).map(|n| flow(n, 1)).collect();
    store.add_flows("new".to_owned(), new.clone()).await.unwrap();
    // Both releases run side by side.
    add_as_before(&connection, &old[4]).await;
    let mut all: Vec<_> = old.iter().chain(&new).cloned().collect();
    all.reverse();
    for limit in [1, 3, 5, 6, 100] {
        assert_eq!(pages(&store, FlowQuery::default(), limit).await, all, "{limit}");
        let host = Some(all[0].flow.server.ip);
        assert_eq!(pages(&store, FlowQuery { host, ..Default::default() }, limit).await, all, "{limit}");
    }
    let host = Some(old[3].flow.client.ip);
    let of_host = pages(&store, FlowQuery { host, ..Default::default() }, 1).await;
    assert_eq!(of_host, [new[0].clone(), old[3].clone()]);
    assert_eq!(store.prune_flows(at(0)).await.unwrap(), 2, "a day of the old form");
    assert_eq!(store.prune_flows(Timestamp::MAX).await.unwrap(), 8);
    assert!(pages(&store, FlowQuery::default(), 100).await.is_empty());
}

#[tokio::test]
async fn a_host_is_found_however_far_back_it_is() {
    const DAY: i64 = 86_400;
    let Some((_server, store)) = store("a_host_is_found").await else { return };
    // Days come in any order, and the host now and then.
    let mut expected = Vec::new();
    for number in 0..40_u8 {
        let day = i64::from(number) * 7 % 5;
        let host = if number % 3 == 0 { 250 } else { number };
        let batch = vec![flow(host, day * DAY), flow(number, day * DAY)];
        expected.extend(
            batch.iter().filter(|stored| stored.flow.client.ip.to_string() == "192.0.2.250").cloned(),
        );
        store.add_flows(format!("b{number}"), batch).await.unwrap();
    }
    expected.reverse();
    let host = Some(expected[0].flow.client.ip);
    let mut connection = store.database.get().await.unwrap();
    for walk in [1, 2, 17, 1000] {
        for wanted in [1, 4, expected.len(), 100] {
            let query = FlowQuery { host, ..Default::default() };
            let found = read::newest(&mut connection, &query, wanted, walk).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|(_, stored)| stored).collect();
            assert_eq!(found, expected[..wanted.min(expected.len())], "{wanted} of a walk over {walk}");
        }
        // Of two days only.
        let query = FlowQuery { host, from: Some(at(DAY)), to: Some(at(2 * DAY + 1)), ..Default::default() };
        let found = read::newest(&mut connection, &query, 100, walk).await.unwrap();
        let of_days = expected.iter().filter(|s| (at(DAY)..=at(2 * DAY)).contains(&s.flow.last_seen));
        assert!(found.iter().map(|(_, stored)| stored).eq(of_days), "{walk}");
    }
}

#[tokio::test]
async fn a_rare_host_is_found_without_reading_the_day() {
    let Some((server, store)) = store("a_rare_host").await else { return };
    let mut batch: Vec<_> = (0..20_000_u32).map(|n| flow((n % 250) as u8, 1)).collect();
    for (n, stored) in (0..).zip(&mut batch) {
        stored.flow.client.ip = std::net::Ipv4Addr::from(0x0a00_0000 + n).into();
    }
    let rare = batch[5_000].clone();
    store.add_flows("b".to_owned(), batch).await.unwrap();
    server.sql("a_rare_host", "VACUUM ANALYZE flowhook.flow_record").await;
    let mut connection = store.database.get().await.unwrap();
    let query = FlowQuery { host: Some(rare.flow.client.ip), ..Default::default() };
    let found = read::newest(&mut connection, &query, 10, 100).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, rare);
    let day = format!("flow_record_{}", at(1).date_utc().replace('-', ""));
    let (filter, sql) = read::day_statement(&day, &query, rare.flow.client.ip, 10);
    let transaction = connection.transaction().await.unwrap();
    transaction.batch_execute(read::NO_SCAN).await.unwrap();
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS) {sql}");
    let plan = transaction.query(&explain, &filter.values()).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    println!("{plan}");
    assert!(plan.contains("Bitmap Index Scan on") && plan.contains("client_ip"), "{plan}");
    assert!(!plan.contains(&format!("Seq Scan on {day}")), "{plan}");
    let removed = plan.lines().find_map(|line| line.trim().strip_prefix("Rows Removed by Index Recheck: "));
    let removed: u32 = removed.map_or(0, |number| number.parse().unwrap());
    assert!(removed < 10_000, "of 20,000 rows most are not looked at: {plan}");
}

#[tokio::test]
async fn a_flow_takes_few_bytes() {
    let Some((server, store)) = store("a_flow_takes").await else { return };
    for number in 0..20 {
        let flows = (0..500).map(|n| flow((n % 250) as u8, number)).collect();
        store.add_flows(format!("b{number}"), flows).await.unwrap();
    }
    let sql = "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
               WHERE inhparent = 'flowhook.flow_record'::regclass";
    let bytes: f64 = server.sql("a_flow_takes", sql).await.unwrap().parse().unwrap();
    println!("{} bytes a flow with its indexes", bytes / 10_000.0);
    assert!(bytes / 10_000.0 < 350.0, "{bytes} bytes for 10000 flows");
}
