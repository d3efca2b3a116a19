//! What dissectors read of segments that come out of order, overlap, or never come.

use super::*;

const WEB: (&str, u16) = ("198.51.100.9", 80);
const REQUEST: &[u8] = b"GET /a-long-path HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: test/1\r\n\r\n";

/// The client's segment with bytes `from..to` of the request.
fn segment(at: f64, from: usize, to: usize) -> Packet<'static> {
    let header = TcpHeader { seq: 1 + from as u32, ack: 1, flags: TCP_ACK, window: 1000 };
    Packet { tcp: Some(header), ..tcp(at, A, WEB, TCP_ACK, &REQUEST[from..to]) }
}

/// The server's acknowledgement of the request up to `to`.
fn ack(at: f64, to: usize) -> Packet<'static> {
    let header = TcpHeader { seq: 1, ack: 1 + to as u32, flags: TCP_ACK, window: 1000 };
    Packet { tcp: Some(header), ..tcp(at, WEB, A, TCP_ACK, b"") }
}

fn opened() -> FlowTable {
    let mut table = table();
    feed(&mut table, &tcp(1.0, A, WEB, TCP_SYN, b""));
    feed(&mut table, &tcp(1.1, WEB, A, TCP_SYN | TCP_ACK, b""));
    feed(&mut table, &tcp(1.2, A, WEB, TCP_ACK, b""));
    table
}

/// Protocol, host and agent of the only flow.
fn known(table: &FlowTable) -> [String; 3] {
    let flow = record(table, 0, 1);
    let http = flow.info.http.unwrap_or_default();
    [flow.l7.to_string(), http.host.to_string(), http.user_agent.to_string()]
}

fn is_known(table: &FlowTable) -> bool {
    known(table) == ["HTTP", "www.example.org", "test/1"]
}

#[test]
fn a_request_is_read_whatever_the_order_of_its_segments() {
    let end = REQUEST.len();
    for order in [
        [(0, 20), (20, 45), (45, end)],
        [(20, 45), (0, 20), (45, end)],
        [(45, end), (20, 45), (0, 20)],
        [(0, 20), (45, end), (20, 45)],
        // Sent again with more behind it.
        [(0, 20), (0, 45), (45, end)],
        [(0, 45), (20, 60), (0, end)],
    ] {
        let mut table = opened();
        for (number, (from, to)) in order.into_iter().enumerate() {
            assert!(!is_known(&table), "{order:?}");
            feed(&mut table, &segment(2.0 + number as f64 / 10.0, from, to));
        }
        assert!(is_known(&table), "{order:?}: {:?}", known(&table));
    }
}

#[test]
fn a_segment_that_waits_is_read_when_its_receiver_has_what_is_missing() {
    let mut table = opened();
    feed(&mut table, &segment(2.0, 0, 26));
    // Bytes 26 to 49, a header, were lost by the capture.
    feed(&mut table, &segment(2.1, 49, REQUEST.len()));
    feed(&mut table, &ack(2.2, 26));
    assert_eq!(
        record(&table, 0, 1).info.http.map(|http| http.user_agent.to_string()).unwrap_or_default(),
        ""
    );
    feed(&mut table, &ack(2.3, REQUEST.len()));
    assert_eq!(record(&table, 0, 1).info.http.unwrap().user_agent, "test/1");
}

#[test]
fn a_first_word_that_waits_for_ever_is_read_after_the_silence() {
    let mut table = opened();
    // The first byte never comes.
    feed(&mut table, &segment(2.0, 1, REQUEST.len()));
    let told = pass(&mut table, 12.0);
    let detected: Vec<_> =
        told.iter().filter(|(_, event)| matches!(event, FlowEvent::ProtocolDetected(_))).collect();
    assert_eq!(detected.len(), 1);
    assert_eq!(record(&table, 0, 1).l7.to_string(), "Unknown");
}

#[test]
fn what_waits_at_the_end_of_a_flow_is_read() {
    let mut table = opened();
    feed(&mut table, &segment(2.0, 0, 26));
    feed(&mut table, &segment(2.1, 49, REQUEST.len()));
    let mut events = Vec::new();
    table.drain(FlowEnd::EndOfFile, &mut events);
    let Some(FlowEvent::End { flow, .. }) = events.pop() else { panic!("no end") };
    assert_eq!(flow.info().and_then(|info| info.http.as_ref()).unwrap().user_agent, "test/1");
}
