//! STUN and TURN (RFC 8489) by cookie and length.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

pub(super) static STUN: Dissector = Dissector {
    name: "STUN",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte < 0x40,
    ports: &[(L4::UDP, 3478), (L4::TCP, 3478)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(kind), Some(length)) = (be16(bytes, 0), be16(bytes, 2).map(usize::from)) else {
        return Probe::No;
    };
    let cookie = bytes.get(4..).is_some_and(|rest| rest.starts_with(&COOKIE));
    let sane = matches!(cx.l4, L4::UDP | L4::TCP) && kind < 0x4000 && length.is_multiple_of(4);
    if sane && cookie && bytes.len() == HEADER + length { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_binding_request_fills_its_datagram() {
        let request = hex("0001 0000 2112a442 0102030405060708090a0b0c");
        assert_eq!(Run::new(udp(50_000, 19_302)).client(&request), Verdict::Decided("STUN"));
        assert_eq!(Run::new(udp(50_000, 3478)).client(&request[..19]), Verdict::Undecided);
    }
}
