//! Precision time protocol, version 2 (IEEE 1588).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const EVENT_PORT: u16 = 319;
const GENERAL_PORT: u16 = 320;
const HEADER: usize = 34;

pub(super) static PTP: Dissector = Dissector {
    name: "PTPv2",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte & 0x0f, 0..=3 | 8..=13),
    ports: &[(L4::UDP, EVENT_PORT), (L4::UDP, GENERAL_PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let at_home = cx.has_port(EVENT_PORT) || cx.has_port(GENERAL_PORT);
    let version = bytes.get(1).is_some_and(|version| version & 0x0f == 2);
    // Some pad their messages to an even length.
    let length = be16(bytes, 2).map_or(0, usize::from);
    let fits = length >= HEADER && (length..=length + 2).contains(&bytes.len());
    if at_home && version && fits { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn messages_say_their_length() {
        let mut sync = [0; 44];
        (sync[1], sync[3]) = (2, 44);
        assert_eq!(Run::new(udp(319, 319)).client(&sync), Verdict::Decided("PTPv2"));
        assert_eq!(Run::new(udp(319, 319)).client(&sync[..43]), Verdict::Undecided);
        assert_eq!(Run::new(udp(318, 318)).client(&sync), Verdict::Undecided);
    }
}
