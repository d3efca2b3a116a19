//! sFlow's samples, version 5 (sflow.org, "sFlow Version 5").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static SFLOW: Dissector = Dissector {
    name: "sFlow",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[(L4::UDP, 6343)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let address = match be32(bytes, 4) {
        Some(1) => 4,
        Some(2) => 16,
        _ => return Probe::No,
    };
    // Behind the agent: its part, a sequence, its uptime, and how many samples there are.
    let samples = be32(bytes, 8 + address + 12);
    let sample = 8 + address + 16;
    let fits = |length: u32| usize::try_from(length).is_ok_and(|length| sample + 8 + length <= bytes.len());
    let known = be32(bytes, 0) == Some(5)
        && samples.is_some_and(|count| (1..=64).contains(&count))
        && be32(bytes, sample + 4).is_some_and(fits);
    if known { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn samples_of_an_agent() {
        // Composed after the specification.
        let sample =
            hex("00000005 00000001 c0000201 00000000 00000001 00001000 00000001 00000001 00000004 00000001");
        assert_eq!(Run::new(udp(40_000, 40_001)).client(&sample), Verdict::Decided("sFlow"));
        assert_eq!(Run::new(udp(40_000, 40_001)).client(&sample[..39]), Verdict::Undecided);
    }
}
