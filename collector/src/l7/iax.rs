//! Asterisk's Inter-Asterisk eXchange, version 2 (RFC 5456).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const PORT: u16 = 4569;
const HEADER: usize = 12;

pub(super) static IAX: Dissector = Dissector {
    name: "IAX",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte & 0x80 != 0,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(source), Some(&[kind, subclass])) =
        (be16(bytes, 0), bytes.get(10..12).and_then(<[u8]>::first_chunk))
    else {
        return Probe::No;
    };
    // Control frames of the protocol's own, whose elements fill the datagram.
    if source & 0x7fff == 0 || kind != 6 || !(1..=40).contains(&subclass) {
        return Probe::No;
    }
    let mut elements = bytes.get(HEADER..).unwrap_or_default();
    let filled = !elements.is_empty();
    while let &[_, length, ..] = elements {
        let Some(rest) = elements.get(2 + usize::from(length)..) else {
            return Probe::No;
        };
        elements = rest;
    }
    match (elements.is_empty(), cx.has_port(PORT), filled) {
        (true, true, _) => Probe::Certain,
        (true, false, true) => Probe::Maybe,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_new_call() {
        // Composed after the RFC.
        let new = hex("8001 0000 00000003 00 00 06 01 0b02 0002 0402 6162");
        assert_eq!(Run::new(udp(50_000, 4569)).client(&new), Verdict::Decided("IAX"));
        assert_eq!(Run::new(udp(50_000, 4569)).client(&new[..19]), Verdict::Undecided);
    }
}
