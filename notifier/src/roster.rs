//! The recipients in force, which may change at any time: everybody looks here anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use crate::criteria::Criteria;
use crate::endpoint::Endpoint;
use crate::recipient::LaneHandle;
use crate::route::Router;

/// A recipient as questions see it.
#[derive(Clone)]
pub struct Known {
    /// Its name.
    pub name: String,
    /// Name of its endpoint.
    pub endpoint: String,
    /// Kind of the endpoint.
    pub kind: &'static str,
    /// Always there.
    pub builtin: bool,
    /// Gets deliveries.
    pub enabled: bool,
    /// What it wants.
    pub criteria: Criteria,
    /// Where its deliveries go.
    pub target: Arc<dyn Endpoint>,
    /// Its lane.
    pub lane: Arc<LaneHandle>,
}

/// Who is there.
pub struct Roster {
    /// The recipients: the built-in ones, the file's, the edited ones.
    pub recipients: Vec<Known>,
    /// Decides who gets what.
    pub router: Router,
    /// Lanes to wake, by recipient.
    pub lanes: BTreeMap<String, Arc<LaneHandle>>,
}

/// Who is there at the moment.
pub type LiveRoster = watch::Receiver<Arc<Roster>>;
