//! Spotify: the search for players on the local network, and the opening at an access point (librespot).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

pub(super) static SPOTIFY: Dissector = Dissector {
    name: "Spotify",
    category: AppCategory::Music,
    breed: Breed::Fun,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, b'S' | 0),
    ports: &[(L4::TCP, 4070)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let ours = if cx.l4 == L4::UDP {
        bytes.starts_with(b"SpotUdp")
    } else {
        // Version of the framing, length of all, then a message whose field 10 tells the build.
        let fits = be32(bytes, 2).is_some_and(|length| length as usize == bytes.len());
        be16(bytes, 0) == Some(4) && fits && bytes.get(6) == Some(&0x52)
    };
    if ours { Probe::Certain } else { Probe::No }
}

// Bytes put together after librespot.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn players_and_access_points() {
        assert_eq!(Run::new(udp(57_621, 57_621)).client(b"SpotUdp0abc"), Verdict::Decided("Spotify"));
        assert_eq!(Run::new(udp(57_621, 57_621)).client(b"SpotUd"), Verdict::Undecided);
        let hello = hex("0004 0000000c 520e5000 a0070001");
        let hello = [&hello[..2], &[0, 0, 0, hello.len() as u8], &hello[6..]].concat();
        assert_eq!(Run::new(tcp(50_000, 4070)).client(&hello), Verdict::Decided("Spotify"));
        assert_eq!(Run::new(tcp(50_000, 4070)).client(&hello[..13]), Verdict::Undecided);
    }
}
