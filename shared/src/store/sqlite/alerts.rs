//! Alert history, the engaged set and the outbox, in `ledger.db`.

use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::filter::Filter;
use super::{PRUNE_ROWS, SqliteStore};
use crate::model::query::{AlertQuery, Page, StoredAlert};
use crate::model::{Alert, Timestamp};
use crate::store::page::{page, page_limit};
use crate::store::{AlertMark, AlertStore, EngagedAlert, StoreError, Transition};

#[async_trait]
impl AlertStore for SqliteStore {
    async fn add_history(&self, alerts: Vec<Alert>) -> Result<u64, StoreError> {
        let rows = with_json(alerts)?;
        self.ledger.write(move |conn| add_history(conn, &rows)).await
    }

    async fn history(&self, query: AlertQuery) -> Result<Page<StoredAlert>, StoreError> {
        self.ledger.read(move |conn| history(conn, query)).await
    }

    async fn mark(
        &self,
        of: AlertQuery,
        mark: AlertMark,
        by: &str,
        at: Timestamp,
    ) -> Result<u64, StoreError> {
        let by = by.to_owned();
        self.ledger.write_in_steps(PRUNE_ROWS, move |conn| set_mark(conn, &of, &mark, &by, at)).await
    }

    async fn delete_history(&self, of: AlertQuery) -> Result<u64, StoreError> {
        self.ledger.write_in_steps(PRUNE_ROWS, move |conn| delete_history(conn, &of)).await
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Result<(), StoreError> {
        let changes = changes(transitions)?;
        self.ledger.write(move |conn| changes.iter().try_for_each(|change| change.apply(conn))).await
    }

    async fn engaged(&self, partition: Option<u32>) -> Result<Vec<EngagedAlert>, StoreError> {
        self.ledger.read(move |conn| engaged(conn, partition)).await
    }

    async fn outbox(&self, limit: usize) -> Result<Vec<(i64, Alert)>, StoreError> {
        self.ledger.read(move |conn| outbox(conn, limit)).await
    }

    async fn outbox_told(&self, numbers: Vec<i64>) -> Result<(), StoreError> {
        self.ledger.write(move |conn| outbox_told(conn, &numbers)).await
    }

    async fn prune_history(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.ledger.write_in_steps(PRUNE_ROWS, move |conn| prune_told(conn, before)).await?;
        self.ledger.write_in_steps(PRUNE_ROWS, move |conn| prune_history(conn, before)).await
    }
}

/// Serialized by the caller, so that the writing thread only writes.
fn with_json(alerts: Vec<Alert>) -> Result<Vec<(Alert, String)>, StoreError> {
    alerts
        .into_iter()
        .map(|alert| serde_json::to_string(&alert).map(|json| (alert, json)).map_err(Into::into))
        .collect()
}

fn add_history(conn: &Connection, rows: &[(Alert, String)]) -> Result<u64, StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO alert (id, action, tstamp, severity, category, entity, entity_value, alert_type,
                            site, ifid, script, score, json)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
         ON CONFLICT (id, action) DO NOTHING",
    )?;
    let mut added = 0;
    for (alert, json) in rows {
        added += insert.execute(params![
            alert.id,
            alert.action.name(),
            alert.tstamp.ns(),
            alert.severity.id(),
            alert.category.id(),
            alert.entity as u8,
            alert.entity_value,
            alert.alert_type,
            alert.site,
            alert.ifid,
            alert.script,
            alert.score,
            json,
        ])? as u64;
    }
    Ok(added)
}

fn conditions(query: AlertQuery) -> Filter {
    let mut filter = Filter::default();
    filter.and("row = :row", ":row", query.row);
    filter.and("id = :id", ":id", query.id);
    filter.and("tstamp >= :from", ":from", query.from.map(Timestamp::ns));
    filter.and("tstamp < :to", ":to", query.to.map(Timestamp::ns));
    filter.and("severity >= :severity", ":severity", query.min_severity.map(|s| i64::from(s.id())));
    filter.and("entity = :entity", ":entity", query.entity.map(|e| i64::from(e as u8)));
    filter.and("entity_value = :value", ":value", query.entity_value);
    filter.and("category = :category", ":category", query.category.map(|c| i64::from(c.id())));
    filter.and("alert_type = :type", ":type", query.alert_type);
    filter.and("action = :action", ":action", query.action.map(|a| a.name().to_owned()));
    filter.and("acknowledged = :acknowledged", ":acknowledged", query.acknowledged.map(i64::from));
    filter.and("row < :before", ":before", query.before_row);
    filter
}

