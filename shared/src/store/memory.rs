//! What scripts remember.

use async_trait::async_trait;

use super::StoreError;

/// One value of one script on one interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remembered {
    /// Partition of the interface.
    pub partition: u32,
    /// Site of the interface.
    pub site: String,
    /// The interface.
    pub ifid: u32,
    /// Key of the script.
    pub script: String,
    /// The script's key of the value.
    pub key: String,
    /// JSON; nothing forgets it.
    pub value: Option<String>,
}

/// Keeps what scripts remember.
#[async_trait]
pub trait MemoryStore: Send + Sync + 'static {
    /// Everything that scripts remember in one partition.
    async fn remembered(&self, partition: u32) -> Result<Vec<Remembered>, StoreError>;

    /// Remembers and forgets, in this order, in one transaction.
    async fn remember(&self, changes: Vec<Remembered>) -> Result<(), StoreError>;
}
