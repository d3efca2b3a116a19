//! Pages of flows. Rows of `flow_record` are newer than those that an earlier release has written into
//! `flow`, so the latter are asked for only where a page has room left.
//!
//! A page is cut by number, and no index holds addresses in the order of numbers: that would cost more to
//! write than the rows. So a host's flows are looked for among the newest rows first, which fills the page
//! of any busy host; those of the others are found day by day through the Bloom filters of the addresses.

use std::cmp::Reverse;
use std::net::IpAddr;

use tokio_postgres::Row;

use super::row::{self, COLUMNS};
use crate::model::Timestamp;
use crate::model::query::FlowQuery;
use crate::store::postgres::filter::Filter;
use crate::store::postgres::partitions::{DAY_NS, Partition, RECORDS, day_of, partitions};
use crate::store::postgres::pool::{Connection, clean};
use crate::store::{StoreError, StoredFlow};

/// Rows of any host that are looked through before a host's are searched for.
pub(super) const WALK: i64 = 50_000;

type Found = Vec<(i64, StoredFlow)>;

/// The newest `wanted` rows, at least one, that `query` asks for.
pub(super) async fn newest(
    connection: &mut Connection,
    query: &FlowQuery,
    wanted: usize,
    walk: i64,
) -> Result<Found, StoreError> {
    let mut found = match query.host {
        Some(host) => of_host(connection, query, host, wanted, walk).await?,
        None => of_all(connection, query, wanted).await?,
    };
    if found.len() < wanted {
        found.extend(of_before(connection, query, wanted - found.len()).await?);
    }
    Ok(found)
}

/// What `query` asks for, whatever its host. With `hidden` no index serves numbers and times.
fn conditions(query: &FlowQuery, hidden: bool) -> Filter {
    let mut filter = Filter::default();
    let [from, to, after] = match hidden {
        false => ["last_seen >= $?", "last_seen < $?", "number < $?"],
        true => ["last_seen + 0 >= $?", "last_seen + 0 < $?", "number + 0 < $?"],
    };
    filter.and(from, query.from.map(Timestamp::ns));
    filter.and(to, query.to.map(Timestamp::ns));
    filter.and(after, query.after);
    filter.and("ifid = $?", query.ifid.map(i64::from));
    filter.and("(client_port = $? OR server_port = $?)", query.port.map(i32::from));
    // The whole name, the protocol before the dot, or the application behind it.
    let l7 = query.l7.as_ref().map(|name| clean(name).to_lowercase());
    filter.and(
        "(lower(l7) = $?::text OR starts_with(lower(l7), $?::text || '.')
          OR right(lower(l7), length($?::text) + 1) = '.' || $?::text)",
        l7,
    );
    filter
}

/// The newest rows of `rows`, at most `limit`, with their places.
fn newest_of(rows: &str, limit: &str) -> String {
    format!(
        "SELECT chosen.*, coalesce(site, ''), coalesce(node, '')
         FROM (SELECT * FROM ({rows}) AS found ORDER BY number DESC LIMIT {limit}) AS chosen
         LEFT JOIN flow_place AS named ON named.place = chosen.place ORDER BY number DESC"
    )
}

fn read(rows: &[Row]) -> Result<Found, StoreError> {
    rows.iter().map(row::read).collect()
}

async fn of_all(connection: &Connection, query: &FlowQuery, wanted: usize) -> Result<Found, StoreError> {
    let mut filter = conditions(query, false);
    let rest = filter.text();
    let limit = filter.bind(wanted as i64);
    let rows = format!("SELECT {COLUMNS} FROM flow_record WHERE {rest}");
    read(&filter.query(connection, &newest_of(&rows, &limit)).await?)
}

async fn of_host(
    connection: &mut Connection,
    query: &FlowQuery,
    host: IpAddr,
    wanted: usize,
    walk: i64,
) -> Result<Found, StoreError> {
    let floor = floor(connection, query, walk).await?;
    let mut filter = conditions(query, false);
    filter.and("number >= $?", floor);
    filter.and("(client_ip = $? OR server_ip = $?)", Some(host));
    let rest = filter.text();
    let limit = filter.bind(wanted as i64);
    let rows = format!("SELECT {COLUMNS} FROM flow_record WHERE {rest}");
    let mut found = read(&filter.query(connection, &newest_of(&rows, &limit)).await?)?;
    let Some(floor) = floor else { return Ok(found) };
    let older = FlowQuery { after: Some(floor), ..query.clone() };
    for (partition, newest) in days(connection, &older, floor).await? {
        // Numbers are given as flows come, which is not quite the order of days.
        if found.get(wanted - 1).is_some_and(|(number, _)| *number > newest) {
            break;
        }
        found.extend(in_day(connection, &partition, &older, host, wanted).await?);
        found.sort_unstable_by_key(|(number, _)| Reverse(*number));
        found.truncate(wanted);
    }
    Ok(found)
}

