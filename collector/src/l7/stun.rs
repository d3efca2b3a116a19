//! STUN and TURN (RFC 8489, RFC 8656), the first STUN without a cookie (RFC 3489), both over TCP also in
//! the frames of ICE (RFC 4571), and the DTLS that follows them in the same flow.

use shared::model::flow::L7Info;
use shared::model::status::StatusBits;
use shared::model::{AppCategory, Breed, L4};

use super::text::wire_name;
use super::{Carrier, Dissector, L7Context, Probe, Want, be16, dtls};

const HEADER: usize = 20;
const REALM: u16 = 0x0014;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const PORTS: [u16; 3] = [3478, 3479, 19_302];

pub(super) static STUN: Dissector = Dissector {
    name: "STUN",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte < 0x50,
    ports: &[
        (L4::UDP, PORTS[0]),
        (L4::UDP, PORTS[1]),
        (L4::UDP, PORTS[2]),
        (L4::TCP, PORTS[0]),
        (L4::TCP, PORTS[1]),
        (L4::TCP, PORTS[2]),
    ],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if channel_data(bytes, cx).is_some() {
        return Probe::Maybe;
    }
    match cx.l4 {
        L4::UDP => message(bytes, cx),
        L4::TCP => match message(bytes, cx) {
            Probe::No => framed(bytes).map_or(Probe::No, |inner| message(inner, cx)),
            found => found,
        },
        _ => Probe::No,
    }
}

/// The first frame of RFC 4571.
fn framed(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(2..2 + usize::from(be16(bytes, 0)?))
}

fn message(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(kind), Some(length)) = (be16(bytes, 0), be16(bytes, 2).map(usize::from)) else {
        return Probe::No;
    };
    if kind >= 0x4000 || !length.is_multiple_of(4) || bytes.len() < HEADER {
        return Probe::No;
    }
    let whole = bytes.len() == HEADER + length;
    if bytes.get(4..).is_some_and(|rest| rest.starts_with(&COOKIE)) {
        // A stream has one message behind the other.
        let fits = whole || (cx.l4 == L4::TCP && bytes.len() > HEADER + length);
        return if fits { Probe::Certain } else { Probe::No };
    }
    if !whole || !is_classic(kind) {
        return Probe::No;
    }
    match attributes(bytes.get(HEADER..).unwrap_or_default()) {
        Some(0) if !PORTS.iter().any(|port| cx.has_port(*port)) => Probe::Maybe,
        Some(_) => Probe::Certain,
        None => Probe::No,
    }
}

/// Binding and shared secret (RFC 3489 §11.1), and the methods of TURN's drafts.
fn is_classic(kind: u16) -> bool {
    matches!(kind, 0x0001..=0x0004 | 0x0101..=0x0104 | 0x0111..=0x0114 | 0x0115)
}

/// How many attributes there are, if they are all known ones and fill `bytes`.
fn attributes(bytes: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (bytes, 0);
    while !rest.is_empty() {
        let (kind, length) = (be16(rest, 0)?, usize::from(be16(rest, 2)?));
        if !matches!(kind, 0x0001..=0x0030 | 0x8000..=0x80ff | 0xc000..=0xc0ff) {
            return None;
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
        count += 1;
    }
    Some(count)
}

/// What a TURN channel carries, on TURN's port (RFC 8656 §12.4).
fn channel_data<'a>(bytes: &'a [u8], cx: &L7Context) -> Option<&'a [u8]> {
    let (channel, length) = (be16(bytes, 0)?, usize::from(be16(bytes, 2)?));
    let rest = bytes.get(4..)?;
    // Datagrams need no padding, and some pad them.
    let fits = (length..length + 4).contains(&rest.len()) && length > 0;
    let at_home = PORTS.iter().any(|port| cx.has_port(*port));
    if (0x4000..0x5000).contains(&channel) && fits && at_home { rest.get(..length) } else { None }
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    let inner = channel_data(bytes, cx).unwrap_or(bytes);
    if cx.l4 != L4::UDP || dtls::probe(inner, cx) != Probe::Certain {
        note_application(if cx.l4 == L4::UDP { bytes } else { framed(bytes).unwrap_or(bytes) }, info);
        return Want::Next;
    }
    (dtls::DTLS.dissect)(inner, cx, info, status);
    Want::Become(&dtls::DTLS)
}

