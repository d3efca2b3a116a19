//! Collected flows: what exporters say by NetFlow v5, v9, IPFIX and sFlow v5.
//!
//! Everything but [`udp`] is pure: [`Exporters::datagram`] takes the bytes of one datagram, who sent
//! it and when it came, and appends [`CollectedFlow`]s. One decoder a format: [`netflow5`],
//! [`netflow9`], [`ipfix`], [`sflow`]; the two with templates share [`template`] and [`field`].
//! What is remembered of an exporter is in [`exporter`].
//!
//! Nothing that comes from outside can grow without bound: exporters, domains, templates, names and
//! data that waits for its template are limited ([`Limits`]), and whatever is refused or thrown out
//! is counted ([`ExportStats`]).

pub mod collected;
pub mod draft;
pub mod exporter;
pub mod feed;
pub mod field;
pub mod ipfix;
pub mod names;
pub mod netflow5;
pub mod netflow9;
pub mod pending;
pub mod records;
pub mod registry;
pub mod sequence;
pub mod sflow;
pub mod stats;
pub mod template;
pub mod udp;

pub use collected::{CollectedFlow, Counters, EndReason};
pub use registry::{Exporters, Limits};
pub use stats::ExportStats;

/// How an export datagram breaks its own grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// A version that is none of 5, 9, 10 and sFlow's 5.
    #[error("neither NetFlow v5, v9, IPFIX nor sFlow v5")]
    Version,
    /// The datagram ends inside its header.
    #[error("datagram ends inside its header")]
    Header,
    /// The header announces another length or number of records than there is.
    #[error("header announces more than the datagram holds")]
    Length,
    /// A set (FlowSet) has an impossible length or ends outside the datagram.
    #[error("set has an impossible length")]
    Set,
    /// A template ends inside a field, has no fields or a reserved number.
    #[error("malformed template")]
    Template,
    /// A data record ends inside a field.
    #[error("data record ends inside a field")]
    Record,
    /// An sFlow sample or record ends outside of what holds it.
    #[error("malformed sample")]
    Sample,
}

impl IngestError {
    /// The kind of error, for counting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Version => "export_version",
            Self::Header => "export_header",
            Self::Length => "export_length",
            Self::Set => "export_set",
            Self::Template => "export_template",
            Self::Record => "export_record",
            Self::Sample => "export_sample",
        }
    }
}

/// Big-endian 16 bits at `at`.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|raw| u16::from_be_bytes(*raw))
}

/// Big-endian 32 bits at `at`.
fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_be_bytes(*raw))
}
