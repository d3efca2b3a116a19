//! TCP as seen from the middle, segment by segment.

use super::*;

/// A connection with the time, which goes on by a millisecond each segment.
#[derive(Default)]
struct Wire {
    tcp: Tcp,
    holes: Holes,
    ms: i64,
}

impl Wire {
    fn at(&mut self, ms: i64, header: &TcpHeader, len: u32, from_client: bool) -> Segment {
        self.ms = ms;
        let begun = Timestamp::from_secs(1000);
        let at = Moment { now: Timestamp::from_ns(begun.ns() + ms * 1_000_000), begun };
        self.tcp.on_segment(header, len, from_client, at, &mut self.holes)
    }

    fn next(&mut self, header: &TcpHeader, len: u32, from_client: bool) -> Segment {
        self.at(self.ms + 1, header, len, from_client)
    }

    fn send(&mut self, seq: u32) -> Segment {
        self.next(&segment(seq, TCP_ACK), 100, true)
    }

    fn lost(&mut self) -> [u32; 2] {
        self.tcp.give_up_holes(&mut self.holes);
        self.tcp.lost()
    }
}

fn segment(seq: u32, flags: u8) -> TcpHeader {
    TcpHeader { seq, ack: 0, flags, window: 100 }
}

const LATE: Segment =
    Segment { out_of_order: true, retransmission: false, zero_window: false, missing: 0, old: 0 };
const AGAIN: Segment =
    Segment { retransmission: true, out_of_order: false, zero_window: false, missing: 0, old: 0 };

#[test]
fn a_handshake_gives_both_round_trips() {
    let mut wire = Wire::default();
    wire.at(0, &segment(9, TCP_SYN), 0, true);
    wire.at(30, &segment(99, TCP_SYN | TCP_ACK), 0, false);
    wire.at(35, &segment(10, TCP_ACK), 0, true);
    let tcp = wire.tcp;
    assert_eq!((tcp.state, tcp.handshake_ok()), (TcpState::Established, true));
    assert_eq!((tcp.rtt_server_us(), tcp.rtt_client_us()), (30_000, 5_000));
}

#[test]
fn both_fins_close_and_one_does_not() {
    let mut wire = Wire::default();
    wire.next(&segment(1, TCP_ACK), 10, true);
    wire.next(&segment(11, TCP_FIN | TCP_ACK), 0, true);
    assert_eq!(wire.tcp.state, TcpState::Closing);
    wire.next(&segment(1, TCP_FIN | TCP_ACK), 0, false);
    assert!(wire.tcp.is_over());
}

#[test]
fn a_copy_is_a_retransmission_and_a_late_segment_is_out_of_order() {
    let mut wire = Wire::default();
    assert_eq!(wire.send(0), Segment::default());
    assert_eq!(wire.send(0), Segment { old: 100, ..AGAIN });
    assert_eq!(wire.send(200), Segment { missing: 100, ..Segment::default() });
    assert_eq!(wire.send(100), LATE);
    assert!(wire.send(100).retransmission);
    assert_eq!(wire.lost(), [0, 0]);
}

#[test]
fn holes_lie_side_by_side_in_any_order() {
    // Sent: 0 to 900; 100, 300, 500 and 700 are overtaken.
    for order in [[100, 300, 500, 700], [700, 500, 300, 100], [300, 700, 100, 500]] {
        let mut wire = Wire::default();
        for seq in [0, 200, 400, 600, 800] {
            wire.at(0, &segment(seq, TCP_ACK), 100, true);
        }
        for seq in order {
            assert_eq!(wire.at(1, &segment(seq, TCP_ACK), 100, true), LATE, "{seq} of {order:?}");
        }
        assert_eq!(wire.send(900), Segment::default());
        assert_eq!(wire.lost(), [0, 0]);
    }
}

#[test]
fn what_fills_a_hole_after_a_round_trip_was_sent_again() {
    let mut wire = Wire::default();
    wire.send(0);
    wire.at(10, &segment(200, TCP_ACK), 100, true);
    assert_eq!(wire.at(14, &segment(100, TCP_ACK), 100, true), AGAIN);
    // Where the way takes 40 ms, 30 are no sign of that.
    let mut wire = Wire::default();
    wire.at(0, &segment(u32::MAX, TCP_SYN), 0, true);
    wire.at(30, &segment(99, TCP_SYN | TCP_ACK), 0, false);
    wire.at(40, &segment(0, TCP_ACK), 0, true);
    wire.at(50, &segment(100, TCP_ACK), 100, true);
    assert_eq!(wire.at(80, &segment(0, TCP_ACK), 100, true), LATE);
    wire.at(90, &segment(300, TCP_ACK), 100, true);
    assert_eq!(wire.at(131, &segment(200, TCP_ACK), 100, true), AGAIN);
}

#[test]
fn what_never_comes_is_lost() {
    let mut wire = Wire::default();
    let server = |ack| TcpHeader { seq: 1, ack, flags: TCP_ACK, window: 100 };
    wire.send(0);
    wire.send(200);
    wire.send(1760);
    wire.next(&server(300), 0, false);
    assert_eq!((wire.tcp.lost(), wire.tcp.has_holes()), ([1, 0], true));
    assert!(wire.send(100).retransmission, "its receiver has had it");
    wire.next(&server(1860), 0, false);
    assert_eq!((wire.tcp.lost(), wire.tcp.has_holes()), ([2, 0], false));
    wire.send(5000);
    assert_eq!(wire.lost(), [2 + 3, 0]);
    assert_eq!(wire.tcp.succeed().lost(), [0, 0]);
}

#[test]
fn another_stream_is_no_hole() {
    let mut wire = Wire::default();
    wire.send(0);
    assert_eq!(wire.send(0x5000_0000), Segment::default());
    assert_eq!(wire.next(&segment(0x6000_0000, TCP_SYN), 0, true), Segment::default());
    assert_eq!(wire.lost(), [0, 0]);
}

#[test]
fn a_zero_window_is_told_but_by_those_who_open_or_close() {
    let mut wire = Wire::default();
    for (flags, told) in [(TCP_ACK, true), (TCP_SYN, false), (TCP_RST | TCP_ACK, false), (TCP_FIN, false)] {
        let header = TcpHeader { window: 0, ..segment(1, flags) };
        assert_eq!(wire.next(&header, 0, true).zero_window, told, "{flags}");
    }
}

#[test]
fn sequence_numbers_wrap_and_keep_alives_are_not_copies() {
    let mut wire = Wire::default();
    wire.next(&segment(u32::MAX - 49, TCP_ACK), 100, true);
    assert_eq!(wire.next(&segment(50, TCP_ACK), 10, true), Segment::default());
    assert_eq!(wire.next(&segment(59, TCP_ACK), 1, true), Segment::default());
}
