//! Apache JServ Protocol 1.3 between web servers and Tomcat (Apache Tomcat Connectors, "AJPv13").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static AJP: Dissector = Dissector {
    name: "AJP",
    category: AppCategory::Web,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0x12 | b'A'),
    ports: &[(L4::TCP, 8009)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = be16(bytes, 2).is_some_and(|length| length > 0 && usize::from(length) + 4 <= bytes.len());
    match bytes {
        // Forwards a request: prefix, method, protocol; shuts down, pings, asks for a ping.
        [0x12, 0x34, _, _, 2, 1..=27 | 0xff, _, _, b'H', b'T', b'T', b'P', ..] if fits => Probe::Certain,
        [0x12, 0x34, 0, 1, 7 | 8 | 10] => Probe::Certain,
        // Body, headers, end, a piece of the body wanted, an answer to the ping.
        [b'A', b'B', 0, 1, 9] | [b'A', b'B', 0, 2, 5, 0 | 1] => Probe::Certain,
        [b'A', b'B', _, _, 4, 1..=5, ..] if fits => Probe::Certain,
        _ => Probe::No,
    }
}

// Messages of the document.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn both_directions() {
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hex("1234 0001 0a")), Verdict::Decided("AJP"));
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&hex("4142 0001 09")), Verdict::Decided("AJP"));
        let ask = hex("1234 000d 02 02 0008 485454502f312e31 00");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ask), Verdict::Decided("AJP"));
        assert_eq!(Run::new(tcp(50_000, 8009)).client(&ask[..16]), Verdict::Undecided);
    }
}
