//! What radios tell routers of their links (DLEP, RFC 8175 §11: signals over UDP, messages over TCP).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static DLEP: Dissector = Dissector {
    name: "DLEP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, b'D' | 0),
    ports: &[(L4::UDP, 854), (L4::TCP, 854)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 == L4::UDP {
        let signal = bytes.strip_prefix(b"DLEP").filter(|signal| matches!(be16(signal, 0), Some(1 | 2)));
        let whole = signal.is_some_and(|signal| {
            be16(signal, 2).map(|length| usize::from(length) + 4) == Some(signal.len())
        });
        return if whole { Probe::Certain } else { Probe::No };
    }
    let session = cx.has_port(854) && matches!(be16(bytes, 0), Some(1..=16));
    let whole = be16(bytes, 2).is_some_and(|length| usize::from(length) + 4 == bytes.len());
    if session && whole { Probe::Certain } else { Probe::No }
}

// Put together after RFC 8175.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn discovery_and_sessions() {
        let discovery = [b"DLEP", &hex("0001 0000")[..]].concat();
        assert_eq!(Run::new(udp(854, 854)).client(&discovery), Verdict::Decided("DLEP"));
        assert_eq!(Run::new(udp(854, 854)).client(&discovery[..7]), Verdict::Undecided);
        let initialize = hex("0001 0008 0005 0004 0000ea60");
        assert_eq!(Run::new(tcp(50_000, 854)).client(&initialize), Verdict::Decided("DLEP"));
        assert_eq!(Run::new(tcp(50_000, 855)).client(&initialize), Verdict::Undecided);
    }
}