/// Notes whose service it is: by its realm (RFC 8489 §14.9), by attributes that Microsoft alone has
/// ([MS-TURN] §2.2.2, [MS-ICE2] §2.2.3), or by methods and attributes of WhatsApp (as seen on the wire).
/// A realm stands in the table of applications behind `turn.`, so that it can differ from the web's.
fn note_application(message: &[u8], info: &mut L7Info) {
    if matches!(be16(message, 0), Some(0x0800..=0x0805)) {
        info.hint = "turn.whatsapp.net".into();
        return;
    }
    let mut rest = message.get(HEADER..).unwrap_or_default();
    while let (Some(kind), Some(length)) = (be16(rest, 0), be16(rest, 2).map(usize::from)) {
        let Some(value) = rest.get(4..4 + length) else { return };
        match kind {
            REALM => info.hint = format!("turn.{}", wire_name(value)).into(),
            0x4000..=0x4007 => {
                info.hint = "turn.whatsapp.net".into();
                return;
            }
            0x8008 | 0x8050 | 0x8054 | 0x8055 | 0x8070 => {
                info.hint = "relay.teams.microsoft.com".into();
                return;
            }
            _ => {}
        }
        rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn a_binding_request_fills_its_datagram() {
        let request = hex("0001 0000 2112a442 0102030405060708090a0b0c");
        assert_eq!(Run::new(udp(50_000, 19_302)).client(&request), Verdict::Decided("STUN"));
        assert_eq!(Run::new(udp(50_000, 3478)).client(&request[..19]), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 3478)).client(&[&request[..], &[0; 4]].concat()), Verdict::Undecided);
    }

    #[test]
    fn whose_service_it_is_shows_in_its_attributes() {
        let message = |attributes: &[u8]| {
            let head =
                [&[0, 3, 0, attributes.len() as u8][..], &hex("2112a442 0102030405060708090a0b0c")].concat();
            [head, attributes.to_vec()].concat()
        };
        let mut run = Run::new(udp(50_000, 3478));
        run.client(&message(&hex("0014 0009 4578616d706c652e4f 000000")));
        assert_eq!(&*run.info.hint, "turn.example.o");
        for whose in [&hex("4000 0004 00000001")[..], &hex("4003 0000")] {
            let mut run = Run::new(udp(50_000, 3478));
            run.client(&message(whose));
            assert_eq!(&*run.info.hint, "turn.whatsapp.net");
        }
        let mut run = Run::new(udp(50_000, 3478));
        run.client(&message(&hex("8070 0004 00000001")));
        assert_eq!(&*run.info.hint, "relay.teams.microsoft.com");
        // An attribute that says to be longer than it is ends the search.
        let mut run = Run::new(udp(50_000, 3478));
        run.client(&message(&hex("0014 0009 45786100")));
        assert_eq!(&*run.info.hint, "");
    }

    /// Layouts after RFC 3489 §11: an answer with MAPPED-ADDRESS and SOURCE-ADDRESS.
    #[test]
    fn without_a_cookie_its_attributes_must_be_right() {
        let answer = hex(
            "0101 0018 000102030405060708090a0b0c0d0e0f 0001 0008 0001 c350 c0000201 0004 0008 0001 0d96 c6336401",
        );
        assert_eq!(Run::new(udp(50_000, 5000)).server(&answer), Verdict::Decided("STUN"));
        for (at, byte) in [(0, 3), (3, 0x14), (20, 0x12), (23, 13)] {
            let mut other = answer.clone();
            other[at] = byte;
            assert_eq!(Run::new(udp(50_000, 5000)).server(&other), Verdict::Undecided, "{at}");
        }
        let request = hex("0001 0000 000102030405060708090a0b0c0d0e0f");
        assert_eq!(Run::new(udp(50_000, 3478)).client(&request), Verdict::Decided("STUN"));
        let mut run = Run::new(udp(50_000, 5000));
        assert_eq!(run.client(&request), Verdict::Undecided);
        assert_eq!(run.server(&answer), Verdict::Decided("STUN"));
    }

    #[test]
    fn streams_carry_it_plain_and_framed() {
        let request = hex("0001 0000 2112a442 0102030405060708090a0b0c");
        assert_eq!(Run::new(tcp(50_000, 3478)).client(&request.repeat(2)), Verdict::Decided("STUN"));
        let framed = [&[0, 20][..], &request].concat();
        assert_eq!(Run::new(tcp(50_000, 9000)).client(&framed), Verdict::Decided("STUN"));
    }

    #[test]
    fn channels_are_known_at_home_and_the_dtls_inside() {
        let hello = hex("16 feff 0000 000000000000 000c 0e0000000000000000000000");
        let data = [&[0x40, 1][..], &(hello.len() as u16).to_be_bytes(), &hello].concat();
        assert_eq!(Run::new(udp(50_000, 3478)).client(&data), Verdict::Decided("DTLS"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&data), Verdict::Undecided);
        let mut run = Run::new(udp(50_000, 9999));
        run.client(&hex("0001 0000 2112a442 0102030405060708090a0b0c"));
        assert_eq!(run.client(&hello), Verdict::Decided("DTLS"));
    }
}
