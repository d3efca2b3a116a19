//! What alerts are about.

use shared::model::alert::AlertFlow;
use shared::model::{Entity, Party};

/// An interface, as alerts name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// Site.
    pub site: &'a str,
    /// Interface id.
    pub ifid: u32,
}

/// Which element an alert is about, and where.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Entity.
    pub entity: Entity,
    /// Its identifying string.
    pub value: String,
    /// Site.
    pub site: String,
    /// Node that captures.
    pub node: String,
    /// Interface id.
    pub ifid: u32,
    /// Interface name.
    pub interface: String,
    /// The host, when it is one; the client of a flow.
    pub party: Option<Party>,
    /// The server and the flow, when it is one.
    pub flow: Option<(Party, AlertFlow)>,
}
