//! What a decoder is told, and what it counts.

use super::Tunnels;

/// How to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderConfig {
    /// Which packet of a tunnel counts.
    pub tunnels: Tunnels,
    /// Fragmented datagrams under way at most, rounded up to a power of two; beyond it the oldest
    /// are forgotten and counted.
    pub max_fragments: usize,
    /// Seed of the fragment table's hash, so that nobody outside can fill one place of it.
    pub seed: u64,
    /// Whether later fragments wait for the first one of their datagram. Whoever says so takes out
    /// those that waited in vain, with [`Decoder::take_overdue`](super::Decoder::take_overdue).
    pub patient: bool,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { tunnels: Tunnels::Inner, max_fragments: 4096, seed: 0, patient: false }
    }
}

/// Counters of a decoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderStats {
    /// Fragments, first ones included.
    pub fragments: u64,
    /// Later fragments whose first was not seen before, or not soon after: their ports are 0.
    pub fragments_orphaned: u64,
    /// Datagrams forgotten for want of room before they were complete.
    pub fragments_evicted: u64,
    /// Packets taken out of a tunnel above IP.
    pub tunnelled: u64,
}
