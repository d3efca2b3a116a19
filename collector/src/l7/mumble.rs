//! Mumble's voice chat by its ping (Mumble's protocol documentation, "UDP ping"); its control connection is TLS.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static MUMBLE: Dissector = Dissector {
    name: "Mumble",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[(L4::UDP, 64_738)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    match (be32(bytes, 0), bytes.len()) {
        // Asked with a number of eight bytes.
        (Some(0), 12) if be32(bytes, 4) != Some(0) && (cx.from_client || cx.has_port(64_738)) => Probe::Maybe,
        // Answered with the version, the number, users, room for users, and bits a second.
        (Some(0x0001_0000..=0x0001_ffff), 24) => {
            let (users, room) = (be32(bytes, 12).unwrap_or(u32::MAX), be32(bytes, 16).unwrap_or_default());
            let bits = be32(bytes, 20).unwrap_or_default();
            let sane = users <= room && room < 1 << 20 && (8_000..=1_000_000).contains(&bits);
            if sane { Probe::Certain } else { Probe::No }
        }
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn pings_and_their_answers() {
        // Composed after the documentation.
        let answer = hex("00010204 1122334455667788 00000003 00000064 00011170");
        assert_eq!(Run::new(udp(50_000, 50_001)).server(&answer), Verdict::Decided("Mumble"));
        assert_eq!(Run::new(udp(50_000, 50_001)).server(&answer[..23]), Verdict::Undecided);
        let asked = hex("00000000 1122334455667788");
        assert_eq!(Run::new(udp(50_000, 64_738)).client(&asked), Verdict::Decided("Mumble"));
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&asked), Verdict::Undecided);
    }
}
