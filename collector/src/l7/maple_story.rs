//! MapleStory by its server's greeting (its community's description).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, le16, name_only};

pub(super) static MAPLE_STORY: Dissector = Dissector {
    name: "MapleStory",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0x0d..=0x12),
    ports: &[(L4::TCP, 8484)],
    probe: probe_maple_story,
    dissect: name_only,
};

/// The server greets: length, version, patch in text, two vectors, locale.
fn probe_maple_story(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = le16(bytes, 0).is_some_and(|length| usize::from(length) + 2 == bytes.len());
    let version = le16(bytes, 2).is_some_and(|version| (20..=400).contains(&version));
    let patch = le16(bytes, 4).map(usize::from).filter(|length| *length <= 3);
    let text =
        patch.and_then(|length| bytes.get(6..6 + length)).is_some_and(|t| t.iter().all(u8::is_ascii_digit));
    let locale = patch.is_some_and(|length| bytes.len() == 15 + length)
        && bytes.last().is_some_and(|locale| (1..=9).contains(locale));
    if fits && version && text && locale { Probe::Certain } else { Probe::No }
}

// Bytes put together after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn maple_story() {
        let greeting = hex("0e00 5300 0100 31 4672b301 52307801 08");
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&greeting), Verdict::Decided("MapleStory"));
        assert_eq!(Run::new(tcp(50_000, 8484)).server(&greeting[..15]), Verdict::Undecided);
    }
}
