//! The state that Check Point's clusters share (CCP; Wireshark's description).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const PORT: u16 = 8116;

pub(super) static CPHA: Dissector = Dissector {
    name: "CPHA",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0x1a,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let known = bytes.starts_with(&[0x1a, 0x90]) && cx.has_port(PORT) && bytes.len() > 20;
    if known { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn a_members_state_on_its_port() {
        // Composed after the description.
        let [member, short] = [24, 20].map(|length| [&hex("1a90 0001")[..], &vec![0; length - 4]].concat());
        assert_eq!(Run::new(udp(8116, 8116)).client(&member), Verdict::Decided("CPHA"));
        assert_eq!(Run::new(udp(8116, 8116)).client(&short), Verdict::Undecided);
        assert_eq!(Run::new(udp(8117, 8117)).client(&member), Verdict::Undecided);
    }
}
