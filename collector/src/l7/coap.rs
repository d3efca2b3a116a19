//! CoAP (RFC 7252) over UDP, and over TCP (RFC 8323).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16, judge};

const PORT: u16 = 5683;
const PAYLOAD_MARKER: u8 = 0xff;
/// Options whose values are text: host, path, query of the request and of where it led.
const TEXTS: [u16; 7] = [3, 8, 11, 15, 20, 35, 39];

pub(super) static COAP: Dissector = Dissector {
    name: "COAP",
    category: AppCategory::Iot,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: super::any_byte,
    ports: &[(L4::UDP, PORT), (L4::TCP, PORT)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 == L4::TCP {
        return stream(bytes, cx);
    }
    let &[head, code, _, _, ref rest @ ..] = bytes else {
        return Probe::No;
    };
    let token = usize::from(head & 0x0f);
    if head >> 6 != 1 || token > 8 {
        return Probe::No;
    }
    // An empty message acknowledges, or resets.
    if code == 0 {
        return if rest.is_empty() && token == 0 && cx.has_port(PORT) { Probe::Certain } else { Probe::No };
    }
    let Some(options) = is_code(code).then(|| rest.get(token..)).flatten().and_then(options) else {
        return Probe::No;
    };
    match (cx.has_port(PORT), options.text_bytes) {
        (true, _) => Probe::Certain,
        // Elsewhere a path of some length is as good.
        (false, 4..) if code < 32 => Probe::Certain,
        (false, _) if options.count > 0 && cx.from_client == (code < 32) => Probe::Maybe,
        _ => Probe::No,
    }
}

/// A request's method, or a reply's class and detail.
fn is_code(code: u8) -> bool {
    matches!(
        (code >> 5, code & 0x1f),
        (0, 1..=7) | (2, 1..=5 | 31) | (4, 0..=6 | 8 | 9 | 12 | 13 | 15 | 22 | 29) | (5, 0..=5 | 8)
    )
}

struct Options {
    count: usize,
    text_bytes: usize,
}

/// Walks the options to the payload's marker or the end.
fn options(mut bytes: &[u8]) -> Option<Options> {
    let (mut number, mut found) = (0_u16, Options { count: 0, text_bytes: 0 });
    while let Some((&head, rest)) = bytes.split_first() {
        if head == PAYLOAD_MARKER {
            return (!rest.is_empty()).then_some(found);
        }
        let (delta, rest) = extended(head >> 4, rest)?;
        let (length, rest) = extended(head & 0x0f, rest)?;
        number = number.checked_add(delta)?;
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        // The registered options, without those of experiments.
        if number > 2053 {
            return None;
        }
        if TEXTS.contains(&number) {
            if value.iter().any(|byte| matches!(byte, 0..b' ' | 0x7f)) {
                return None;
            }
            found.text_bytes += value.len();
        }
        found.count += 1;
        bytes = rest;
    }
    Some(found)
}

/// A number of four bits or of one or two bytes more (RFC 7252 §3.1).
fn extended(nibble: u8, rest: &[u8]) -> Option<(u16, &[u8])> {
    match nibble {
        0..=12 => Some((nibble.into(), rest)),
        13 => rest.split_first().map(|(byte, rest)| (u16::from(*byte) + 13, rest)),
        14 => Some((be16(rest, 0)?.checked_add(269)?, rest.get(2..)?)),
        _ => None,
    }
}

/// Over TCP each side begins with its capabilities.
fn stream(bytes: &[u8], cx: &L7Context) -> Probe {
    let capabilities = matches!(bytes, [0x00 | 0x20..=0x60, 0xe1, ..]) && bytes.len() <= 16;
    if capabilities && cx.has_port(PORT) { Probe::Maybe } else { Probe::No }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if cx.l4 == L4::UDP && bytes.get(1).is_some_and(|code| matches!(code >> 5, 4 | 5)) {
        *status |= FlowStatus::ErrorCode.bit();
    }
    judge(cx.l4 != L4::UDP || !cx.has_port(PORT) || probe(bytes, cx) != Probe::No, status);
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Composed after the specification; tshark reads it so: GET /.well-known/core, and what is not found.
    const GET: &str = "41 01 1234 ab bb 2e77656c6c2d6b6e6f776e 04 636f7265";
    const NOT_FOUND: &str = "61 84 1234 ab";

    #[test]
    fn a_path_tells_enough() {
        let get = hex(GET);
        assert_eq!(Run::new(udp(40_000, 40_001)).client(&get), Verdict::Decided("COAP"));
        let mut run = Run::new(udp(40_000, PORT));
        run.client(&get);
        run.server(&hex(NOT_FOUND));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
        for cut in 1..5 {
            assert_eq!(Run::new(udp(40_000, PORT)).client(&get[..cut]), Verdict::Undecided);
        }
    }

    #[test]
    fn codes_and_options_must_exist() {
        assert_eq!(Run::new(udp(40_000, PORT)).client(&hex("40 09 1234")), Verdict::Undecided);
        assert_eq!(Run::new(udp(40_000, PORT)).client(&hex("40 01 1234 f1 00")), Verdict::Undecided);
        assert_eq!(
            Run::new(udp(40_000, PORT)).client(&hex("49 01 1234 112233445566778899")),
            Verdict::Undecided
        );
        assert_eq!(Run::new(udp(40_000, PORT)).client(&hex("40 01 1234 ff")), Verdict::Undecided);
    }
}
