//! WhatsApp's connections to its servers (the prologue of the Noise handshake as open clients send it).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static WHATSAPP: Dissector = Dissector {
    name: "WhatsApp",
    category: AppCategory::Chat,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b'W' | b'E'),
    ports: &[],
    probe: probe_whatsapp,
    dissect: name_only,
};

/// Name, version, dictionary; then a length in three bytes. Routing information may come before.
fn probe_whatsapp(bytes: &[u8], _: &L7Context) -> Probe {
    let rest = match bytes {
        [b'E', b'D', 0, 1, 0, high, low, rest @ ..] => {
            rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default()
        }
        _ => bytes,
    };
    match rest {
        [b'W', b'A', 1..=9, 0..=9, 0, high, low, frame @ ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if frame.len() == length || frame.is_empty() { Probe::Certain } else { Probe::No }
        }
        [b'W', b'A', 1..=9, 0..=9] => Probe::Maybe,
        _ => Probe::No,
    }
}

// Bytes put together after those clients.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn whatsapp() {
        let hello = [b"WA\x06\x03", &hex("000024 12220a20")[..], &[7; 32]].concat();
        assert_eq!(Run::new(tcp(50_000, 443)).client(&hello), Verdict::Decided("WhatsApp"));
        let routed = [b"ED\0\x01", &hex("000004 08021204")[..], &hello].concat();
        assert_eq!(Run::new(tcp(50_000, 443)).client(&routed), Verdict::Decided("WhatsApp"));
        assert_eq!(Run::new(tcp(50_000, 443)).client(&hello[..20]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 443)).client(b"WAS IST DAS"), Verdict::Undecided);
    }
}
