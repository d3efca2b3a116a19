//! Which collector saw a flow: a number for each site and node, given once and known from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::postgres::pool::{Database, clean};
use crate::store::{KeyedFlows, StoreError};

/// Site and node.
type Name = (String, String);

/// The numbers that this process has seen.
#[derive(Clone, Default)]
pub(in crate::store::postgres) struct Places(Arc<Mutex<Arc<BTreeMap<Name, i32>>>>);

impl Places {
    /// The numbers of all places of these batches, and of others.
    pub async fn of(
        &self,
        database: &Database,
        batches: &[KeyedFlows],
    ) -> Result<Arc<BTreeMap<Name, i32>>, StoreError> {
        let known = self.known();
        let mut missing = BTreeSet::new();
        let mut last = None;
        for stored in batches.iter().flat_map(|batch| &batch.flows) {
            // Flows of a batch are of one place.
            if last != Some((&stored.site, &stored.node)) {
                let name = (stored.site.clone(), stored.node.clone());
                if !known.contains_key(&name) {
                    missing.insert(name);
                }
                last = Some((&stored.site, &stored.node));
            }
        }
        if missing.is_empty() {
            return Ok(known);
        }
        let mut more = BTreeMap::clone(&known);
        for name in missing {
            let place = place_of(database, &name).await?;
            more.insert(name, place);
        }
        let more = Arc::new(more);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&more);
        Ok(more)
    }

    fn known(&self) -> Arc<BTreeMap<Name, i32>> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn place_of(database: &Database, (site, node): &Name) -> Result<i32, StoreError> {
    let (site, node) = (clean(site), clean(node));
    let connection = database.get().await?;
    let give = "INSERT INTO flow_place (site, node) VALUES ($1, $2) ON CONFLICT (site, node) DO NOTHING";
    connection.execute(give, &[&site, &node]).await?;
    let find = "SELECT place FROM flow_place WHERE site = $1 AND node = $2";
    Ok(connection.query_one(find, &[&site, &node]).await?.try_get(0)?)
}
