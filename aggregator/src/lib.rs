//! The aggregator: summaries in, element hooks and alert state in the middle, answers out.
//!
//! [`partition`] is the pure core: deltas in, transitions out. [`shard`], [`outbox`], [`writer`] and
//! [`supervisor`] act around it; [`api`] answers questions over REST. This crate knows nothing of
//! collectors and notifiers; it talks to them over the bus only. Start reading at [`partition`].

pub mod alert;
pub mod api;
pub mod carrier;
pub mod config;
pub mod element;
pub mod ingest;
pub mod keeper;
pub mod live;
pub mod metrics;
pub mod monitor;
pub mod nodes;
pub mod outbox;
pub mod partition;
pub mod presence;
mod prune;
pub mod report;
pub mod run;
pub mod schedule;
pub mod sessions;
pub mod shard;
pub mod snapshot;
pub mod supervisor;
pub mod syslog;
pub mod writer;

pub use config::AggregatorConfig;
pub use report::AggregatorReport;
pub use supervisor::{Aggregator, AggregatorDeps, AggregatorError, AggregatorMessage, Levels, spawn};
