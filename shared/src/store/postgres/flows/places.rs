//! Which collector saw a flow: a number for each site and node, given once.

use std::collections::{BTreeMap, BTreeSet};

use crate::store::postgres::pool::{Database, clean, column};
use crate::store::{KeyedFlows, StoreError};

/// Site and node.
pub(super) type Name = (String, String);

/// The numbers of the places of these batches. The server is asked each time: one that took over from
/// another, or was set back, may have given a number to somebody else since.
pub(super) async fn of(
    database: &Database,
    batches: &[KeyedFlows],
) -> Result<BTreeMap<Name, i32>, StoreError> {
    let mut names = BTreeSet::new();
    let mut last = None;
    for stored in batches.iter().flat_map(|batch| &batch.flows) {
        // Flows of a batch are of one place.
        if last != Some((&stored.site, &stored.node)) {
            names.insert((stored.site.clone(), stored.node.clone()));
            last = Some((&stored.site, &stored.node));
        }
    }
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names: Vec<Name> = names.into_iter().collect();
    let (sites, nodes) = (column(&names, |name| clean(&name.0)), column(&names, |name| clean(&name.1)));
    let connection = database.get().await?;
    let give = "INSERT INTO flow_place (site, node)
                SELECT DISTINCT site, node FROM unnest($1::text[], $2::text[]) AS new (site, node)
                WHERE NOT EXISTS (SELECT 1 FROM flow_place AS known
                                  WHERE known.site = new.site AND known.node = new.node)
                ORDER BY site, node ON CONFLICT (site, node) DO NOTHING";
    connection.execute(&connection.prepare_cached(give).await?, &[&sites, &nodes]).await?;
    let find = "SELECT asked.at, place
                FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (site, node, at)
                JOIN flow_place USING (site, node)";
    let found = connection.query(&connection.prepare_cached(find).await?, &[&sites, &nodes]).await?;
    let mut places = BTreeMap::new();
    for row in found {
        let at = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or(usize::MAX);
        if let Some(name) = names.get(at) {
            places.insert(name.clone(), row.try_get(1)?);
        }
    }
    Ok(places)
}
