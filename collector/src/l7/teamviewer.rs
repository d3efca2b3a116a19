//! TeamViewer by its marks (as seen on the wire).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, le16};

const MAGIC: &[u8] = &[0x17, 0x24];
/// Later versions' mark of data.
const DATA: &[u8] = &[0x11, 0x30];

pub(super) static TEAMVIEWER: Dissector = Dissector {
    name: "TeamViewer",
    category: AppCategory::RemoteAccess,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 0x00 | 0x11 | 0x17),
    ports: &[(L4::TCP, 5938), (L4::UDP, 5938)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 == L4::UDP {
        // Behind a number and a key.
        let ours = bytes.first() == Some(&0) && bytes.get(11..13) == Some(MAGIC) && bytes.len() > 13;
        return if ours { Probe::Maybe } else { Probe::No };
    }
    // Command, its form, how much follows.
    let fits = le16(bytes, 3).is_some_and(|length| usize::from(length) + 5 == bytes.len());
    match bytes {
        [0x17, 0x24, 0x0a..=0x2f, ..] if fits || cx.has_port(5938) => Probe::Certain,
        _ if bytes.len() > 4 && (bytes.starts_with(MAGIC) || bytes.starts_with(DATA)) => Probe::Maybe,
        _ => Probe::No,
    }
}

fn dissect(_: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    *status |= FlowStatus::RemoteAccessSession.bit();
    Want::Nothing
}

// The marks are real, the rest made up.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn marks() {
        let hello = hex("1724 0a 20 00 04000000 01020304");
        let mut run = Run::new(tcp(50_000, 5938));
        assert_eq!(run.client(&hello), Verdict::Decided("TeamViewer"));
        assert_eq!(run.status, FlowStatus::RemoteAccessSession.bit());
        assert_eq!(Run::new(tcp(50_000, 443)).client(&hello), Verdict::Undecided);
        let datagram = hex("00 01020304050607080900 1724 0a 20 00");
        assert_eq!(Run::new(udp(50_000, 5938)).client(&datagram), Verdict::Decided("TeamViewer"));
        assert_eq!(Run::new(udp(50_000, 9999)).client(&datagram), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 5938)).client(&datagram[..13]), Verdict::Undecided);
    }
}
