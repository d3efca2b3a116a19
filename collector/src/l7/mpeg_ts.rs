//! Streams of MPEG's transport packets over UDP (ISO/IEC 13818-1 §2.4.3).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const PACKET: usize = 188;
const SYNC: u8 = 0x47;

pub(super) static MPEG_TS: Dissector = Dissector {
    name: "MPEG_TS",
    category: AppCategory::Streaming,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == SYNC,
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let whole = !bytes.is_empty() && bytes.len().is_multiple_of(PACKET);
    let synchronised = bytes.iter().step_by(PACKET).all(|byte| *byte == SYNC);
    match (whole && synchronised, bytes.len() / PACKET) {
        (true, 3..) => Probe::Certain,
        (true, _) => Probe::Maybe,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn streams_are_synchronised() {
        // Composed after the standard.
        let mut packets = vec![0x5a; 7 * 188];
        packets.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&packets), Verdict::Decided("MPEG_TS"));
        packets[188] = 0;
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&packets), Verdict::Undecided);
    }
}
