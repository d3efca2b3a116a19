//! What the aggregator role needs, and why it may not start.

use std::net::SocketAddr;
use std::sync::Arc;

use shared::bus::SharedBus;
use shared::clock::SharedClock;
use shared::events::Emitter;
use shared::lease::Leases;
use shared::model::LocalNetworks;
use shared::script::live::LiveScripts;
use shared::settings::{FileSettings, LiveSettings};
use shared::store::documents::DocumentStore;
use shared::store::events::EventStore;
use shared::store::memory::MemoryStore;
use shared::store::partitions::PartitionStore;
use shared::store::series::SeriesStore;
use shared::store::{AlertStore, FlowStore};
use shared::wire::subject::Subjects;

use crate::config::AggregatorConfig;
use crate::keeper::Times;

/// A function that gives all metrics in Prometheus text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// A function that tells how full queues and disk of the process are, by names of
/// [`SYSTEM_LEVELS`](shared::model::entity_field::SYSTEM_LEVELS).
pub type Levels = Arc<dyn Fn() -> Vec<(&'static str, u64)> + Send + Sync>;

/// What the aggregator role needs.
#[derive(Clone)]
pub struct AggregatorDeps {
    /// The bus.
    pub bus: SharedBus,
    /// Alert history, engaged alerts, outbox.
    pub alerts: Arc<dyn AlertStore>,
    /// Ended flows.
    pub flows: Arc<dyn FlowStore>,
    /// What scripts remember.
    pub memory: Arc<dyn MemoryStore>,
    /// Partitions.
    pub partitions: Arc<dyn PartitionStore>,
    /// Time series.
    pub series: Arc<dyn SeriesStore>,
    /// Sessions of profiles.
    pub sessions: Arc<dyn EventStore>,
    /// Tells events.
    pub events: Emitter,
    /// Wall clock.
    pub clock: SharedClock,
    /// Subjects.
    pub subjects: Subjects,
    /// Local networks.
    pub networks: Arc<LocalNetworks>,
    /// Its section of the configuration.
    pub config: AggregatorConfig,
    /// Scripts.
    pub scripts: LiveScripts,
    /// What users edit.
    pub documents: Arc<dyn DocumentStore>,
    /// Seals the secrets in them.
    pub sealer: Arc<shared::seal::Sealer>,
    /// What the configuration file says of what users edit.
    pub file_settings: FileSettings,
    /// Both together, as they are in force.
    pub settings: LiveSettings,
    /// Site of this node.
    pub site: String,
    /// Name of this node.
    pub node: String,
    /// Who may have which partition.
    pub leases: Arc<dyn Leases>,
    /// Who shares the partitions with it, as heartbeats name them.
    pub group: String,
    /// There can be no other aggregator.
    pub alone: bool,
    /// Tells this run of the node from earlier ones.
    pub run: u64,
    /// When leases are renewed and given up.
    pub times: Times,
    /// How full the process is.
    pub levels: Levels,
    /// Metrics for `/metrics`.
    pub metrics_text: MetricsText,
}

/// Why the aggregator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    /// Another program listens there.
    #[error("aggregator.api.listen: {address} is in use by another program")]
    PortTaken {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("aggregator.api.listen: cannot listen on {address}: {cause}")]
    Listen {
        /// The address as configured.
        address: String,
        /// Why.
        cause: String,
    },
    /// Log lines cannot be listened for.
    #[error("aggregator.syslog.listen: cannot listen on {address}: {cause}")]
    Syslog {
        /// The address as configured.
        address: String,
        /// Why.
        cause: String,
    },
    /// An actor did not start.
    #[error("cannot start the aggregator: {0}")]
    Start(String),
}
