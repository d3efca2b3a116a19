//! DNSCrypt version 2 (dnscrypt.info/protocol): the question for a certificate, and answers.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static DNSCRYPT: Dissector = Dissector {
    name: "DNScrypt",
    category: AppCategory::Network,
    breed: Breed::Safe,
    carrier: Carrier::Either,
    first: |_| true,
    ports: &[(L4::UDP, 5443), (L4::TCP, 5443)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let bytes = if cx.l4 == L4::TCP { bytes.get(2..).unwrap_or_default() } else { bytes };
    // The client's own magic changes with each certificate; the resolver's does not.
    let answer = bytes.starts_with(b"r6fnvWj8");
    let question = bytes.get(12..).is_some_and(|name| name.starts_with(b"\x012\x0ddnscrypt-cert"));
    if answer || (question && !cx.has_port(53)) { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn certificates_and_answers() {
        let ask = [&hex("1234 0100 0001 0000 0000 0000")[..], b"\x012\x0ddnscrypt-cert\x02de\0\0\x10\0\x01"]
            .concat();
        assert_eq!(Run::new(udp(50_000, 443)).client(&ask), Verdict::Decided("DNScrypt"));
        let answer = [b"r6fnvWj8", &[0x5a; 40][..]].concat();
        assert_eq!(Run::new(udp(50_000, 443)).server(&answer), Verdict::Decided("DNScrypt"));
        assert_eq!(Run::new(udp(50_000, 443)).server(&answer[1..]), Verdict::Undecided);
    }
}
