//! How far each partition has come, what it looked like, and whose writes of it count.
//!
//! Whoever holds a partition's lease claims it here under his fence, and from then on the store refuses
//! what comes under a lower one. What a step of the partition causes is committed with the position that
//! caused it; from time to time the partition's state is kept with it. Whoever comes next begins with
//! that state and goes through what came after it again: what was committed already is not done twice.

use async_trait::async_trait;

use super::memory::Remembered;
use super::series::SampleBatch;
use super::{StoreError, Transition};
use crate::model::Position;

/// What is known of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The highest fence under which it was claimed.
    pub fence: u64,
    /// The last step that caused something.
    pub done: Position,
    /// Its state, and the step after which it was so.
    pub snapshot: Option<Snapshot>,
}

/// The state of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last step in it.
    pub at: Position,
    /// The state; only who made it can read it.
    pub state: Vec<u8>,
}

/// What one step of a partition caused.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Which partition.
    pub partition: u32,
    /// Under which fence it was made.
    pub fence: u64,
    /// What caused it.
    pub at: Position,
    /// Changes of the engaged set, and transitions to tell.
    pub transitions: Vec<Transition>,
    /// What scripts remember.
    pub remembered: Vec<Remembered>,
    /// What elements counted.
    pub samples: Vec<SampleBatch>,
    /// The state after the step.
    pub state: Option<Vec<u8>>,
}

/// Keeps partitions.
#[async_trait]
pub trait PartitionStore: Send + Sync + 'static {
    /// What is known of a partition; nothing of one that was never claimed.
    async fn saved(&self, partition: u32) -> Result<Option<Saved>, StoreError>;

    /// Claims a partition: from now on lower fences are refused.
    ///
    /// # Errors
    /// [`StoreError::StaleFence`] when it was claimed under a higher one.
    async fn claim(&self, partition: u32, fence: u64) -> Result<Saved, StoreError>;

    /// Does everything a step causes, or nothing. Where time series are kept apart from the rest they may be
    /// added before it, but not those of a step that is refused; their keys keep them from being added twice.
    ///
    /// # Errors
    /// [`StoreError::StaleFence`] when the partition was claimed under a higher fence; nothing is done.
    async fn commit(&self, step: Step) -> Result<(), StoreError>;

    /// The highest fence of all partitions; 0 when none was claimed.
    async fn highest_fence(&self) -> Result<u64, StoreError>;
}
