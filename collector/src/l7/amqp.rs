//! AMQP 0-9-1 and its forerunners, and 1.0 (OASIS, ISO/IEC 19464).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::contains;
use super::{Carrier, Dissector, L7Context, Probe, Want, be16, be32};

const FRAME_END: u8 = 0xce;
const FRAME_HEAD: usize = 7;
/// The connection class and its answer to a challenge (0-9-1 §1.4.2.3).
const START_OK: [u8; 4] = [0, 10, 0, 11];

pub(super) static AMQP: Dissector = Dissector {
    name: "AMQP",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b'A' | 0..=3 | 8),
    ports: &[(L4::TCP, 5672)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let greeting = match bytes.strip_prefix(b"AMQP") {
        Some([0, 0, 9, 1, ..] | [1, 1, 0 | 8 | 9, 0..=10, ..] | [0 | 2 | 3, 1, 0, 0, ..]) => true,
        Some(_) => return Probe::No,
        None => false,
    };
    if greeting || frame(bytes) || performative(bytes) { Probe::Certain } else { Probe::No }
}

/// A method, header, body or heartbeat of 0-9-1: length, and the end's mark.
fn frame(bytes: &[u8]) -> bool {
    let (&[kind @ (1..=3 | 8), ..], Some(length)) = (bytes, be32(bytes, 3)) else {
        return false;
    };
    let end = usize::try_from(length).ok().and_then(|length| length.checked_add(FRAME_HEAD));
    let ends = end.is_some_and(|end| bytes.get(end) == Some(&FRAME_END));
    let class =
        be16(bytes, FRAME_HEAD).is_some_and(|class| matches!(class, 10 | 20 | 30 | 40 | 50 | 60 | 85 | 90));
    ends && match kind {
        1 => class && length >= 4,
        2 => class && length >= 14,
        3 => length > 0,
        _ => length == 0,
    }
}

/// A frame of 1.0: length, data offset, kind, channel, and a described list.
fn performative(bytes: &[u8]) -> bool {
    let length = be32(bytes, 0).and_then(|length| usize::try_from(length).ok());
    let known = matches!(bytes.get(4..), Some([2, 0 | 1, _, _, 0, 0x53, 0x10..=0x18 | 0x40..=0x44, ..]));
    known && length.is_some_and(|length| length <= bytes.len())
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    let answers = bytes.get(FRAME_HEAD..).is_some_and(|method| method.starts_with(&START_OK))
        || bytes.get(8..11) == Some(&[0, 0x53, 0x41]);
    if cx.from_client && answers && (contains(bytes, b"PLAIN") || contains(bytes, b"AMQPLAIN")) {
        *status |= FlowStatus::ClearTextCredentials.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn greetings_of_all_versions() {
        for greeting in ["414d5150 00000901", "414d5150 01010009", "414d5150 00010000", "414d5150 03010000"] {
            assert_eq!(Run::new(tcp(50_000, 15_672)).client(&hex(greeting)), Verdict::Decided("AMQP"));
        }
        assert_eq!(Run::new(tcp(50_000, 5672)).client(&hex("414d5150 00000801")), Verdict::Undecided);
    }

    #[test]
    fn frames_in_mid_stream_and_a_plain_password() {
        let heartbeat = hex("08 0000 00000000 ce");
        assert_eq!(Run::new(tcp(50_000, 15_672)).server(&heartbeat), Verdict::Decided("AMQP"));
        assert_eq!(Run::new(tcp(50_000, 15_672)).server(&heartbeat[..7]), Verdict::Undecided);
        let mut run = Run::new(tcp(50_000, 5672));
        run.client(b"AMQP\0\0\x09\x01");
        run.client(b"\x01\0\0\0\0\0\x14\0\x0a\0\x0b\0\0\0\0\x05PLAIN\0\0\0\x02\0u\xce");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
        let open = hex("0000001f 02 00 0000 00 53 10 c0 12 04 a1 01 61");
        assert_eq!(Run::new(tcp(50_000, 5672)).client(&open), Verdict::Undecided);
        assert_eq!(
            Run::new(tcp(50_000, 5672)).client(&[&open[..], &[0x40; 20]].concat()),
            Verdict::Decided("AMQP")
        );
    }
}
