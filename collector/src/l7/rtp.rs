//! RTP and RTCP (RFC 3550, RFC 3551), and what can be read of their secured forms (RFC 3711).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, be16, be32, name_only};

/// Version, payload type, sequence, time, source.
const HEADER: usize = 12;
/// Datagrams that may be lost or out of order between two that are looked at.
const MAX_GAP: u16 = 32;
/// Ticks between them: ten seconds of video.
const MAX_STEP: u32 = 900_000;

pub(super) static RTP: Dissector = Dissector {
    name: "RTP",
    category: AppCategory::Streaming,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: is_version_2,
    ports: &[],
    probe: rtp,
    dissect: name_only,
};

pub(super) static RTCP: Dissector = Dissector {
    name: "RTCP",
    category: AppCategory::Streaming,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: is_version_2,
    ports: &[],
    probe: rtcp,
    dissect: name_only,
};

fn is_version_2(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

struct Header {
    sequence: u16,
    time: u32,
    source: u32,
}

fn header(bytes: &[u8]) -> Option<Header> {
    let &[flags, kind, ..] = bytes else {
        return None;
    };
    // 64 to 95 are RTCP's where both share a port (RFC 5761 §4).
    let known = is_version_2(flags) && matches!(kind & 0x7f, 0..=63 | 96..=127);
    let header = Header { sequence: be16(bytes, 2)?, time: be32(bytes, 4)?, source: be32(bytes, 8)? };
    (known && header.source != 0).then_some(header)
}

/// One datagram could be anything; two of a direction must follow each other.
fn rtp(bytes: &[u8], cx: &L7Context) -> Probe {
    let (Some(now), Some(before)) = (header(bytes), header(&cx.before)) else {
        return Probe::No;
    };
    let contributors = usize::from(bytes.first().copied().unwrap_or_default() & 0x0f);
    let gap = now.sequence.wrapping_sub(before.sequence);
    // Pictures may be sent in another order than they are shown.
    let step = now.time.wrapping_sub(before.time).cast_signed().unsigned_abs();
    let follows = now.source == before.source && (1..=MAX_GAP).contains(&gap) && step <= MAX_STEP;
    // Counters that are no clock, and clocks that are no counter.
    let fits = bytes.len() > HEADER + 4 * contributors;
    if follows && fits { Probe::Certain } else { Probe::No }
}

fn rtcp(bytes: &[u8], _: &L7Context) -> Probe {
    let &[flags, kind, ..] = bytes else {
        return Probe::No;
    };
    let Some(words) = be16(bytes, 2).map(usize::from) else {
        return Probe::No;
    };
    let count = usize::from(flags & 0x1f);
    let sane = match kind {
        200 => words >= 6 + 6 * count,
        201 => words > 6 * count,
        // Feedback may stand alone (RFC 5506).
        205 | 206 => words >= 2 && (1..=15).contains(&count),
        _ => false,
    };
    let end = 4 * (words + 1);
    if !sane || !is_version_2(flags) || end > bytes.len() {
        return Probe::No;
    }
    let mut rest = bytes.get(end..).unwrap_or_default();
    while let &[flags, 192..=213, ..] = rest
        && is_version_2(flags)
        && let Some(next) = be16(rest, 2).and_then(|words| rest.get(4 * (usize::from(words) + 1)..))
    {
        rest = next;
    }
    // What remains of a secured one is encrypted, an index and a tag at least.
    match rest.len() {
        0 => Probe::Certain,
        8.. => Probe::Maybe,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    /// Twenty milliseconds of sound.
    fn sound(sequence: u8, time: u16) -> Vec<u8> {
        let mut packet = hex("8000 0000 0000 0000 deadbeef");
        packet[3] = sequence;
        packet[6..8].copy_from_slice(&time.to_be_bytes());
        packet.extend([0xff; 160]);
        packet
    }

    #[test]
    fn two_datagrams_in_sequence() {
        let mut run = Run::new(udp(40_000, 50_000));
        assert_eq!(run.client(&sound(1, 160)), Verdict::Undecided);
        assert_eq!(run.server(&sound(2, 320)), Verdict::Undecided);
        assert_eq!(run.client(&sound(2, 320)), Verdict::Decided("RTP"));
    }

    #[test]
    fn the_same_again_or_another_source_is_not_a_sequence() {
        let mut run = Run::new(udp(40_000, 50_000));
        for _ in 0..4 {
            assert_eq!(run.client(&sound(1, 160)), Verdict::Undecided);
        }
        let mut other = sound(2, 320);
        other[8] = 1;
        assert_eq!(run.client(&other), Verdict::Undecided);
    }

    #[test]
    fn reports_fill_their_datagram() {
        let report = hex(
            "81c9 0007 00000001 00000002 00000000 00000000 00000000 00000000 00000000 81ca 0002 00000001 01016100",
        );
        assert_eq!(Run::new(udp(40_000, 50_001)).client(&report), Verdict::Decided("RTCP"));
        for cut in 1..report.len() {
            let verdict = Run::new(udp(40_000, 50_001)).client(&report[..cut]);
            // The first report alone is whole as well.
            assert_eq!(verdict == Verdict::Undecided, cut != 32, "{cut}");
        }
    }
}
