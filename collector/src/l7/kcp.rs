//! KCP, a reliable stream over UDP that games and tunnels use (skywind3000/kcp, protocol.txt), and miHoYo's handshake
//! around it (as seen on the wire).

use shared::model::{AppCategory, Breed};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, be32, le16, le32, name_only};

const HEADER: usize = 24;

pub(super) static KCP: Dissector = Dissector {
    name: "KCP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |_| true,
    ports: &[],
    probe,
    dissect: name_only,
};

/// Opens, accepts and closes a conversation of Genshin Impact: first and last word.
const GENSHIN: [(u32, u32); 3] =
    [(0x0000_00ff, 0xffff_ffff), (0x0000_0145, 0x1451_4545), (0x0000_0194, 0x1941_9494)];

pub(super) static GENSHIN_IMPACT: Dissector = Dissector {
    name: "GenshinImpact",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[],
    probe: |bytes, _| {
        let words = be32(bytes, 0).zip(be32(bytes, 16));
        let ours = bytes.len() == 20 && words.is_some_and(|words| GENSHIN.contains(&words));
        if ours { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

/// Conversation, command, fragment, window, time, numbers of this and of what is awaited, length.
fn segment(bytes: &[u8], conversation: u32) -> Option<usize> {
    let command = bytes.get(4).filter(|command| (81..=84).contains(*command))?;
    let window = le16(bytes, 6)?;
    let length = usize::try_from(le32(bytes, 20)?).ok()?;
    // Only pushes carry data.
    let sane =
        le32(bytes, 0)? == conversation && (*command == 81) == (length > 0) && (1..=0x1000).contains(&window);
    (sane && length < 1 << 16).then_some(length + HEADER)
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some(conversation) = le32(bytes, 0) else { return Probe::No };
    if walk(bytes, |bytes| segment(bytes, conversation)) == Fit::Whole { Probe::Certain } else { Probe::No }
}

// Segments put together after protocol.txt.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn segments_fill_the_datagram() {
        let push = hex("0a000000 51 00 8000 14000000 00000000 00000000 02000000 6869");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&push), Verdict::Decided("KCP"));
        let answer = hex("0a000000 52 00 7f00 14000000 00000000 01000000 00000000");
        assert_eq!(Run::new(udp(50_000, 9999)).server(&answer), Verdict::Decided("KCP"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&push[..25]), Verdict::Undecided);
        let mut other = [answer.clone(), answer].concat();
        other[24] = 0x0b;
        assert_eq!(Run::new(udp(50_000, 9999)).client(&other), Verdict::Undecided);
    }

    #[test]
    fn genshin() {
        let open = hex("000000ff 00000000 00000000 499602d2 ffffffff");
        assert_eq!(Run::new(udp(50_000, 22_101)).client(&open), Verdict::Decided("GenshinImpact"));
        assert_eq!(Run::new(udp(50_000, 22_101)).client(&open[..19]), Verdict::Undecided);
    }
}
