//! Synchrophasors (IEEE C37.118.2) by frame and checksum.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static SYNCHROPHASOR: Dissector = Dissector {
    name: "IEEE-C37118",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == 0xaa,
    ports: &[(L4::TCP, 4712), (L4::UDP, 4713)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Data, header, two configurations, command, a third configuration; versions 1 to 3.
    let [0xaa, kind, ..] = bytes else { return Probe::No };
    let known = kind >> 4 <= 5 && (1..=3).contains(&(kind & 0x0f));
    let Some(length) = be16(bytes, 2).map(usize::from).filter(|length| *length >= 16) else {
        return Probe::No;
    };
    let Some((frame, check)) = bytes.get(..length).and_then(<[u8]>::split_last_chunk::<2>) else {
        return Probe::No;
    };
    if known && crc(frame) == u16::from_be_bytes(*check) { Probe::Certain } else { Probe::No }
}

/// CRC-16/IBM-3740: polynomial 0x1021, from ones.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc: u16, _| {
                if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 }
            },
        )
    })
}

// A command put together after the standard.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn the_checksum_must_agree() {
        assert_eq!(crc(b"123456789"), 0x29b1);
        let mut frame = hex("aa41 0012 003c 48992e3b 00000000 0005");
        frame.extend(crc(&frame).to_be_bytes());
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&frame), Verdict::Decided("IEEE-C37118"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&frame), Verdict::Decided("IEEE-C37118"));
        frame[5] ^= 1;
        assert_eq!(Run::new(udp(50_000, 4713)).client(&frame), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 4713)).client(&frame[..17]), Verdict::Undecided);
    }
}
