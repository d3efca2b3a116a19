//! Yes and no of a flow, in two bytes.

/// Yes and no of a flow, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Marks(u16);

impl Marks {
    /// The client is the key's low end.
    pub(super) const CLIENT_IS_LOW: u16 = 1;
    /// The flow's beginning was counted in a summary.
    pub(super) const BEGUN: u16 = 1 << 1;
    /// That the connection failed was counted in a summary.
    pub(super) const FAILED: u16 = 1 << 2;
    /// `protocolDetected` was told.
    pub(super) const DETECTED: u16 = 1 << 3;
    /// The layer-7 protocol is decided, be it as unknown.
    pub(super) const DECIDED: u16 = 1 << 4;
    /// The protocol's dissector reads every payload, and nothing needs to be remembered for it.
    pub(super) const READING: u16 = 1 << 5;
    /// Some packet was a fragment.
    pub(super) const FRAGMENTED: u16 = 1 << 6;
    /// ICMP type and code are known.
    pub(super) const ICMP: u16 = 1 << 7;
    /// The first payload is random throughout.
    pub(super) const RANDOM: u16 = 1 << 8;
    /// What the flow became known as was counted in a summary.
    pub(super) const NAMED: u16 = 1 << 9;
    /// Segments that came before their turn wait to be read.
    pub(super) const EARLY: u16 = 1 << 14;
    /// Where the IP flags of the client's packets lie (two bits), and behind them those of the server's.
    const IP_FLAGS: u16 = 10;
    pub(super) const ALL_IP_FLAGS: u16 = 0xf << Self::IP_FLAGS;

    pub(super) fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }

    pub(super) fn add_ip_flags(&mut self, flags: u8, from_client: bool) {
        self.0 |= u16::from(flags & 3) << (Self::IP_FLAGS + if from_client { 0 } else { 2 });
    }

    /// IP flags of the client's packets, and of the server's.
    pub(super) fn ip_flags(self) -> [u8; 2] {
        [0, 2].map(|at| (self.0 >> (Self::IP_FLAGS + at)) as u8 & 3)
    }

    pub(super) fn set(&mut self, bit: u16, on: bool) {
        self.0 = if on { self.0 | bit } else { self.0 & !bit };
    }
}
