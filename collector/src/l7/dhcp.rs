//! DHCP and BOOTP (RFC 2131, RFC 951).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

/// Where options begin, and what they begin with (RFC 2131 §3).
const COOKIE_AT: usize = 236;
const COOKIE: [u8; 4] = [0x63, 0x82, 0x53, 0x63];

pub(super) static DHCP: Dissector = Dissector {
    name: "DHCP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 1 | 2),
    ports: &[(L4::UDP, 67), (L4::UDP, 68)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let &[operation, _, address_length, ..] = bytes else {
        return Probe::No;
    };
    let known = cx.l4 == L4::UDP && matches!(operation, 1 | 2) && address_length <= 16;
    let cookie = bytes.get(COOKIE_AT..).is_some_and(|options| options.starts_with(&COOKIE));
    // BOOTP has no cookie: hardware of Ethernet, few hops, at least the head, on its ports.
    let plain = bytes.len() >= COOKIE_AT
        && bytes.starts_with(&[operation, 1, 6])
        && bytes.get(3).is_some_and(|hops| *hops <= 16)
        && (cx.has_port(67) || cx.has_port(68));
    if known && (cookie || plain) { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn the_cookie_tells_it() {
        let mut discover = vec![0_u8; COOKIE_AT];
        discover[..3].copy_from_slice(&[1, 1, 6]);
        assert_eq!(Run::new(udp(1068, 1067)).client(&discover), Verdict::Undecided);
        assert_eq!(Run::new(udp(68, 67)).client(&discover), Verdict::Decided("DHCP"));
        discover.extend(COOKIE);
        discover.extend([53, 1, 1, 255]);
        assert_eq!(Run::new(udp(68, 67)).client(&discover), Verdict::Decided("DHCP"));
    }
}
