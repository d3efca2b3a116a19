//! The hook manager: runs what users attach to events, and keeps every execution on record.
//!
//! Events come from their stream on the bus ([`intake`]); which hooks each is for is known from the
//! settings in force ([`plan`]); event and executions are written in one transaction, and only then is
//! the message acknowledged. The [`executor`] takes what is due, runs it ([`runner`], one file a kind),
//! writes how it ended and what follows. So an event is lost by no end of the process, a try that was
//! broken off is made once more under the same key, and everything is on record.
//! Of several notifiers with one store one does all that, until another has to (`duty`).

pub mod config;
pub mod desk;
mod duty;
pub mod executor;
pub mod input;
pub mod intake;
pub mod manager;
pub mod message;
pub mod plan;
pub mod runner;
pub mod scripts;

#[cfg(test)]
mod tests;
