//! Which roles of nodes are there.

use super::PostgresStore;
use super::events::queue;
use super::pool::{Failed, clean};
use crate::model::Timestamp;
use crate::store::StoreError;
use crate::store::events::{Outgoing, Presence, PresenceState};

impl PostgresStore {
    pub(super) async fn known_presences(&self) -> Result<Vec<Presence>, StoreError> {
        let sql = "SELECT role, node, run, state FROM presence ORDER BY role, node";
        let mut known = Vec::new();
        for row in self.database.get().await?.query(sql, &[]).await? {
            let (run, state): (i64, &str) = (row.try_get(2)?, row.try_get(3)?);
            // A state that only a later release knows is none here.
            let Some(state) = PresenceState::parse(state) else { continue };
            let (role, node) = (row.try_get(0)?, row.try_get(1)?);
            known.push(Presence { role, node, run: run.cast_unsigned(), state });
        }
        Ok(known)
    }

    pub(super) async fn turn(
        &self,
        before: Option<&Presence>,
        after: &Presence,
        at: Timestamp,
        outgoing: &Outgoing,
    ) -> Result<bool, Failed> {
        let mut connection = self.database.get().await?;
        let transaction = connection.transaction().await?;
        let (role, node) = (clean(&after.role), clean(&after.node));
        let (run, state) = (after.run.cast_signed(), after.state.name());
        let changed = match before {
            None => {
                let sql = "INSERT INTO presence (role, node, run, state, at) VALUES ($1, $2, $3, $4, $5)
                           ON CONFLICT DO NOTHING";
                transaction.execute(sql, &[&role, &node, &run, &state, &at.ns()]).await?
            }
            Some(known) => {
                let sql = "UPDATE presence SET run = $3, state = $4, at = $5
                           WHERE role = $1 AND node = $2 AND run = $6 AND state = $7";
                let was = (known.run.cast_signed(), known.state.name());
                transaction.execute(sql, &[&role, &node, &run, &state, &at.ns(), &was.0, &was.1]).await?
            }
        };
        if changed > 0 {
            queue(&transaction, &outgoing.owner, &outgoing.events).await?;
            transaction.commit().await?;
        }
        Ok(changed > 0)
    }
}
