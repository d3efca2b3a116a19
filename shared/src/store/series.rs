//! Time series: what elements counted in each minute, and the same added up per 5 minutes, hour and
//! day.

use async_trait::async_trait;

use super::StoreError;
use crate::model::metric::Metrics;
use crate::model::packed::Packed;
use crate::model::{Entity, Granularity, Timestamp};

/// Points of one series in one answer at most.
pub const MAX_POINTS: usize = 10_000;

/// Which element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ElementId {
    /// Site.
    pub site: String,
    /// Interface.
    pub ifid: u32,
    /// Kind of element.
    pub entity: Entity,
    /// Its identifying string.
    pub value: String,
}

/// What one element counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Which element.
    pub element: ElementId,
    /// Growth of its counters, by place in the table of its kind.
    pub counters: Packed,
    /// Numbers with names of their own.
    pub metrics: Metrics,
}

/// What the elements of one interface counted in one window.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleBatch {
    /// The same whenever this batch comes: it is added once.
    pub key: String,
    /// Periods that it is added to, each with the end of its window.
    pub windows: Vec<(Granularity, Timestamp)>,
    /// The elements.
    pub samples: Vec<Sample>,
}

/// Which series to read.
#[derive(Clone, Debug)]
pub struct SeriesQuery {
    /// Kind of element.
    pub entity: Entity,
    /// Its identifying string.
    pub value: String,
    /// At this site; any when absent.
    pub site: Option<String>,
    /// On this interface; any when absent.
    pub ifid: Option<u32>,
    /// Length of the windows.
    pub period: Granularity,
    /// Windows that end after this.
    pub from: Timestamp,
    /// Windows that end at this or before.
    pub to: Timestamp,
    /// Points of each series at most, the newest.
    pub limit: usize,
}

/// One window of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// End of the window.
    pub at: Timestamp,
    /// What was counted in it.
    pub counters: Packed,
    /// Numbers with names of their own.
    pub metrics: Metrics,
}

/// One element's windows, oldest first; what counted nothing has none.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Site.
    pub site: String,
    /// Interface.
    pub ifid: u32,
    /// The windows.
    pub points: Vec<Point>,
}

/// Which elements counted most.
#[derive(Clone, Debug)]
pub struct TopQuery {
    /// Kind of element.
    pub entity: Entity,
    /// At this site; any when absent.
    pub site: Option<String>,
    /// On this interface; any when absent.
    pub ifid: Option<u32>,
    /// Length of the windows to add up.
    pub period: Granularity,
    /// Windows that end after this.
    pub from: Timestamp,
    /// Windows that end at this or before.
    pub to: Timestamp,
    /// Places of the counters whose sum decides.
    pub places: Vec<usize>,
    /// Elements at most.
    pub limit: usize,
}

/// The series of every element.
#[async_trait]
pub trait SeriesStore: Send + Sync + 'static {
    /// Adds a batch to its windows; one already added (same key) is left alone.
    async fn add_samples(&self, batch: SampleBatch) -> Result<(), StoreError>;

    /// The series of one element, one for each interface that knows it.
    async fn series(&self, query: SeriesQuery) -> Result<Vec<Series>, StoreError>;

    /// Elements by the sum of some counters, largest first; those that counted nothing are left out.
    async fn top(&self, query: TopQuery) -> Result<Vec<(ElementId, u64)>, StoreError>;

    /// Deletes windows of a period that ended before `before`; returns how many.
    async fn prune_series(&self, period: Granularity, before: Timestamp) -> Result<u64, StoreError>;
}
