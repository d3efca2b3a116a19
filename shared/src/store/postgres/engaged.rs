//! The engaged set and the outbox.

use std::collections::HashMap;

use deadpool_postgres::Transaction;

use super::pool::{Database, Failed, clean, column};
use crate::model::Alert;
use crate::store::{EngagedAlert, StoreError, Transition};

/// What a list of transitions comes to, so that however long it is a few statements do it.
#[derive(Default)]
pub(super) struct Changes {
    gone: Vec<String>,
    /// Those that show something else where they are still engaged.
    updated: Vec<Shown>,
    engaged: Vec<Shown>,
    /// Transitions to tell, in order: id, time, JSON.
    told: Vec<(String, i64, String)>,
}

struct Shown {
    id: String,
    part: i64,
    json: String,
}

/// What becomes of one alert.
#[derive(Default)]
struct Fate {
    gone: bool,
    /// Place among those that engage; none for one that is only updated.
    engages: Option<usize>,
    shown: Option<(i64, String)>,
}

/// Shows something else of an alert, unless it is gone.
fn show(fates: &mut HashMap<String, Fate>, engaged: EngagedAlert) -> Result<(), StoreError> {
    let json = serde_json::to_string(&engaged.alert)?;
    let fate = fates.entry(engaged.alert.id).or_default();
    if !fate.gone || fate.engages.is_some() {
        fate.shown = Some((i64::from(engaged.partition), json));
    }
    Ok(())
}

impl Changes {
    /// Adds up transitions, which come in their order.
    pub fn of(transitions: Vec<Transition>) -> Result<Self, StoreError> {
        let mut fates: HashMap<String, Fate> = HashMap::new();
        let mut changes = Self::default();
        for (place, transition) in transitions.into_iter().enumerate() {
            match transition {
                Transition::Engage(EngagedAlert { partition, alert }) => {
                    let json = changes.tell(&alert)?;
                    let fate = fates.entry(alert.id).or_default();
                    fate.engages.get_or_insert(place);
                    fate.shown = Some((i64::from(partition), json));
                }
                Transition::Update(engaged) => show(&mut fates, engaged)?,
                Transition::Worsen(engaged, at) => {
                    changes.tell(&engaged.update(at))?;
                    show(&mut fates, engaged)?;
                }
                Transition::Release(alert) => {
                    changes.tell(&alert)?;
                    fates.insert(alert.id, Fate { gone: true, ..Fate::default() });
                }
                Transition::Store(alert) => drop(changes.tell(&alert)?),
            }
        }
        let mut engaged = Vec::new();
        for (id, fate) in fates {
            if fate.gone {
                changes.gone.push(id.clone());
            }
            let Some((part, json)) = fate.shown else { continue };
            match fate.engages {
                Some(place) => engaged.push((place, Shown { id, part, json })),
                None => changes.updated.push(Shown { id, part, json }),
            }
        }
        engaged.sort_by_key(|(place, _)| *place);
        changes.engaged = engaged.into_iter().map(|(_, shown)| shown).collect();
        // Rows are locked in one order by whoever changes the same.
        changes.gone.sort();
        changes.updated.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(changes)
    }

    fn tell(&mut self, alert: &Alert) -> Result<String, StoreError> {
        let json = serde_json::to_string(alert)?;
        self.told.push((alert.transition_id(), alert.tstamp.ns(), json.clone()));
        Ok(json)
    }

    /// Makes the changes, in one transaction.
    pub async fn apply(&self, database: &Database) -> Result<(), Failed> {
        let mut connection = database.get().await?;
        let transaction = connection.transaction().await?;
        self.apply_in(&transaction).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Makes the changes within a transaction.
    pub async fn apply_in(&self, transaction: &Transaction<'_>) -> Result<(), Failed> {
        if !self.gone.is_empty() {
            let sql = transaction.prepare_cached("DELETE FROM engaged WHERE id = ANY($1)").await?;
            transaction.execute(&sql, &[&self.gone]).await?;
        }
        if !self.updated.is_empty() {
            let sql = "UPDATE engaged SET part = new.part, json = new.json
                       FROM unnest($1::text[], $2::bigint[], $3::text[]) AS new (id, part, json)
                       WHERE engaged.id = new.id";
            let sql = transaction.prepare_cached(sql).await?;
            let rows = &self.updated;
            let (ids, parts) = (column(rows, |s| &*s.id), column(rows, |s| s.part));
            transaction.execute(&sql, &[&ids, &parts, &column(rows, |s| clean(&s.json))]).await?;
        }
        if !self.engaged.is_empty() {
            // An alert engaged again keeps its number and with it its place.
            let sql = "INSERT INTO engaged (id, part, json) SELECT new.id, new.part, new.json
                       FROM unnest($1::text[], $2::bigint[], $3::text[]) WITH ORDINALITY AS new (id, part, json, n)
                       ORDER BY new.n
                       ON CONFLICT (id) DO UPDATE SET part = excluded.part, json = excluded.json";
            let sql = transaction.prepare_cached(sql).await?;
            let rows = &self.engaged;
            let (ids, parts) = (column(rows, |s| &*s.id), column(rows, |s| s.part));
            transaction.execute(&sql, &[&ids, &parts, &column(rows, |s| clean(&s.json))]).await?;
        }
        if !self.told.is_empty() {
            let sql =
                "INSERT INTO outbox (transition, tstamp, json) SELECT new.transition, new.tstamp, new.json
                       FROM unnest($1::text[], $2::bigint[], $3::text[]) WITH ORDINALITY
                            AS new (transition, tstamp, json, n)
                       ORDER BY new.n ON CONFLICT (transition) DO NOTHING";
            let sql = transaction.prepare_cached(sql).await?;
            let rows = &self.told;
            let (ids, times) = (column(rows, |t| clean(&t.0)), column(rows, |t| t.1));
            transaction.execute(&sql, &[&ids, &times, &column(rows, |t| clean(&t.2))]).await?;
        }
        Ok(())
    }
}

/// Engaged alerts of one partition, or of all, oldest first.
pub(super) async fn engaged(
    database: &Database,
    partition: Option<u32>,
) -> Result<Vec<EngagedAlert>, StoreError> {
    let sql = "SELECT part, json FROM engaged WHERE $1::bigint IS NULL OR part = $1 ORDER BY number";
    let connection = database.get().await?;
    let sql = connection.prepare_cached(sql).await?;
    let rows = connection.query(&sql, &[&partition.map(i64::from)]).await?;
    let read = |row: &tokio_postgres::Row| {
        let part: i64 = row.try_get(0)?;
        let partition = u32::try_from(part)
            .map_err(|_| StoreError::Statement(format!("an engaged alert is of partition {part}")))?;
        Ok(EngagedAlert { partition, alert: serde_json::from_str(row.try_get(1)?)? })
    };
    rows.iter().map(read).collect()
}

/// The oldest transitions not yet told.
pub(super) async fn outbox(database: &Database, limit: usize) -> Result<Vec<(i64, Alert)>, StoreError> {
    let sql = "SELECT number, json FROM outbox WHERE json IS NOT NULL ORDER BY number LIMIT $1";
    let connection = database.get().await?;
    let sql = connection.prepare_cached(sql).await?;
    let rows = connection.query(&sql, &[&i64::try_from(limit).unwrap_or(i64::MAX)]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, serde_json::from_str(row.try_get(1)?)?))).collect()
}
