//! The notifier: who gets told of what, and that it arrives.
//!
//! It takes alerts and scripts' HTTP posts from the bus, decides once who gets them
//! ([`criteria`]), writes event and deliveries to the ledger, and only then acknowledges them
//! ([`dispatcher`]). Each recipient has a lane of its own ([`recipient`]) that claims what is due,
//! hands it to its [`endpoint`] kind and records how it ended: delivered, again later, or dead with
//! a reason. One dead endpoint never delays another lane.
//!
//! This crate knows neither capture nor elements nor alert state, and no other role. Start reading
//! at [`supervisor`].

pub mod alert_events;
pub mod answering;
pub mod bridge;
pub mod condition;
pub mod config;
pub mod criteria;
pub mod directory;
pub mod dispatcher;
pub mod endpoint;
pub mod failpoint;
pub mod field;
pub mod follow_up;
pub mod format;
pub mod gate;
pub mod hook;
pub mod http;
pub mod inhibit;
pub mod lane;
pub mod latency;
pub mod leftovers;
pub mod messages;
pub mod metrics;
pub mod pace;
pub mod params;
pub mod plan;
pub mod posting;
pub mod program;
pub mod questions;
pub mod recipient;
pub mod redact;
pub mod references;
pub mod roster;
pub mod route;
pub mod supervisor;
pub mod target;
pub mod tls;
pub mod trouble;

#[cfg(test)]
mod testing;

pub use config::NotifierConfig;
pub use supervisor::{NotifierDeps, NotifierError, NotifierMessage, NotifierSupervisor, spawn};
