//! Which roles of nodes are there, in `hooks.db`.

use rusqlite::{Connection, params};

use super::SqliteStore;
use super::events::queue;
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::events::{Outgoing, Presence, PresenceState};

impl SqliteStore {
    pub(super) async fn known_presences(&self) -> Result<Vec<Presence>, StoreError> {
        self.hooks
            .read(|conn| {
                let sql = "SELECT role, node, run, state FROM presence ORDER BY role, node";
                let mut statement = conn.prepare_cached(sql)?;
                let mut rows = statement.query([])?;
                let mut known = Vec::new();
                while let Some(row) = rows.next()? {
                    let (run, state): (i64, String) = (row.get(2)?, row.get(3)?);
                    // A state that only a later release knows is none here.
                    let Some(state) = PresenceState::parse(&state) else { continue };
                    let (role, node) = (row.get(0)?, row.get(1)?);
                    known.push(Presence { role, node, run: run.cast_unsigned(), state });
                }
                Ok(known)
            })
            .await
    }

    pub(super) async fn turn(
        &self,
        before: Option<Presence>,
        after: Presence,
        at: Timestamp,
        outgoing: Outgoing,
    ) -> Result<bool, StoreError> {
        self.hooks
            .write(move |conn| {
                let turned = turn(conn, before.as_ref(), &after, at)?;
                if turned {
                    let Outgoing { owner, events, .. } = outgoing;
                    events.into_iter().try_for_each(|event| queue(conn, &owner, event))?;
                }
                Ok(turned)
            })
            .await
    }
}

fn turn(
    conn: &Connection,
    before: Option<&Presence>,
    after: &Presence,
    at: Timestamp,
) -> Result<bool, StoreError> {
    let (run, state) = (after.run.cast_signed(), after.state.name());
    let changed = match before {
        None => {
            let sql = "INSERT INTO presence (role, node, run, state, at) VALUES (?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT DO NOTHING";
            conn.prepare_cached(sql)?.execute(params![after.role, after.node, run, state, at.ns()])?
        }
        Some(known) => {
            let sql = "UPDATE presence SET run = ?3, state = ?4, at = ?5
                       WHERE role = ?1 AND node = ?2 AND run = ?6 AND state = ?7";
            let was = (known.run.cast_signed(), known.state.name());
            let asked = params![after.role, after.node, run, state, at.ns(), was.0, was.1];
            conn.prepare_cached(sql)?.execute(asked)?
        }
    };
    Ok(changed > 0)
}
