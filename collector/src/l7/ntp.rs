//! NTP (RFC 5905).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, any_byte, be32, name_only};

const PORT: u16 = 123;
/// Length without extensions and authentication.
const HEADER: usize = 48;
/// Where the time of sending stands.
const SENT_AT: usize = 40;
const FROM_1900_TO_1970: i64 = 2_208_988_800;
/// How wrong a clock may be that asks for the time.
const MAX_SKEW_S: i64 = 2 * 365 * 86_400;
/// Largest stratum; 16 is "not synchronised".
const MAX_STRATUM: u8 = 16;

pub(super) static NTP: Dissector = Dissector {
    name: "NTP",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: any_byte,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let &[first, stratum, ..] = bytes else {
        return Probe::No;
    };
    let (version, mode) = (first >> 3 & 7, first & 7);
    if cx.l4 != L4::UDP {
        return Probe::No;
    }
    if !cx.has_port(PORT) {
        return elsewhere(bytes, cx);
    }
    let known = match mode {
        1..=5 => bytes.len() >= HEADER && bytes.len().is_multiple_of(4) && stratum <= MAX_STRATUM,
        // Control messages, and the private ones of one implementation.
        6 => bytes.len() >= 12,
        7 => bytes.len() >= 8,
        _ => false,
    };
    if known && (1..=4).contains(&version) { Probe::Certain } else { Probe::No }
}

/// Behind a translated port a header alone must do: what a client asks or a server tells, sent about now.
fn elsewhere(bytes: &[u8], cx: &L7Context) -> Probe {
    let sent = be32(bytes, SENT_AT).map(|seconds| i64::from(seconds) - FROM_1900_TO_1970);
    let now = sent.is_some_and(|sent| (sent - cx.at_s).abs() <= MAX_SKEW_S);
    let asks = matches!(bytes, [0x1b | 0x23 | 0xdb | 0xe3, 0..=MAX_STRATUM, ..]);
    let tells = matches!(bytes, [0x1c | 0x24 | 0x5c | 0x64, 1..MAX_STRATUM, ..]);
    if (asks || tells) && now && bytes.len() == HEADER { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn requests_are_known_on_their_port_only() {
        let mut request = [0_u8; 48];
        request[0] = 0x23;
        assert_eq!(Run::new(udp(40_000, 123)).client(&request), Verdict::Decided("NTP"));
        assert_eq!(Run::new(udp(40_000, 124)).client(&request), Verdict::Undecided);
        assert_eq!(Run::new(udp(40_000, 123)).client(&request[..44]), Verdict::Undecided);
        request[40..44].copy_from_slice(&0xed00_0000_u32.to_be_bytes());
        assert_eq!(Run::new(udp(40_000, 124)).client(&request), Verdict::Decided("NTP"));
        request[1] = 17;
        assert_eq!(Run::new(udp(40_000, 123)).client(&request), Verdict::Undecided);
    }
}
