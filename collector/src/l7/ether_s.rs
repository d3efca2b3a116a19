//! Saia's Ether-S-Bus and Ether-S-I/O (Wireshark's descriptions).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

pub(super) static ETHER_S_BUS: Dissector = Dissector {
    name: "EtherSBus",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[(L4::UDP, 5050)],
    probe: probe_bus,
    dissect: name_only,
};

pub(super) static ETHER_S_IO: Dissector = Dissector {
    name: "EtherSIO",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == b'E',
    ports: &[(L4::UDP, 6060)],
    probe: probe_io,
    dissect: name_only,
};

fn probe_bus(bytes: &[u8], _: &L7Context) -> Probe {
    let Some((frame, &[high, low])) = bytes.split_last_chunk::<2>() else { return Probe::No };
    // Length, version, type, sequence; asks, answers or acknowledges.
    let length = be32(bytes, 0).is_some_and(|length| length as usize == bytes.len());
    let sane = matches!(frame, [_, _, _, _, 0..=1, 0, _, _, 0..=2, ..]);
    if length && sane && crc(frame) == u16::from_be_bytes([high, low]) { Probe::Certain } else { Probe::No }
}

/// CRC-16/XMODEM.
fn crc(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(*byte) << 8,
            |crc: u16, _| {
                if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 }
            },
        )
    })
}

fn probe_io(bytes: &[u8], cx: &L7Context) -> Probe {
    let magic = bytes.starts_with(b"ESIO") && bytes.len() >= 12;
    match be16(bytes, 4) {
        Some(0..=2) if magic => Probe::Certain,
        Some(_) if magic && cx.has_port(6060) => Probe::Maybe,
        _ => Probe::No,
    }
}

// Bytes put together after the descriptions.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn the_checksum_must_agree() {
        assert_eq!(crc(b"123456789"), 0x31c3);
        let mut frame = hex("0000000d 00 00 0001 00 01 20");
        frame.extend(crc(&frame).to_be_bytes());
        assert_eq!(Run::new(udp(50_000, 9999)).client(&frame), Verdict::Decided("EtherSBus"));
        frame[10] ^= 1;
        assert_eq!(Run::new(udp(50_000, 5050)).client(&frame), Verdict::Undecided);
    }

    #[test]
    fn inputs_and_outputs() {
        let transfer = [b"ESIO", &hex("0001 0001 00000010 01020304")[..]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&transfer), Verdict::Decided("EtherSIO"));
        assert_eq!(Run::new(udp(50_000, 6060)).client(&transfer[..11]), Verdict::Undecided);
    }
}
