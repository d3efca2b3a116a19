//! Notes beside deliveries, and the search for what must not be.

use std::collections::BTreeMap;

use crate::model::Timestamp;
use crate::store::postgres::pool::{Database, Failed, clean};
use crate::store::{LedgerAudit, StoreError};

/// Seconds after which a claim that ran out should have been taken up.
const FORGOTTEN_SECS: i64 = 600;

/// Seconds within which an event was accepted whose deliveries are looked for.
const RECENT_SECS: i64 = 3600;

pub(super) async fn all(database: &Database, scope: &str) -> Result<BTreeMap<String, String>, StoreError> {
    let rows =
        database.get().await?.query("SELECT key, value FROM note WHERE scope = $1", &[&clean(scope)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

pub(super) async fn change(
    database: &Database,
    scope: &str,
    changes: &[(String, Option<String>)],
) -> Result<(), Failed> {
    // The last word on each counts; in order of the keys, so that rows are locked alike by all.
    let last: BTreeMap<_, _> = changes.iter().map(|(key, value)| (clean(key), value)).collect();
    let scope = clean(scope);
    let mut connection = database.get().await?;
    let transaction = connection.transaction().await?;
    for (key, value) in last {
        match value {
            Some(value) => {
                let sql = "INSERT INTO note (scope, key, value) VALUES ($1, $2, $3)
                           ON CONFLICT (scope, key) DO UPDATE SET value = excluded.value";
                let sql = transaction.prepare_cached(sql).await?;
                transaction.execute(&sql, &[&scope, &key, &clean(value)]).await?;
            }
            None => {
                let sql =
                    transaction.prepare_cached("DELETE FROM note WHERE scope = $1 AND key = $2").await?;
                transaction.execute(&sql, &[&scope, &key]).await?;
            }
        }
    }
    transaction.commit().await?;
    Ok(())
}

/// In one statement, so that all counts are of one moment. What was given up and brought back is older
/// than what is under way, rightly.
pub(super) async fn audit(database: &Database, now: Timestamp) -> Result<LedgerAudit, StoreError> {
    let sql = "SELECT
        (SELECT count(*) FROM
             (SELECT DISTINCT recipient, order_key FROM delivery WHERE finished_at IS NULL) AS open
         WHERE NOT EXISTS (SELECT 1 FROM delivery AS d
             WHERE d.recipient = open.recipient AND d.order_key = open.order_key AND d.head)),
        (SELECT count(*) FROM delivery WHERE state = 'claimed' AND claim_until < $1),
        (SELECT count(*) FROM lane WHERE
             pending <> (SELECT count(*) FROM delivery AS d
                         WHERE d.recipient = lane.recipient AND finished_at IS NULL)
             OR dead <> (SELECT count(*) FROM delivery AS d
                         WHERE d.recipient = lane.recipient AND state = 'dead')),
        (SELECT count(*) FROM event AS e WHERE accepted_at > $2
             AND owed > (SELECT count(*) FROM delivery WHERE event_id = e.id)),
        (SELECT count(*) FROM delivery AS new WHERE new.state = 'claimed' AND EXISTS
             (SELECT 1 FROM delivery AS old
              WHERE old.recipient = new.recipient AND old.order_key = new.order_key
                AND old.seq < new.seq AND old.finished_at IS NULL AND NOT EXISTS
                    (SELECT 1 FROM attempt AS a
                     WHERE a.event_id = old.event_id AND a.recipient = old.recipient AND a.outcome = 'dead')))";
    let before = now.plus_secs(-FORGOTTEN_SECS).ns();
    let recent = now.plus_secs(-RECENT_SECS).ns();
    let row = database.get().await?.query_one(sql, &[&before, &recent]).await?;
    let count = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(LedgerAudit {
        stuck_keys: count(0)?,
        forgotten_claims: count(1)?,
        wrong_totals: count(2)?,
        lost_deliveries: count(3)?,
        out_of_order: count(4)?,
    })
}
