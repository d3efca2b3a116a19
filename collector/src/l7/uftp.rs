//! Encrypted multicast of files (UFTP 4 and 5, protocol.txt of its sources).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const HEADER: usize = 16;

pub(super) static UFTP: Dissector = Dissector {
    name: "UFTP",
    category: AppCategory::FileTransfer,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 0x30 | 0x40 | 0x50),
    ports: &[(L4::UDP, 1044)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Version and function, sequence, who and what group; then the message, which says again what it is
    // and how long its head is, in words of four bytes.
    let Some(&[_, function]) = bytes.first_chunk() else { return Probe::No };
    let same = bytes.get(16) == Some(&function) && (1..=21).contains(&function);
    let words = bytes.get(17).map(|words| usize::from(*words) * 4);
    let fits = words.is_some_and(|head| head >= 4 && HEADER + head <= bytes.len());
    if same && fits { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn an_announcement_says_twice_what_it_is() {
        let announce = hex("50 01 0001 0a000001 00000042 01 00 00 00 01 03 00 01 00000000 00000000");
        assert_eq!(Run::new(udp(50_000, 1044)).client(&announce), Verdict::Decided("UFTP"));
        assert_eq!(Run::new(udp(50_000, 1044)).client(&announce[..20]), Verdict::Undecided);
        let mut other = announce.clone();
        other[16] = 2;
        assert_eq!(Run::new(udp(50_000, 1044)).client(&other), Verdict::Undecided);
    }
}
