//! Valve's Steam client (SteamKit's and SteamDB's descriptions): connections to its servers and the
//! discovery of In-Home Streaming.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, le16, le32, name_only};

/// Streaming's discovery, and what it begins with.
const DISCOVERY: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0x21, 0x4c, 0x5f, 0xa0];
const UDP_HEADER: usize = 36;

pub(super) static STEAM: Dissector = Dissector {
    name: "Steam",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Either,
    first: |_| true,
    ports: &[(L4::UDP, 27_036)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let ours = if cx.l4 == L4::UDP {
        // Length of the data, kind of packet.
        let connection = bytes.starts_with(b"VS01")
            && le16(bytes, 4).is_some_and(|length| usize::from(length) + UDP_HEADER == bytes.len())
            && matches!(bytes.get(6), Some(1..=7));
        connection || bytes.starts_with(DISCOVERY)
    } else {
        let magic = bytes.get(4..8) == Some(b"VT01");
        magic && le32(bytes, 0).is_some_and(|length| (1..1 << 24).contains(&length))
    };
    if ours { Probe::Certain } else { Probe::No }
}

// Bytes put together after the descriptions.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn connections_and_discovery() {
        let ask = [b"VS01", &hex("0000 01 04")[..], &[0; 28]].concat();
        assert_eq!(Run::new(udp(50_000, 27_017)).client(&ask), Verdict::Decided("Steam"));
        assert_eq!(Run::new(udp(50_000, 27_017)).client(&ask[..35]), Verdict::Undecided);
        let encrypt = [&hex("18000000")[..], b"VT01", &[0; 24]].concat();
        assert_eq!(Run::new(tcp(50_000, 27_017)).server(&encrypt), Verdict::Decided("Steam"));
        assert_eq!(Run::new(tcp(50_000, 443)).server(&encrypt[4..]), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 9999)).client(DISCOVERY), Verdict::Decided("Steam"));
    }
}
