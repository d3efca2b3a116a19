//! DNP3 (IEEE 1815) by its data link header, whose checksum is computed.

use shared::model::flow::L7Info;
use shared::model::status::StatusBits;
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, judge, le16};

/// Start, length, control, destination, source; the checksum follows.
const HEADER: usize = 8;

pub(super) static DNP3: Dissector = Dissector {
    name: "DNP3",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == 0x05,
    ports: &[(L4::TCP, 20_000), (L4::UDP, 20_000)],
    probe,
    dissect,
};

/// Whether a frame that begins here has a head as it should be; `None` when none does.
fn is_sound(bytes: &[u8]) -> Option<bool> {
    let header = bytes.get(..HEADER).filter(|header| header.starts_with(&[0x05, 0x64]))?;
    // The length counts from the control byte on.
    let length = header.get(2).is_some_and(|length| *length >= 5);
    Some(length && le16(bytes, HEADER)? == crc(header))
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if is_sound(bytes) == Some(true) { Probe::Certain } else { Probe::No }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    judge(is_sound(bytes) != Some(false), status);
    Want::Next
}

/// CRC-16/DNP: polynomial 0x3d65, reflected, inverted.
fn crc(bytes: &[u8]) -> u16 {
    !bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa6bc } else { crc >> 1 })
    })
}

// A link status request as the standard's examples have it; the checksum's known answer is CRC-16/DNP's.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};
    use shared::model::status::FlowStatus;

    #[test]
    fn the_checksum_must_agree() {
        assert_eq!(crc(b"123456789"), 0xea82);
        let mut frame = hex("0564 05 c9 0100 0004");
        frame.extend(crc(&frame).to_le_bytes());
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&frame), Verdict::Decided("DNP3"));
        assert_eq!(Run::new(udp(50_000, 9999)).server(&frame), Verdict::Decided("DNP3"));
        let mut run = Run::new(tcp(50_000, 20_000));
        run.client(&frame);
        frame[4] ^= 1;
        run.server(b"the rest of a frame");
        assert_eq!(run.status, 0);
        run.server(&frame);
        assert_eq!(run.status, FlowStatus::MalformedPacket.bit());
        assert_eq!(Run::new(tcp(50_000, 20_000)).client(&frame), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 20_000)).client(&frame[..9]), Verdict::Undecided);
    }
}
