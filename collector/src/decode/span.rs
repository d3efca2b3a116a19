//! A stretch of a frame: what was captured of it, and how long it was on the wire.

/// Captured bytes, at most as many as were on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes on the wire; never fewer than `bytes`.
    pub(super) wire: u32,
    /// Goes on in later fragments, so that a header inside may announce more than `wire`.
    pub(super) goes_on: bool,
}

impl<'a> Span<'a> {
    pub(super) fn new(bytes: &'a [u8], wire: u32) -> Self {
        Self { bytes, wire: wire.max(bytes.len() as u32), goes_on: false }
    }

    /// The part behind `header` bytes; `None` when that many were not captured.
    pub(super) fn skip(self, header: usize) -> Option<Self> {
        let bytes = self.bytes.get(header..)?;
        Some(Self { bytes, wire: self.wire.saturating_sub(header as u32), ..self })
    }

    /// The first `length` bytes, or all when there are fewer.
    pub(super) fn limit(self, length: u32) -> Self {
        let bytes = self.bytes.get(..length as usize).unwrap_or(self.bytes);
        Self { bytes, wire: self.wire.min(length), ..self }
    }

    /// Whether more of it was on the wire than is here.
    pub(super) fn is_cut(self) -> bool {
        self.goes_on || (self.bytes.len() as u32) < self.wire
    }

    /// Big-endian 16 bits at `at`.
    pub(super) fn be16(self, at: usize) -> Option<u16> {
        be16(self.bytes, at)
    }

    /// Big-endian 32 bits at `at`.
    pub(super) fn be32(self, at: usize) -> Option<u32> {
        be32(self.bytes, at)
    }

    /// The byte at `at`.
    pub(super) fn byte(self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }
}

/// Big-endian 16 bits at `at`.
pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|raw| u16::from_be_bytes(*raw))
}

/// Big-endian 32 bits at `at`.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|raw| u32::from_be_bytes(*raw))
}
