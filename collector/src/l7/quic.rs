//! QUIC by its long headers (RFC 8999, RFC 9000 §17.2); hellos inside are encrypted and not read.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const PORT: u16 = 443;
/// Longest connection id of the known versions.
const MAX_CONNECTION_ID: u8 = 20;
/// A client fills its first datagram up to this size (RFC 9000 §14.1).
const MIN_INITIAL: usize = 1200;

pub(super) static QUIC: Dissector = Dissector {
    name: "QUIC",
    category: AppCategory::Web,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte & 0xc0 == 0xc0,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

/// Versions 1 and 2 (RFC 9369), the drafts, and the two families of Google's.
fn is_known(version: [u8; 4]) -> bool {
    matches!(
        version,
        [0, 0, 0, 1]
            | [0x6b, 0x33, 0x43, 0xcf]
            | [0xff, 0, 0, 1..=34]
            | [b'Q' | b'T', b'0', b'0'..=b'9', b'0'..=b'9']
    )
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some((&[first, a, b, c, d, id_length], rest)) = bytes.split_first_chunk() else { return Probe::No };
    let version = [a, b, c, d];
    let is_long = first & 0xc0 == 0xc0;
    if cx.l4 != L4::UDP || !is_long || !is_known(version) {
        return Probe::No;
    }
    // Google's last own version with this header packs both lengths into one byte.
    if matches!(version, [b'Q', ..]) {
        return Probe::Certain;
    }
    let other = rest.get(usize::from(id_length)).copied();
    let lengths = id_length <= MAX_CONNECTION_ID && other.is_some_and(|length| length <= MAX_CONNECTION_ID);
    if !lengths {
        return Probe::No;
    }
    if cx.has_port(PORT) || bytes.len() >= MIN_INITIAL { Probe::Certain } else { Probe::Maybe }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn a_first_datagram_is_known_by_version_and_size() {
        let mut initial = vec![0xc3, 0, 0, 0, 1, 8];
        initial.extend([5; 8]);
        initial.extend([0, 0, 0x44, 0xd0]);
        initial.resize(1200, 0xaa);
        assert_eq!(Run::new(udp(50_000, 443)).client(&initial), Verdict::Decided("QUIC"));
        assert_eq!(Run::new(udp(50_000, 4433)).client(&initial), Verdict::Decided("QUIC"));
        assert_eq!(Run::new(udp(50_000, 4433)).client(&initial[..100]), Verdict::Undecided);
        initial[5] = 21;
        assert_eq!(Run::new(udp(50_000, 443)).client(&initial), Verdict::Undecided);
    }
}
