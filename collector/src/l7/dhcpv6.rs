//! DHCP for IPv6 (RFC 8415).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, any_byte, be16, name_only};

const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;

pub(super) static DHCPV6: Dissector = Dissector {
    name: "DHCPV6",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: any_byte,
    ports: &[(L4::UDP, CLIENT_PORT), (L4::UDP, SERVER_PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::UDP || !(cx.has_port(CLIENT_PORT) || cx.has_port(SERVER_PORT)) {
        return Probe::No;
    }
    let header = match bytes.first() {
        Some(1..=11) => 4,
        // Relayed messages carry two addresses.
        Some(12 | 13) => 34,
        _ => return Probe::No,
    };
    let Some(mut options) = bytes.get(header..) else {
        return Probe::No;
    };
    while !options.is_empty() {
        let Some(rest) = be16(options, 2).and_then(|length| options.get(4 + usize::from(length)..)) else {
            return Probe::No;
        };
        options = rest;
    }
    Probe::Certain
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn options_must_fill_the_message() {
        let solicit = hex("01 10 08 74 0008 0002 0000 0006 0004 00170018");
        assert_eq!(Run::new(udp(546, 547)).client(&solicit), Verdict::Decided("DHCPV6"));
        assert_eq!(Run::new(udp(546, 547)).client(&solicit[..13]), Verdict::Undecided);
        assert_eq!(Run::new(udp(546, 548)).client(&solicit), Verdict::Decided("DHCPV6"));
        assert_eq!(Run::new(udp(545, 548)).client(&solicit), Verdict::Undecided);
    }
}
