//! DTLS (RFC 6347, RFC 9147) by its records.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const HEADER: usize = 13;

pub(super) static DTLS: Dissector = Dissector {
    name: "DTLS",
    category: AppCategory::Web,
    breed: Breed::Safe,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 20..=25),
    ports: &[],
    probe,
    dissect: name_only,
};

pub(super) fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Type, version 1.0 or 1.2, epoch, sequence number, length.
    let ([20..=25, 0xfe, 0xff | 0xfd, 0, 0, ..], L4::UDP) = (bytes, cx.l4) else { return Probe::No };
    let Some(length) = be16(bytes, HEADER - 2).map(usize::from) else { return Probe::No };
    match bytes.get(HEADER..) {
        Some(body) if length > 0 && body.len() >= length => Probe::Certain,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_record_must_be_whole() {
        let hello = hex("16 feff 0000 000000000000 0004 01000000");
        assert_eq!(Run::new(udp(50_000, 3478)).client(&hello), Verdict::Decided("DTLS"));
        assert_eq!(Run::new(udp(50_000, 3478)).client(&hello[..16]), Verdict::Undecided);
    }
}
