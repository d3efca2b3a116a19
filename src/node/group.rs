//! Which aggregators a shared store is of: partitions of two groups would be the same rows.

use shared::store::{Ledger, StoreError};

use super::NodeError;

/// Where the store notes it.
const SCOPE: &str = "cluster";
const KEY: &str = "group";

/// Notes that the store is that of `group`, unless it is another's.
///
/// # Errors
/// [`NodeError::Group`] names both.
pub(super) async fn claim(store: &(impl Ledger + ?Sized), group: &str) -> Result<(), NodeError> {
    if let Some(theirs) = noted(store).await? {
        return compare(theirs, group);
    }
    store.note(SCOPE, vec![(KEY.to_owned(), Some(group.to_owned()))]).await?;
    // Another may have been as fast: what is noted last counts.
    compare(noted(store).await?.unwrap_or_default(), group)
}

async fn noted(store: &(impl Ledger + ?Sized)) -> Result<Option<String>, StoreError> {
    Ok(store.notes(SCOPE).await?.remove(KEY))
}

fn compare(theirs: String, ours: &str) -> Result<(), NodeError> {
    match theirs == ours {
        true => Ok(()),
        false => Err(NodeError::Group { theirs, ours: ours.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use shared::store::sqlite::SqliteStore;

    use super::*;

    #[tokio::test]
    async fn whoever_comes_first_has_the_store_and_another_group_is_refused() {
        let store = SqliteStore::in_memory().unwrap();
        claim(&store, "site a").await.unwrap();
        claim(&store, "site a").await.unwrap();
        let refused = claim(&store, "all").await.unwrap_err().to_string();
        assert!(refused.contains("'site a'") && refused.contains("'all'"), "{refused}");
    }
}
