//! The calls of the AFS file system, Rx (Zeldovich, "RX protocol specification").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, any_byte, be32, name_only};

pub(super) static RX: Dissector = Dissector {
    name: "RX",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: any_byte,
    ports: &[(L4::UDP, 7000), (L4::UDP, 7001), (L4::UDP, 7003)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Epoch, connection, call, sequence, serial, then a kind and flags; a header of 28 bytes.
    let at_home = (7000..=7009).any(|port| cx.has_port(port));
    let known = matches!(bytes.get(20..23), Some([1..=13, flags, 0..=4]) if flags & 0xc0 == 0);
    let whole = bytes.len() >= 28 && be32(bytes, 4) != Some(0);
    if at_home && known && whole { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_call_on_its_ports() {
        // Composed after the specification.
        let call = hex("5f3a2b1c 80000001 00000001 00000001 00000001 01 05 00 00 0000 0034");
        assert_eq!(Run::new(udp(7001, 7003)).client(&call), Verdict::Decided("RX"));
        assert_eq!(Run::new(udp(7101, 7103)).client(&call), Verdict::Undecided);
    }
}
