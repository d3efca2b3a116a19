//! TFTP (RFC 1350) with options (RFC 2347). The server answers from another port than it was asked on.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16, judge};

const PORT: u16 = 69;
/// Usual length of a block.
const BLOCK: usize = 512;

pub(super) static TFTP: Dissector = Dissector {
    name: "TFTP",
    category: AppCategory::FileTransfer,
    breed: Breed::Unsafe,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let block = be16(bytes, 2).unwrap_or_default();
    let before = be16(&cx.before, 0).zip(be16(&cx.before, 2));
    let (Some(kind), Some(rest)) = (be16(bytes, 0), bytes.get(2..)) else {
        return Probe::No;
    };
    match kind {
        1 | 2 if is_request(rest) => Probe::Certain,
        // Some ask for nothing by name.
        1 | 2 if cx.server_port == PORT && rest.ends_with(b"\0octet\0") => Probe::Certain,
        // The first block, and the acknowledgement of a request or of the first block.
        3 if be16(rest, 0) == Some(1) && rest.len() == 2 + BLOCK => Probe::Certain,
        // Others follow what came before, or begin a transfer.
        3 if (block == 1 || before == Some((3, block.wrapping_sub(1))))
            && (3..=2 + 8 * BLOCK).contains(&rest.len()) =>
        {
            Probe::Maybe
        }
        4 if rest.len() == 2 && (block <= 1 || before == Some((4, block.wrapping_sub(1)))) => Probe::Maybe,
        5 if be16(rest, 0).is_some_and(|code| code <= 8) && is_text(rest.get(2..).unwrap_or_default()) => {
            Probe::Certain
        }
        6 if is_options(rest) => Probe::Certain,
        _ => Probe::No,
    }
}

/// A file's name, a mode, and pairs of options.
fn is_request(bytes: &[u8]) -> bool {
    let mut words = bytes.split(|byte| *byte == 0);
    let (Some(name), Some(mode)) = (words.next(), words.next()) else {
        return false;
    };
    let known = [&b"octet"[..], b"netascii", b"mail"].iter().any(|known| mode.eq_ignore_ascii_case(known));
    !name.is_empty() && known && bytes.last() == Some(&0)
}

fn is_options(bytes: &[u8]) -> bool {
    const KNOWN: [&[u8]; 6] = [b"blksize", b"tsize", b"timeout", b"windowsize", b"multicast", b"blksize2"];
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known)) && bytes.last() == Some(&0)
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.split_last().is_some_and(|(last, text)| {
        *last == 0 && text.len() >= 3 && text.iter().all(|byte| matches!(byte, b' '..=b'~'))
    })
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    judge(be16(bytes, 0).is_some_and(|code| matches!(code, 1..=6)), status);
    if be16(bytes, 0) == Some(5) {
        *status |= FlowStatus::ErrorCode.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn requests_are_known_anywhere() {
        let read = b"\x00\x01boot.img\x00octet\x00blksize\x001428\x00";
        assert_eq!(Run::new(udp(50_000, 6969)).client(read), Verdict::Decided("TFTP"));
        for cut in 1..16 {
            assert_eq!(Run::new(udp(50_000, PORT)).client(&read[..cut]), Verdict::Undecided);
        }
    }

    #[test]
    fn a_transfer_from_the_servers_own_port() {
        let data = [&hex("0003 0001")[..], &[b'x'; 512]].concat();
        assert_eq!(Run::new(udp(40_000, 50_000)).client(&data), Verdict::Decided("TFTP"));
        let mut last = Run::new(udp(40_000, 50_000));
        assert_eq!(last.client(&hex("0003 0001 6162")), Verdict::Undecided);
        assert_eq!(last.server(&hex("0004 0001")), Verdict::Decided("TFTP"));
        assert_eq!(
            Run::new(udp(40_000, 50_000)).client(b"\x00\x06tsize\x00123\x00"),
            Verdict::Decided("TFTP")
        );
    }

    #[test]
    fn errors_are_noted() {
        let mut run = Run::new(udp(40_000, 50_000));
        assert_eq!(run.client(b"\x00\x05\x00\x01File not found\x00"), Verdict::Decided("TFTP"));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
        assert_eq!(
            Run::new(udp(40_000, 50_000)).client(b"\x00\x05\x00\x09File not found\x00"),
            Verdict::Undecided
        );
    }
}
