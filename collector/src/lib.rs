//! The collector: packets in, summaries, flow records and flow alerts out.
//!
//! A packet goes [`capture`] → [`decode`] → [`flow`] (with [`l7`]) → [`hooks`] → [`pipeline`]'s
//! output, all on one thread per interface and all driven by the packets' own time. [`interface`],
//! [`publisher`] and [`supervisor`] are the actors around it. This crate knows nothing of
//! aggregators and notifiers; it talks to them over the bus only. Start reading at [`pipeline`].

mod affinity;
pub mod capture;
pub mod capture_thread;
pub mod config;
pub mod decode;
pub mod delivery;
pub mod epoch;
pub mod flow;
pub mod flow_alert;
pub mod hooks;
pub mod ingest;
pub mod interface;
pub mod l7;
pub mod merge;
pub mod metrics;
pub mod offline;
pub mod pipeline;
pub mod publisher;
pub mod report;
pub mod script_answer;
#[cfg(test)]
mod seeds;
pub mod shards;
pub mod spool;
pub mod summary;
pub mod supervisor;

pub use config::CollectorConfig;
pub use supervisor::{Collector, CollectorDeps, CollectorError, spawn};
