//! Leases: who may do what only one may do.
//!
//! A lease is taken, renewed and given up by compare-and-set; one that is not renewed for [`TTL`] is
//! free again. That keeps two holders apart *mostly*: a holder that was stopped for a while may not
//! know that another has come. Therefore every lease has a fence, a number that grows with each taking,
//! and the store refuses what comes with a lower one than it has seen.
//!
//! Two carriers, [`memory`] and NATS ([`crate::bus::nats`]), pass one suite, [`conformance`].

use std::time::Duration;

use async_trait::async_trait;

use crate::bus::BusError;

pub mod conformance;
pub mod memory;

/// How long a lease lasts without being renewed.
pub const TTL: Duration = Duration::from_secs(10);

/// A lease that was held when it was given out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What it is for: letters, digits, `-`, `_`, `.` and `/`.
    pub name: String,
    /// Who holds it.
    pub holder: String,
    /// Larger than that of every earlier holder; stays the same while the lease is renewed.
    pub fence: u64,
    /// The carrier's number of the last renewal.
    pub revision: u64,
}

/// Gives out leases. An error says that the outcome is not known.
#[async_trait]
pub trait Leases: Send + Sync + 'static {
    /// Takes a lease, unless somebody holds it.
    async fn take(&self, name: &str, holder: &str) -> Result<Option<Lease>, BusError>;

    /// Holds a lease for another [`TTL`]; `None` when it is lost.
    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, BusError>;

    /// Gives a lease up: another may take it at once. One that is lost is left alone.
    async fn give_up(&self, lease: &Lease) -> Result<(), BusError>;

    /// Who holds a lease.
    async fn holder(&self, name: &str) -> Result<Option<String>, BusError>;
}