fn history(conn: &Connection, query: AlertQuery) -> Result<Page<StoredAlert>, StoreError> {
    let limit = page_limit(query.limit);
    let mut filter = conditions(query);
    filter.bind(":limit", limit as i64 + 1);
    let sql = format!(
        "SELECT row, acknowledged, json, acknowledged_by, acknowledged_at, label, labelled_by, labelled_at
         FROM alert WHERE {} ORDER BY row DESC LIMIT :limit",
        filter.text()
    );
    let rows = filter.query(conn, &sql, |row| {
        let number = row.get(0)?;
        let alert = serde_json::from_str(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?;
        let time = |at: Option<i64>| at.map(Timestamp::from_ns);
        let stored = StoredAlert {
            row: number,
            acknowledged: row.get(1)?,
            acknowledged_by: row.get(3)?,
            acknowledged_at: time(row.get(4)?),
            label: row.get(5)?,
            labelled_by: row.get(6)?,
            labelled_at: time(row.get(7)?),
            alert,
        };
        Ok((number, stored))
    })?;
    Ok(page(rows, limit))
}

/// Marks some of the rows that are not marked so yet.
fn set_mark(
    conn: &Connection,
    of: &AlertQuery,
    mark: &AlertMark,
    by: &str,
    at: Timestamp,
) -> Result<usize, StoreError> {
    let mut filter = conditions(of.clone());
    let (set, unless) = match mark {
        AlertMark::Acknowledged => {
            ("acknowledged = 1, acknowledged_by = :by, acknowledged_at = :at", "acknowledged = 0")
        }
        AlertMark::NotAcknowledged => {
            ("acknowledged = 0, acknowledged_by = NULL, acknowledged_at = NULL", "acknowledged = 1")
        }
        AlertMark::Label(label) if label.is_empty() => {
            ("label = NULL, labelled_by = NULL, labelled_at = NULL", "label IS NOT NULL")
        }
        AlertMark::Label(label) => {
            filter.bind(":label", label.clone());
            ("label = :label, labelled_by = :by, labelled_at = :at", "label IS NOT :label")
        }
    };
    if set.contains(":by") {
        filter.bind(":by", by.to_owned());
        filter.bind(":at", at.ns());
    }
    filter.bind(":limit", PRUNE_ROWS as i64);
    let which = filter.text();
    filter.execute(
        conn,
        &format!(
            "UPDATE alert SET {set} WHERE row IN (SELECT row FROM alert WHERE {which} AND {unless} LIMIT :limit)"
        ),
    )
}

fn delete_history(conn: &Connection, of: &AlertQuery) -> Result<usize, StoreError> {
    let mut filter = conditions(of.clone());
    filter.bind(":limit", PRUNE_ROWS as i64);
    let which = filter.text();
    filter.execute(
        conn,
        &format!("DELETE FROM alert WHERE row IN (SELECT row FROM alert WHERE {which} LIMIT :limit)"),
    )
}

/// Serialized by the caller too.
pub(super) fn changes(transitions: Vec<Transition>) -> Result<Vec<Change>, StoreError> {
    transitions.into_iter().map(Change::new).collect()
}

/// A transition with the JSON of what it writes.
pub(super) enum Change {
    Engage { partition: u32, alert: Alert, json: String },
    Update { partition: u32, id: String, json: String, told: Option<(String, Alert)> },
    Release { alert: Alert, json: String },
    Store { alert: Alert, json: String },
}

impl Change {
    fn new(transition: Transition) -> Result<Self, StoreError> {
        Ok(match transition {
            Transition::Engage(EngagedAlert { partition, alert }) => {
                Self::Engage { partition, json: serde_json::to_string(&alert)?, alert }
            }
            Transition::Update(EngagedAlert { partition, alert }) => {
                Self::Update { partition, json: serde_json::to_string(&alert)?, id: alert.id, told: None }
            }
            Transition::Worsen(engaged, at) => {
                let update = engaged.update(at);
                let told = Some((serde_json::to_string(&update)?, update));
                let EngagedAlert { partition, alert } = engaged;
                Self::Update { partition, json: serde_json::to_string(&alert)?, id: alert.id, told }
            }
            Transition::Release(alert) => Self::Release { json: serde_json::to_string(&alert)?, alert },
            Transition::Store(alert) => Self::Store { json: serde_json::to_string(&alert)?, alert },
        })
    }

    pub(super) fn apply(&self, conn: &Connection) -> Result<(), StoreError> {
        match self {
            Self::Engage { partition, alert, json } => {
                // An alert engaged again keeps its number and with it its place.
                let mut engage = conn.prepare_cached(
                    "INSERT INTO engaged (id, part, json) VALUES (?1, ?2, ?3)
                     ON CONFLICT (id) DO UPDATE SET part = excluded.part, json = excluded.json",
                )?;
                engage.execute(params![alert.id, partition, json])?;
                tell(conn, alert, json)
            }
            Self::Update { partition, id, json, told } => {
                let mut update =
                    conn.prepare_cached("UPDATE engaged SET part = ?2, json = ?3 WHERE id = ?1")?;
                update.execute(params![id, partition, json])?;
                told.iter().try_for_each(|(json, alert)| tell(conn, alert, json))
            }
            Self::Release { alert, json } => {
                conn.prepare_cached("DELETE FROM engaged WHERE id = ?1")?.execute([&alert.id])?;
                tell(conn, alert, json)
            }
            Self::Store { alert, json } => tell(conn, alert, json),
        }
    }
}

fn tell(conn: &Connection, alert: &Alert, json: &str) -> Result<(), StoreError> {
    let mut queue = conn.prepare_cached(
        "INSERT INTO outbox (transition, tstamp, json) VALUES (?1, ?2, ?3) ON CONFLICT (transition) DO NOTHING",
    )?;
    queue.execute(params![alert.transition_id(), alert.tstamp.ns(), json])?;
    Ok(())
}

fn engaged(conn: &Connection, partition: Option<u32>) -> Result<Vec<EngagedAlert>, StoreError> {
    let mut filter = Filter::default();
    filter.and("part = :part", ":part", partition);
    let sql = format!("SELECT part, json FROM engaged WHERE {} ORDER BY number", filter.text());
    filter.query(conn, &sql, |row| {
        let alert = serde_json::from_str(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        Ok(EngagedAlert { partition: row.get(0)?, alert })
    })
}

fn outbox(conn: &Connection, limit: usize) -> Result<Vec<(i64, Alert)>, StoreError> {
    let mut filter = Filter::default();
    filter.bind(":limit", i64::try_from(limit).unwrap_or(i64::MAX));
    let sql = "SELECT number, json FROM outbox WHERE json IS NOT NULL ORDER BY number LIMIT :limit";
    filter.query(conn, sql, |row| {
        let alert = serde_json::from_str(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        Ok((row.get(0)?, alert))
    })
}

fn outbox_told(conn: &Connection, numbers: &[i64]) -> Result<(), StoreError> {
    let mut forget = conn.prepare_cached("UPDATE outbox SET json = NULL WHERE number = ?1")?;
    numbers.iter().try_for_each(|number| forget.execute([number]).map(|_| ()))?;
    Ok(())
}

fn prune_told(conn: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    let mut prune = conn.prepare_cached(
        "DELETE FROM outbox WHERE number IN
             (SELECT number FROM outbox WHERE json IS NULL AND tstamp < ?1 LIMIT ?2)",
    )?;
    Ok(prune.execute(params![before.ns(), PRUNE_ROWS as i64])?)
}

fn prune_history(conn: &Connection, before: Timestamp) -> Result<usize, StoreError> {
    let mut prune = conn.prepare_cached(
        "DELETE FROM alert WHERE row IN (SELECT row FROM alert WHERE tstamp < ?1 LIMIT ?2)",
    )?;
    Ok(prune.execute(params![before.ns(), PRUNE_ROWS as i64])?)
}
