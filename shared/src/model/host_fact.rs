//! What hosts say of themselves, and what they use the network for.

use super::app::AppCategory;
use super::l7_info::Text;

/// What a fact tells of a host. The place in [`FactKind::ALL`] is part of the wire contract: add at the
/// end, never reorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FactKind {
    /// A name by which clients asked for it: SNI or HTTP host.
    Name,
    /// The operating system that it seems to run.
    Os,
}

impl FactKind {
    /// All kinds in order of their numbers.
    pub const ALL: [Self; 2] = [Self::Name, Self::Os];

    /// The name that programs show.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Os => "os",
        }
    }
}

/// Something learned of one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostFact {
    /// Place of the host among the delta's hosts.
    pub host: u32,
    /// What the text is.
    pub kind: FactKind,
    /// Comes from the network: sinks escape it.
    pub text: Text,
}

/// Bytes of one host for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CategoryBytes {
    /// Place of the host among the delta's hosts.
    pub host: u32,
    /// What for.
    pub category: AppCategory,
    /// Bytes sent by the host.
    pub sent: u64,
    /// Bytes received by it.
    pub rcvd: u64,
}
