//! Everything that travels between roles, encoded and decoded here.
//!
//! Wire types are generated from `proto/flowhook.proto`; live state is never serialized directly.
//! Alerts travel as JSON ([`crate::model::Alert`]), because that is their public form.

pub mod compression;
pub mod delta;
pub mod flow_batch;
pub mod flow_file;
pub mod heartbeat;
pub mod partition;
pub mod show;
pub mod subject;

/// Types generated from `proto/flowhook.proto`.
#[allow(missing_docs, clippy::all, clippy::needless_pass_by_value)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/flowhook.v1.rs"));
}

/// Why a message could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The bytes are not the message they should be.
    #[error("malformed {what}: {cause}")]
    Malformed {
        /// The message's name.
        what: &'static str,
        /// What is wrong.
        cause: String,
    },
}

impl WireError {
    /// A malformed `what`, because of `cause`.
    pub fn malformed(what: &'static str, cause: impl std::fmt::Display) -> Self {
        Self::Malformed { what, cause: cause.to_string() }
    }
}
