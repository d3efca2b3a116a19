//! Apache Thrift's calls in its binary and compact protocols, framed or not (thrift-rpc.md).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be32};

/// Longest name of a method.
const MAX_NAME: usize = 128;
const EXCEPTION: u8 = 3;

pub(super) static THRIFT: Dissector = Dissector {
    name: "Thrift",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 0 | 0x80 | 0x82),
    ports: &[(L4::UDP, 6831), (L4::UDP, 6832)],
    probe: |bytes, cx| if kind(bytes, cx).is_some() { Probe::Certain } else { Probe::No },
    dissect,
};

/// The kind of message: call, reply, exception, call without reply.
fn kind(bytes: &[u8], cx: &L7Context) -> Option<u8> {
    let message = match bytes.first()? {
        0 if cx.l4 == L4::TCP => {
            let length = usize::try_from(be32(bytes, 0)?).ok()?;
            bytes.get(4..).filter(|message| message.len() <= length)?
        }
        _ => bytes,
    };
    binary(message).or_else(|| compact(message))
}

fn binary(message: &[u8]) -> Option<u8> {
    let &[0x80, 1, 0, kind @ 1..=4, ..] = message else {
        return None;
    };
    let length = usize::try_from(be32(message, 4)?).ok()?;
    named(message.get(8..)?, length).then_some(kind)
}

fn compact(message: &[u8]) -> Option<u8> {
    let &[0x82, second, ..] = message else {
        return None;
    };
    let kind = second >> 5;
    // The version; then a sequence number of one to five bytes.
    if second & 0x1f != 1 || !(1..=4).contains(&kind) {
        return None;
    }
    let rest = message.get(2..)?;
    let end = rest.iter().take(5).position(|byte| byte & 0x80 == 0)?;
    let (&length, name) = rest.get(end + 1..)?.split_first()?;
    named(name, length.into()).then_some(kind)
}

fn named(bytes: &[u8], length: usize) -> bool {
    let name = (1..=MAX_NAME).contains(&length).then(|| bytes.get(..length)).flatten();
    name.is_some_and(|name| {
        name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'-'))
    })
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if kind(bytes, cx) == Some(EXCEPTION) {
        *status |= FlowStatus::ErrorCode.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn both_protocols_name_the_method() {
        let call = hex("80010001 00000004 70696e67 00000001 00");
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&call), Verdict::Decided("Thrift"));
        let framed = [&hex("00000011")[..], &call].concat();
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&framed), Verdict::Decided("Thrift"));
        let compact = hex("82 81 01 09 656d69744261746368 1c");
        assert_eq!(Run::new(udp(50_000, 6831)).client(&compact), Verdict::Decided("Thrift"));
        for cut in 1..12 {
            assert_eq!(Run::new(tcp(50_000, 9090)).client(&call[..cut]), Verdict::Undecided);
        }
    }

    #[test]
    fn exceptions_are_errors() {
        let mut run = Run::new(tcp(50_000, 9090));
        run.server(&hex("80010003 00000004 70696e67 00000001 00"));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
    }
}
