//! HART-IP (FieldComm Group TS20085; Wireshark's description).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const HEADER: usize = 8;

pub(super) static HART_IP: Dissector = Dissector {
    name: "HART-IP",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 1 | 2),
    ports: &[(L4::TCP, 5094), (L4::UDP, 5094)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Version; request, response, publication, refusal; start, end, keep alive, data, audit log.
    let [1 | 2, 0..=2 | 15, id @ 0..=5, _, _, _, _, _, body @ ..] = bytes else { return Probe::No };
    if be16(bytes, 6).map(usize::from) != Some(bytes.len()) {
        return Probe::No;
    }
    let sane = match id {
        // Who starts says whether it is the master, and after which time to close.
        0 => body.len() == 5 && body.first().is_some_and(|master| *master <= 1),
        1 | 2 => body.is_empty(),
        // Delimiter, address of one or five bytes, command, count, checksum.
        3 => (5..=HEADER + 270).contains(&body.len()),
        _ => true,
    };
    let at_home = cx.has_port(5094);
    if sane && (at_home || matches!(id, 0)) {
        Probe::Certain
    } else if sane {
        Probe::Maybe
    } else {
        Probe::No
    }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_session_starts() {
        let start = hex("01 00 00 00 0001 000d 01 00007530");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&start), Verdict::Decided("HART-IP"));
        let command = hex("01 00 03 00 0002 000d 02 80 00 00 82");
        assert_eq!(Run::new(udp(50_000, 5094)).client(&command), Verdict::Decided("HART-IP"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&command), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 5094)).client(&start[..12]), Verdict::Undecided);
    }
}