/// The number from which on the newest `walk` rows are, of the days that `query` looks at; none where
/// there are no others.
async fn floor(connection: &Connection, query: &FlowQuery, walk: i64) -> Result<Option<i64>, StoreError> {
    let day = |time: Timestamp| day_of(time).saturating_mul(DAY_NS);
    let mut filter = Filter::default();
    filter.and("last_seen >= $?", query.from.map(day));
    filter.and("last_seen < $?", query.to.map(|to| day(to).saturating_add(DAY_NS)));
    filter.and("number < $?", query.after);
    let rest = filter.text();
    let last = filter.bind(walk - 1);
    let sql =
        format!("SELECT number FROM flow_record WHERE {rest} ORDER BY number DESC OFFSET {last} LIMIT 1");
    let rows = filter.query(connection, &sql).await?;
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

/// The partitions that `query` looks at, each with its largest number below `before`, largest first.
async fn days(
    connection: &Connection,
    query: &FlowQuery,
    before: i64,
) -> Result<Vec<(String, i64)>, StoreError> {
    let mut names = Vec::new();
    for Partition { name, bounds } in partitions(connection, RECORDS).await? {
        // What has no day may be of any time.
        let of_day = |(begin, end): (i64, i64)| {
            query.from.is_none_or(|from| from.ns() < end) && query.to.is_none_or(|to| begin < to.ns())
        };
        if bounds.is_none_or(of_day) {
            names.push(name);
        }
    }
    let largest = (0..).zip(&names).map(|(at, name): (i32, _)| {
        format!("SELECT {at} AS at, (SELECT max(number) FROM {name} WHERE number < $1) AS newest")
    });
    let largest = largest.collect::<Vec<_>>().join(" UNION ALL ");
    let sql = format!("SELECT * FROM ({largest}) AS days WHERE newest IS NOT NULL ORDER BY newest DESC");
    let rows = connection.query(&sql, &[&before]).await?;
    let name = |at: i32| usize::try_from(at).ok().and_then(|at| names.get(at)).cloned().unwrap_or_default();
    rows.iter().map(|row| Ok((name(row.try_get(0)?), row.try_get(1)?))).collect()
}

/// The statement for a host's rows of one partition, and its values. The planner takes a Bloom filter for
/// as good as none, so nothing else is left to it: no order to walk in, no other index. The host's rows of
/// the day are then sorted; few, or the newest would have been enough.
pub(super) fn day_statement(
    partition: &str,
    query: &FlowQuery,
    host: IpAddr,
    wanted: usize,
) -> (Filter, String) {
    let mut filter = conditions(query, true);
    filter.and("(client_ip = $? OR server_ip = $?)", Some(host));
    let rest = filter.text();
    let limit = filter.bind(wanted as i64);
    let rows = format!(
        "WITH of_day AS MATERIALIZED (SELECT {COLUMNS} FROM {partition} WHERE {rest}) SELECT * FROM of_day"
    );
    (filter, newest_of(&rows, &limit))
}

/// Before a [`day_statement`].
pub(super) const NO_SCAN: &str = "SET LOCAL enable_seqscan = off";

async fn in_day(
    connection: &mut Connection,
    partition: &str,
    query: &FlowQuery,
    host: IpAddr,
    wanted: usize,
) -> Result<Found, StoreError> {
    let (filter, sql) = day_statement(partition, query, host, wanted);
    let transaction = connection.transaction().await?;
    transaction.batch_execute(NO_SCAN).await?;
    read(&transaction.query(&sql, &filter.values()).await?)
}

/// What an earlier release has written.
async fn of_before(connection: &Connection, query: &FlowQuery, wanted: usize) -> Result<Found, StoreError> {
    let mut filter = conditions(query, false);
    let rest = filter.text();
    let limit = filter.bind(wanted as i64);
    let sql = match query.host {
        // Two index walks, newest first, merged: a busy host's page costs no sort of all its flows.
        Some(host) => {
            let host = filter.bind(host);
            let of = |side: &str| {
                format!(
                    "(SELECT number, json FROM flow WHERE {side} = {host} AND {rest}
                      ORDER BY number DESC LIMIT {limit})"
                )
            };
            format!(
                "SELECT DISTINCT ON (number) number, json FROM ({} UNION ALL {}) AS either
                 ORDER BY number DESC LIMIT {limit}",
                of("client_ip"),
                of("server_ip")
            )
        }
        None => format!("SELECT number, json FROM flow WHERE {rest} ORDER BY number DESC LIMIT {limit}"),
    };
    let rows = filter.query(connection, &sql).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, serde_json::from_str(row.try_get(1)?)?))).collect()
}
