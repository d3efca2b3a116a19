//! Why a node cannot start.

use aggregator::AggregatorError;
use collector::CollectorError;
use notifier::NotifierError;
use shared::bus::BusError;
use shared::store::StoreError;

use crate::exit::{self, Failure};

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration says something impossible.
    #[error("configuration: {}", .0.join("; "))]
    Config(Vec<String>),
    /// Scripts cannot be read.
    #[error(transparent)]
    Script(#[from] shared::script::ScriptError),
    /// Another process uses the state directory.
    #[error("state directory {path} is in use by another flowhook, or cannot be written: {cause}")]
    StateDir {
        /// Which directory.
        path: String,
        /// Why.
        cause: String,
    },
    /// Which run of the node it is cannot be kept.
    #[error("state directory {path}: the number of this run cannot be kept: {cause}")]
    Epoch {
        /// Which directory.
        path: String,
        /// Why, with the file.
        cause: String,
    },
    /// The store is that of other aggregators.
    #[error(
        "store.postgres.schema is that of the aggregators '{theirs}', and this one is of '{ours}': give each \
         its own schema (aggregator.only_own_site)"
    )]
    Group {
        /// Whose it is.
        theirs: String,
        /// Who wants it.
        ours: String,
    },
    /// The bus cannot be reached.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The collector does not start.
    #[error(transparent)]
    Collector(#[from] CollectorError),
    /// The aggregator does not start.
    #[error(transparent)]
    Aggregator(#[from] AggregatorError),
    /// The notifier does not start.
    #[error(transparent)]
    Notifier(#[from] NotifierError),
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        let code = match &error {
            NodeError::Config(_) | NodeError::Script(_) => exit::CONFIG,
            NodeError::Collector(CollectorError::Capture(capture)) => exit::capture_code(capture),
            NodeError::Aggregator(AggregatorError::PortTaken { .. }) => exit::PORT_TAKEN,
            _ => exit::FAILED,
        };
        Self::new(code, error)
    }
}
