//! MQTT 3.1, 3.1.1 and 5 (OASIS).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16};

const PORT: u16 = 1883;
const PASSWORD_FLAG: u8 = 0x40;

pub(super) static MQTT: Dissector = Dissector {
    name: "MQTT",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte >= 0x10,
    ports: &[(L4::TCP, PORT)],
    probe,
    dissect,
};

/// The body of the first packet, its stated length and what follows.
fn packet(bytes: &[u8]) -> Option<(&[u8], usize, &[u8])> {
    let mut length = 0;
    for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let rest = bytes.get(2 + place..)?;
            let (body, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            return Some((body, length, rest));
        }
    }
    None
}

/// The flags of a CONNECT packet's body.
fn connect(body: &[u8]) -> Option<u8> {
    let rest = body.strip_prefix(b"\x00\x04MQTT").or_else(|| body.strip_prefix(b"\x00\x06MQIsdp"))?;
    let &[3..=5, flags, ..] = rest else {
        return None;
    };
    (flags & 1 == 0).then_some(flags)
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(&kind), Some((body, length, rest))) = (bytes.first(), packet(bytes)) else {
        return Probe::No;
    };
    if kind == 0x10 {
        return if connect(body).is_some() { Probe::Certain } else { Probe::No };
    }
    let whole = body.len() == length;
    let fits = match kind {
        // The answer to a connection; version 5 says more.
        0x20 => {
            length >= 2 && body.first().is_some_and(|flags| *flags <= 1) && (length == 2 || body.len() > 2)
        }
        0x30..=0x3f => {
            let topic = be16(body, 0).map(usize::from).and_then(|size| body.get(2..2 + size));
            kind & 6 != 6
                && topic.is_some_and(|topic| {
                    !topic.is_empty() && topic.iter().all(|byte| matches!(byte, b'!'..=b'~'))
                })
        }
        0x40 | 0x50 | 0x62 | 0x70 | 0xb0 => length == 2,
        0x82 | 0xa2 => length >= 5 && be16(body, 2).is_some_and(|size| usize::from(size) + 4 <= length),
        0x90 => {
            length >= 3
                && body.get(2..).is_some_and(|codes| codes.iter().all(|code| matches!(code, 0..=2 | 0x80)))
        }
        0xc0 | 0xd0 | 0xe0 => length == 0,
        _ => false,
    };
    // Who sends what; on the port even where a capture has the sides the wrong way round.
    let fits = fits
        && match kind {
            0x20 | 0x90 | 0xb0 | 0xd0 => !cx.from_client || cx.has_port(PORT),
            0x82 | 0xa2 | 0xc0 | 0xe0 => cx.from_client || cx.has_port(PORT),
            _ => true,
        };
    // Others follow at once, or nothing does.
    let followed = rest.first().is_none_or(|next| *next >= 0x20);
    if whole && fits && followed { Probe::Maybe } else { Probe::No }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    match (bytes.first(), packet(bytes)) {
        (Some(0x10), Some((body, ..))) if connect(body).is_some_and(|flags| flags & PASSWORD_FLAG != 0) => {
            *status |= FlowStatus::ClearTextCredentials.bit();
        }
        (Some(0x20), Some((body, ..))) if body.get(1).is_some_and(|code| *code != 0) => {
            *status |= FlowStatus::ErrorCode.bit();
        }
        _ => {}
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    // Composed after the specification; tshark reads it so: client "c", user "u", password "p".
    const CONNECT: &str = "10 13 0004 4d515454 04 c2 003c 0001 63 0001 75 0001 70";

    #[test]
    fn a_connection_with_a_password_and_its_refusal() {
        let mut run = Run::new(tcp(50_000, 11_883));
        assert_eq!(run.client(&hex(CONNECT)), Verdict::Decided("MQTT"));
        run.server(&hex("20 02 00 05"));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
        let mut old = hex(CONNECT);
        old[8] = 2;
        assert_eq!(Run::new(tcp(50_000, 1883)).client(&old), Verdict::Undecided);
    }

    #[test]
    fn in_mid_stream_on_its_port_or_from_both_sides() {
        let publish = hex("32 09 0003 612f62 0001 6869");
        assert_eq!(Run::new(tcp(50_000, 1883)).server(&publish), Verdict::Decided("MQTT"));
        let mut run = Run::new(tcp(50_000, 11_883));
        assert_eq!(run.client(&publish), Verdict::Undecided);
        assert_eq!(run.server(&hex("40 02 0001")), Verdict::Decided("MQTT"));
        assert_eq!(Run::new(tcp(50_000, 1883)).server(&publish[..10]), Verdict::Undecided);
    }
}
