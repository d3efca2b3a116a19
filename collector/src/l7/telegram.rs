//! Telegram's MTProto in the framings that are not obfuscated (core.telegram.org, "MTProto transports").

use shared::model::{AppCategory, Breed};

use super::frames::zeros;
use super::{Carrier, Dissector, L7Context, Probe, le32, name_only};

/// From 2010 to 2040, seconds since the epoch.
const TELEGRAM_TIMES: std::ops::Range<u32> = 1_262_304_000..2_208_988_800;

pub(super) static TELEGRAM: Dissector = Dissector {
    name: "Telegram",
    category: AppCategory::Chat,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[],
    probe: probe_telegram,
    dissect: name_only,
};

/// The first message of a connection, in one of the framings.
fn probe_telegram(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = |at: usize, extra: usize| {
        le32(bytes, at)
            .is_some_and(|length| (40..1 << 16).contains(&length) && length as usize + extra == bytes.len())
    };
    // No key yet; the message's number has the time in its upper half.
    let opens = |at: usize| {
        zeros(bytes, at..at + 8) && le32(bytes, at + 12).is_some_and(|time| TELEGRAM_TIMES.contains(&time))
    };
    let ours = match bytes {
        [0xef, words @ 1..=0x7e, ..] => usize::from(*words) * 4 + 2 == bytes.len() && opens(2),
        [0xee, 0xee, 0xee, 0xee, ..] | [0xdd, 0xdd, 0xdd, 0xdd, ..] => fits(4, 8) && opens(8),
        // In full: length, number, checksum at the end.
        _ => fits(0, 0) && le32(bytes, 4) == Some(0) && opens(8),
    };
    if ours { Probe::Certain } else { Probe::No }
}

// Bytes put together after the document.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn telegram() {
        let message = [&[0; 8][..], &hex("01020304 00905569 14000000 f18e7ebe"), &[5; 16]].concat();
        let length = message.len() as u8;
        let short = [&[0xef, length / 4][..], &message].concat();
        assert_eq!(Run::new(tcp(50_000, 443)).client(&short), Verdict::Decided("Telegram"));
        let middle = [&[0xee, 0xee, 0xee, 0xee, length, 0, 0, 0][..], &message].concat();
        assert_eq!(Run::new(tcp(50_000, 443)).client(&middle), Verdict::Decided("Telegram"));
        assert_eq!(Run::new(tcp(50_000, 443)).client(&middle[..40]), Verdict::Undecided);
    }
}
