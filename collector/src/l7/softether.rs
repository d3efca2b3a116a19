//! SoftEther VPN: how its UDP finds its own address (NAT traversal of its sources); its TCP is HTTP and TLS.

use shared::model::{AppCategory, Breed, L4};

use super::frames::{has, printable};
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static SOFTETHER: Dissector = Dissector {
    name: "Softether",
    category: AppCategory::Vpn,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, b'I' | b'A'),
    ports: &[(L4::UDP, 5004)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let told = bytes.starts_with(b"IP=") && has(bytes, b",PORT=") && printable(bytes);
    match bytes {
        _ if told && !cx.from_client => Probe::Certain,
        [b'A'] if cx.has_port(5004) => Probe::Maybe,
        _ => Probe::No,
    }
}

// Strings as its sources write them.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn the_server_tells_the_address() {
        let mut run = Run::new(udp(50_000, 15_004));
        assert_eq!(run.client(b"A"), Verdict::Undecided);
        assert_eq!(run.server(b"IP=192.0.2.1,PORT=50000"), Verdict::Decided("Softether"));
        assert_eq!(Run::new(udp(50_000, 15_004)).server(b"IP=192.0.2.1"), Verdict::Undecided);
    }
}
