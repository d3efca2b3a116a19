//! Smart homes by Matter (Core Specification 1.3 §4.4): the messages that open a session.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, le16, name_only};

pub(super) static MATTER: Dissector = Dissector {
    name: "Matter",
    category: AppCategory::Iot,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte & 0xf8 == 0,
    ports: &[(L4::UDP, 5540)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Version 0, no session yet, no flags of one, a counter, a source, then exchange, what and whose.
    let Some(&[flags, 0, 0, 0]) = bytes.first_chunk() else { return Probe::No };
    let destination = match flags & 3 {
        0 => 0,
        1 => 8,
        2 => 2,
        _ => return Probe::No,
    };
    let at = 8 + if flags & 4 != 0 { 8 } else { 0 } + destination;
    // Acknowledgements, session by password or by certificate, status.
    let known =
        bytes.get(at + 1).is_some_and(|opcode| matches!(opcode, 0x10 | 0x20..=0x24 | 0x30..=0x33 | 0x40));
    let secure_channel = le16(bytes, at + 4) == Some(0) && bytes.len() >= at + 6;
    match (known && secure_channel, cx.has_port(5540)) {
        (true, true) => Probe::Certain,
        (true, false) if flags & 4 != 0 => Probe::Maybe,
        _ => Probe::No,
    }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_session_opens() {
        let open = hex("04 0000 00 01020304 a1b2c3d4e5f60718 05 20 1234 0000 1530");
        assert_eq!(Run::new(udp(50_000, 5540)).client(&open), Verdict::Decided("Matter"));
        let mut elsewhere = Run::new(udp(50_000, 5541));
        assert_eq!(elsewhere.client(&open), Verdict::Undecided);
        assert_eq!(
            elsewhere.server(&hex("01 0000 00 01020305 a1b2c3d4e5f60718 06 21 1234 0000")),
            Verdict::Undecided
        );
        assert_eq!(Run::new(udp(50_000, 5540)).client(&open[..20]), Verdict::Undecided);
    }
}
