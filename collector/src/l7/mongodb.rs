//! MongoDB wire protocol (MongoDB manual, "MongoDB Wire Protocol").

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, Want, le32};

const HEADER: usize = 16;
/// Longest message that servers take.
const MAX_MESSAGE: usize = 48_000_000;
const REPLY: u32 = 1;
const COMPRESSED: u32 = 2012;
const MSG: u32 = 2013;

pub(super) static MONGODB: Dissector = Dissector {
    name: "MongoDB",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[(L4::TCP, 27_017)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let (Some(length), Some(opcode)) = (le32(bytes, 0), le32(bytes, 12)) else { return Probe::No };
    let length = length as usize;
    if length <= HEADER || length > MAX_MESSAGE || bytes.len() <= HEADER {
        return Probe::No;
    }
    let sane = match opcode {
        REPLY => {
            let flags = le32(bytes, HEADER).is_some_and(|flags| flags < 0x10);
            flags && length >= 36 && le32(bytes, 8) != Some(0) && documents(bytes, length)
        }
        // Flags: checksum, more to come, exhaust allowed. Then sections of kind 0 or 1.
        MSG => {
            let flags = le32(bytes, HEADER).is_some_and(|flags| flags & !0x1_0003 == 0);
            flags && bytes.get(HEADER + 4).is_none_or(|kind| *kind <= 1)
        }
        COMPRESSED => le32(bytes, HEADER).is_some_and(|inner| matches!(inner, 1 | 2001..=2013)),
        2001..=2007 | 2010 | 2011 => true,
        _ => false,
    };
    match (sane, opcode) {
        (false, _) => Probe::No,
        (true, REPLY) if length < bytes.len() => Probe::No,
        (true, _) => Probe::Certain,
    }
}

/// Whether what a reply returns fits: nothing, or documents of which the first has a length.
fn documents(bytes: &[u8], length: usize) -> bool {
    let count = le32(bytes, HEADER + 16);
    let first = le32(bytes, HEADER + 20).map(|first| first as usize);
    match (count, first) {
        (Some(0), None) => length == HEADER + 20,
        (Some(1), Some(first)) => first + HEADER + 20 == length,
        (Some(2..=10_000), Some(first)) => first >= 5 && first + HEADER + 20 < length,
        _ => false,
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if cx.from_client && has(bytes, b"\x02mechanism\0\x06\0\0\0PLAIN\0") {
        *status |= FlowStatus::ClearTextCredentials.bit();
        return Want::Nothing;
    }
    Want::Next
}

// Bytes made with Python's bson, after the manual.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    const QUERY: &str =
        "3a000000 01000000 00000000 d4070000 00000000 61646d696e2e24636d6400 00000000 01000000
                         13000000 10 69734d617374657200 01000000 00";

    fn message(document: &[u8]) -> Vec<u8> {
        let length = HEADER + 5 + document.len();
        [&[length as u8, 0, 0, 0][..], &hex("07000000 00000000 dd070000 00000000 00"), document].concat()
    }

    #[test]
    fn questions_and_answers() {
        assert_eq!(Run::new(tcp(50_000, 30_000)).client(&hex(QUERY)), Verdict::Decided("MongoDB"));
        let reply =
            hex("29000000 11000000 01000000 01000000 08000000 0000000000000000 00000000 01000000 0500000000");
        assert_eq!(Run::new(tcp(50_000, 30_000)).server(&reply), Verdict::Decided("MongoDB"));
        let ping = message(&hex("0f000000 10 70696e6700 01000000 00"));
        assert_eq!(Run::new(tcp(50_000, 30_000)).client(&ping), Verdict::Decided("MongoDB"));
        assert_eq!(Run::new(tcp(50_000, 27_017)).client(&ping[..16]), Verdict::Undecided);
    }

    #[test]
    fn a_plain_password_is_noted() {
        let mut run = Run::new(tcp(50_000, 27_017));
        let start =
            [&b"\x26\0\0\0\x10saslStart\0\x01\0\0\0\x02mechanism\0\x06\0\0\0PLAIN\0"[..], b"\0"].concat();
        run.client(&message(&start));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
    }
}
