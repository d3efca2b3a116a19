//! OPC UA over TCP (OPC 10000-6 §7).

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, le32, name_only};

const MAX_LENGTH: u32 = 1 << 24;

pub(super) static OPC_UA: Dissector = Dissector {
    name: "OPC-UA",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| b"HAEROCM".contains(&byte),
    ports: &[(L4::TCP, 4840)],
    probe,
    dissect: name_only,
};

/// Three letters, the kind of chunk, the length.
fn message(bytes: &[u8]) -> Option<usize> {
    let (kind, chunk) = (bytes.get(..3)?, bytes.get(3)?);
    let sane = match kind {
        b"HEL" | b"ACK" | b"ERR" | b"RHE" | b"OPN" | b"CLO" => *chunk == b'F',
        b"MSG" => matches!(chunk, b'F' | b'C' | b'A'),
        _ => false,
    };
    let length = le32(bytes, 4).filter(|length| (16..MAX_LENGTH).contains(length))?;
    sane.then_some(length as usize)
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    match (walk(bytes, message), message(bytes)) {
        (Fit::Whole | Fit::Cut, _) => Probe::Certain,
        (Fit::No, Some(_)) => Probe::Maybe,
        (Fit::No, None) => Probe::No,
    }
}

// Bytes recorded between the client and the server of asyncua.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn hello_and_acknowledgement() {
        let hello = [
            &hex("48454c46 3a000000 00000000 ffffff7f ffffff7f 00000000 00000000 1a000000")[..],
            b"opc.tcp://127.0.0.1:4840/x",
        ]
        .concat();
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hello), Verdict::Decided("OPC-UA"));
        let answer = hex("41434b461c00000000000000ffff0000ffff00000000400641060000");
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&answer), Verdict::Decided("OPC-UA"));
        let mut run = Run::new(tcp(50_000, 9999));
        assert_eq!(run.client(&hello[..40]), Verdict::Undecided);
        assert_eq!(run.client(&hello[40..]), Verdict::Decided("OPC-UA"));
        assert_eq!(Run::new(tcp(50_000, 4840)).client(b"HELFen wir alle"), Verdict::Undecided);
    }
}
