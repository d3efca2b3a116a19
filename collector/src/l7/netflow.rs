//! Exports of flow records: NetFlow versions 1, 5 and 7 (Cisco, "NetFlow Export Datagram Format"), 9
//! (RFC 3954), and IPFIX (RFC 7011).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

/// Exporters' clocks may be this wrong.
const MAX_SKEW_S: i64 = 20 * 365 * 86_400;

pub(super) static NETFLOW: Dissector = Dissector {
    name: "NetFlow",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[(L4::UDP, 2055), (L4::UDP, 4739), (L4::UDP, 9995), (L4::UDP, 9996), (L4::UDP, 6363)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(version), Some(count)) = (be16(bytes, 0), be16(bytes, 2).map(usize::from)) else {
        return Probe::No;
    };
    let dated =
        |at: usize| be32(bytes, at).is_some_and(|time| (i64::from(time) - cx.at_s).abs() <= MAX_SKEW_S);
    let records =
        |header: usize, record: usize| (1..=40).contains(&count) && bytes.len() == header + count * record;
    let known = match version {
        1 => records(16, 52) && dated(8),
        5 => records(24, 48) && dated(8),
        7 => records(24, 52) && dated(8),
        // Sets follow, the first of them with its length.
        9 => count >= 1 && dated(8) && set_at(bytes, 20, &[0, 1]),
        10 => count == bytes.len() && dated(4) && set_at(bytes, 16, &[2, 3]),
        _ => false,
    };
    if known { Probe::Certain } else { Probe::No }
}

/// Whether a set of templates (its numbers in `kinds`) or of data begins at `at`.
fn set_at(bytes: &[u8], at: usize, kinds: &[u16]) -> bool {
    let kind = be16(bytes, at).is_some_and(|kind| kind >= 256 || kinds.contains(&kind));
    let length = be16(bytes, at + 2).map(usize::from);
    kind && length.is_some_and(|length| length >= 4 && at + length <= bytes.len())
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    fn name(bytes: &[u8]) -> Verdict {
        Run::new(udp(40_000, 40_001)).client(bytes)
    }

    #[test]
    fn lengths_and_dates_tell_the_versions() {
        let mut five = hex("0005 0001 00001000 6955b900 00000000 00000001 00 00 0000");
        five.resize(72, 0);
        assert_eq!(name(&five), Verdict::Decided("NetFlow"));
        assert_eq!(name(&five[..71]), Verdict::Undecided);
        let nine = hex("0009 0001 00001000 6955b900 00000001 00000000 0000 000c 0100 0001 0008 0004");
        assert_eq!(name(&nine), Verdict::Decided("NetFlow"));
        let ipfix = hex("000a 001c 6955b900 00000001 00000000 0002 000c 0100 0001 0008 0004");
        assert_eq!(name(&ipfix), Verdict::Decided("NetFlow"));
        assert_eq!(name(&ipfix[..27]), Verdict::Undecided);
        five[8] = 0;
        assert_eq!(name(&five), Verdict::Undecided);
    }
}
