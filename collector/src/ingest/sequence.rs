//! Sequence numbers of exporters: what was lost, came late, or began anew.
//!
//! The formats count different things: NetFlow v5 flows, v9 datagrams, IPFIX data records, sFlow
//! datagrams and, apart, samples. All count modulo 2^32 and say the number *before* the datagram
//! (v5, IPFIX) or *of* the datagram (v9, sFlow); either way the next one is expected at
//! `number + units`.

/// So many late ones in a row are no reordering: the exporter began anew.
const LATE_IN_A_ROW: u8 = 8;

/// What a sequence number says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first, or the one expected.
    InOrder,
    /// So many units are missing before it.
    Lost(u32),
    /// Comes after a later one; so many of its units had been counted as lost.
    Late(u32),
    /// Too far from what was expected: the exporter began anew.
    Restarted,
}

/// Follows one sequence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    expected: Option<u32>,
    missing: u32,
    late: u8,
}

impl Sequence {
    /// Takes a datagram that says `number` and holds `units`. A distance of `window` or more, and
    /// many late ones in a row, are taken for a restart.
    pub fn arrive(&mut self, number: u32, units: u32, window: u32) -> Arrival {
        let next = number.wrapping_add(units);
        let Some(expected) = self.expected.replace(next) else { return Arrival::InOrder };
        let ahead = number.wrapping_sub(expected);
        let behind = expected.wrapping_sub(number);
        if behind != 0 && behind < window && self.late < LATE_IN_A_ROW {
            // What comes next is still what follows the latest.
            self.expected = Some(expected);
            self.late += 1;
            let recovered = self.missing.min(units);
            self.missing -= recovered;
            return Arrival::Late(recovered);
        }
        self.late = 0;
        if ahead == 0 {
            Arrival::InOrder
        } else if ahead < window {
            self.missing = self.missing.saturating_add(ahead);
            Arrival::Lost(ahead)
        } else {
            self.missing = 0;
            Arrival::Restarted
        }
    }

    /// True when `number` is the next, or any would do.
    pub fn expects(&self, number: u32) -> bool {
        self.expected.is_none_or(|expected| expected == number)
    }

    /// Forgets what is expected: the units of a datagram cannot be counted, or the exporter is known
    /// to begin anew.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_lost_and_late_ones_are_told() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.arrive(100, 30, 1000), Arrival::InOrder);
        assert_eq!(sequence.arrive(130, 30, 1000), Arrival::InOrder);
        assert_eq!(sequence.arrive(190, 10, 1000), Arrival::Lost(30));
        assert_eq!(sequence.arrive(160, 30, 1000), Arrival::Late(30));
        assert_eq!(sequence.arrive(160, 30, 1000), Arrival::Late(0), "a copy recovers nothing");
        assert_eq!(sequence.arrive(200, 1, 1000), Arrival::InOrder);
    }

    #[test]
    fn the_number_wraps_around() {
        let mut sequence = Sequence::default();
        sequence.arrive(u32::MAX, 1, 100);
        assert_eq!(sequence.arrive(0, 1, 100), Arrival::InOrder);
        assert_eq!(sequence.arrive(3, 1, 100), Arrival::Lost(2));
        assert_eq!(sequence.arrive(u32::MAX - 1, 1, 100), Arrival::Late(1));
    }

    #[test]
    fn a_jump_is_a_restart_and_counts_nothing_as_lost() {
        let mut sequence = Sequence::default();
        sequence.arrive(50_000, 1, 1000);
        assert_eq!(sequence.arrive(0, 1, 1000), Arrival::Restarted);
        assert_eq!(sequence.arrive(1, 1, 1000), Arrival::InOrder);
        assert_eq!(sequence.arrive(90_000, 1, 1000), Arrival::Restarted);
    }

    #[test]
    fn a_restart_within_the_window_is_seen_after_a_few() {
        let mut sequence = Sequence::default();
        sequence.arrive(500, 1, 1000);
        for number in 0..u32::from(LATE_IN_A_ROW) {
            assert_eq!(sequence.arrive(number, 1, 1000), Arrival::Late(0));
        }
        assert_eq!(sequence.arrive(8, 1, 1000), Arrival::Restarted);
        assert_eq!(sequence.arrive(9, 1, 1000), Arrival::InOrder);
    }
}
