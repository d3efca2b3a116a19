//! Payloads of a flow.

use std::net::Ipv4Addr;

use collector::l7::{DISSECTORS, Dissector, L7Context, L7State, is_well_formed};
use shared::model::L4;
use shared::model::flow::L7Info;

use super::Pieces;

/// The server has the dissector's first usual port, whatever the input says.
pub const AT_HOME: u8 = 2;
/// The flow is UDP.
pub const UDP: u8 = 1;

/// One byte says which dissector; then as [`dissector`].
pub fn any_dissector(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    if let Some(chosen) = DISSECTORS.get(usize::from(*which) % DISSECTORS.len()) {
        dissector(chosen, rest);
    }
}

/// A message of a protocol that IP itself carries, behind a byte with its number.
pub fn by_number(data: &[u8]) {
    let Some((number, message)) = data.split_first() else { return };
    let known = is_well_formed(L4(*number), message);
    assert_eq!(
        known.is_some(),
        is_well_formed(L4(*number), &[]).is_some(),
        "the number alone decides who looks"
    );
}

/// Payloads of a flow through detection and through one dissector: a byte with [`UDP`] and
/// [`AT_HOME`], the ports of client and server, then payloads, each behind a byte of direction and two
/// of length.
pub fn dissector(dissector: &Dissector, data: &[u8]) {
    let Some((&[kind, a, b, c, d], payloads)) = data.split_first_chunk() else { return };
    let l4 = if kind & UDP == 0 { L4::TCP } else { L4::UDP };
    let home = dissector.ports.first().filter(|_| kind & AT_HOME != 0);
    let (l4, server_port) = home.copied().unwrap_or((l4, u16::from_be_bytes([c, d])));
    let mut cx = L7Context {
        l4,
        client: Ipv4Addr::new(192, 0, 2, 1).into(),
        server: Ipv4Addr::new(198, 51, 100, 1).into(),
        client_port: u16::from_be_bytes([a, b]),
        server_port,
        from_client: true,
        packets_seen: 0,
        at_s: 1_767_225_600,
        before: Default::default(),
    };
    let (mut state, mut info, mut status) = (L7State::new(), L7Info::default(), 0);
    let (mut alone, mut bits) = (L7Info::default(), 0);
    for ([direction, ..], payload) in Pieces::<3>(payloads) {
        cx.from_client = direction & 1 == 0;
        cx.packets_seen += 1;
        if payload.first().is_some_and(|first| (dissector.first)(*first)) {
            let _ = (dissector.probe)(payload, &cx);
        }
        let _ = (dissector.dissect)(payload, &cx, &mut alone, &mut bits);
        let _ = state.on_payload(payload, &cx, &mut info, &mut status);
        assert!(info.text_len() < 64 * 1024 && alone.text_len() < 64 * 1024);
    }
}
