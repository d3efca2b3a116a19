//! Transparent Network Substrate of Oracle databases (Wireshark's description; Oracle's own is not public).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::frames::has;
use super::{Carrier, Dissector, L7Context, Probe, Want, be16, be32};

const HEADER: usize = 8;
const CONNECT: u8 = 1;
const ACCEPT: u8 = 2;
const REFUSE: u8 = 4;
const REDIRECT: u8 = 5;
const DATA: u8 = 6;
const RESEND: u8 = 11;
const MARKER: u8 = 12;

pub(super) static ORACLE: Dissector = Dissector {
    name: "Oracle",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte < 0x20,
    ports: &[(L4::TCP, 1521)],
    probe,
    dissect,
};

/// The kind of packet when the header is one: length, a checksum that nobody uses, kind, flags.
fn kind(bytes: &[u8]) -> Option<u8> {
    let short = be16(bytes, 0).map(u32::from)?;
    // Since version 315 the length has 32 bits and takes the place of the checksum.
    let length = if short == 0 { be32(bytes, 0)? } else { short };
    let checksum = if short == 0 { 0 } else { be16(bytes, 2)? };
    let (kind, header_checksum) = (*bytes.get(4)?, be16(bytes, 6)?);
    let fits = usize::try_from(length) == Ok(bytes.len());
    let known = matches!(kind, 1..=6 | 9 | 11..=15);
    (fits && known && checksum == 0 && header_checksum == 0 && bytes.len() >= HEADER).then_some(kind)
}

fn version(bytes: &[u8]) -> bool {
    be16(bytes, HEADER).is_some_and(|version| (290..=330).contains(&version))
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let text = |word: &[u8]| has(bytes.get(HEADER..).unwrap_or_default(), word);
    let sure = match kind(bytes) {
        // The description may come in a packet of its own.
        Some(CONNECT) => version(bytes) && bytes.len() >= 34,
        Some(ACCEPT) => version(bytes) && bytes.len() >= 24,
        Some(REFUSE | REDIRECT) => text(b"(DESCRIPTION=") || text(b"(ADDRESS="),
        Some(RESEND) if bytes.len() == HEADER => return Probe::Maybe,
        Some(DATA | MARKER) if bytes.len() > HEADER + 2 => return Probe::Maybe,
        _ => false,
    };
    if sure { Probe::Certain } else { Probe::No }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    match kind(bytes) {
        Some(REFUSE) => {
            *status |= FlowStatus::ErrorCode.bit();
            Want::Nothing
        }
        Some(CONNECT | RESEND | REDIRECT) => Want::Next,
        _ => Want::Nothing,
    }
}

// Bytes put together after the description, no server being at hand.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    fn packet(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[0, (HEADER + body.len()) as u8, 0, 0, kind, 0, 0, 0][..], body].concat()
    }

    fn connect() -> Vec<u8> {
        let fixed = hex("013b 012c 0c41 2000 ffff 7f08 0000 0100 001a 003a 0000 0800 4141");
        packet(CONNECT, &[&fixed[..], b"(DESCRIPTION=(CONNECT_DATA="].concat())
    }

    #[test]
    fn a_connection_is_asked_for_and_refused() {
        let mut run = Run::new(tcp(50_000, 1600));
        assert_eq!(run.client(&connect()), Verdict::Decided("Oracle"));
        let refusal = packet(REFUSE, b"\x22\0\0\x20(DESCRIPTION=(ERR=12514))");
        assert_eq!((run.server(&refusal), run.status), (Verdict::Done, FlowStatus::ErrorCode.bit()));
        assert_eq!(Run::new(tcp(50_000, 1600)).server(&refusal), Verdict::Decided("Oracle"));
    }

    #[test]
    fn data_needs_the_port_or_both_sides() {
        let data = packet(DATA, b"\0\0\x01\x02\x03");
        assert_eq!(Run::new(tcp(50_000, 1521)).client(&data), Verdict::Decided("Oracle"));
        let mut run = Run::new(tcp(50_000, 1600));
        assert_eq!((run.client(&data), run.server(&data)), (Verdict::Undecided, Verdict::Decided("Oracle")));
        assert_eq!(Run::new(tcp(50_000, 1521)).client(&connect()[1..]), Verdict::Undecided);
        let wide = hex("0000000d 06000000 0000 010203");
        assert_eq!(Run::new(tcp(50_000, 1521)).client(&wide), Verdict::Decided("Oracle"));
    }
}
