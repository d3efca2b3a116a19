//! Cisco's IPsec over TCP and UDP before NAT traversal (as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static CISCO_VPN: Dissector = Dissector {
    name: "CiscoVPN",
    category: AppCategory::Vpn,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == 0xfe,
    ports: &[(L4::UDP, 10_000), (L4::TCP, 10_000)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let ours = be32(bytes, 0) == Some(0xfe57_7e2b) && cx.has_port(10_000);
    if ours { Probe::Certain } else { Probe::No }
}

// The marker is real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn the_marker_on_its_port() {
        let packet = hex("fe577e2b 00000000 00000000");
        assert_eq!(Run::new(udp(50_000, 10_000)).client(&packet), Verdict::Decided("CiscoVPN"));
        assert_eq!(Run::new(udp(50_000, 10_001)).client(&packet), Verdict::Undecided);
    }
}
