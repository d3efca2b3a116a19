//! NFS and its helpers (port mapper, mount, locks, status, quotas) over ONC RPC (RFC 5531) by UDP and TCP.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

const CALL: u32 = 0;
const REPLY: u32 = 1;
/// The top bit of a record's length says that it is the last part (RFC 5531 §11).
const LAST_FRAGMENT: u32 = 1 << 31;
/// Longest credentials (RFC 5531 §8.2).
const MAX_CREDENTIALS: u32 = 400;

pub(super) static NFS: Dissector = Dissector {
    name: "NFS",
    category: AppCategory::FileSharing,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: super::any_byte,
    ports: &[(L4::TCP, 2049), (L4::UDP, 2049), (L4::TCP, 111), (L4::UDP, 111)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let message = if cx.l4 == L4::TCP {
        let Some(mark) = be32(bytes, 0) else {
            return Probe::No;
        };
        let length = usize::try_from(mark & !LAST_FRAGMENT).unwrap_or(usize::MAX);
        if mark & LAST_FRAGMENT == 0 || length < 24 {
            return Probe::No;
        }
        bytes.get(4..).unwrap_or_default()
    } else {
        bytes
    };
    match be32(message, 4) {
        Some(CALL) => call(message),
        Some(REPLY) => reply(message),
        _ => Probe::No,
    }
}

fn call(message: &[u8]) -> Probe {
    let word = |at: usize| be32(message, at);
    // Port mapper, remote statistics, NFS, name service, mount, quotas, locks, status, access lists.
    let program = word(12).is_some_and(|program| {
        matches!(
            program,
            100_000 | 100_001 | 100_003 | 100_004 | 100_005 | 100_011 | 100_021 | 100_024 | 100_227
        )
    });
    let sane = word(8) == Some(2)
        && word(16).is_some_and(|version| (1..=4).contains(&version))
        && word(20).is_some_and(|procedure| procedure < 64)
        && word(28).is_some_and(|length| length <= MAX_CREDENTIALS);
    if program && sane { Probe::Certain } else { Probe::No }
}

/// Replies do not say to what: accepted with a verifier, or denied.
fn reply(message: &[u8]) -> Probe {
    let word = |at: usize| be32(message, at);
    let accepted = word(8) == Some(0)
        && word(12).is_some_and(|flavor| flavor <= 6)
        && word(16).is_some_and(|length| length <= MAX_CREDENTIALS)
        && (word(16) != Some(0) || word(20).is_some_and(|state| state <= 5));
    let denied = word(8) == Some(1) && word(12).is_some_and(|reason| reason <= 1) && message.len() <= 24;
    if accepted || denied { Probe::Maybe } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    // Composed after the specification; tshark reads it so: the port mapper's null procedure.
    const NULL_CALL: &str =
        "5f3a2b1c 00000000 00000002 000186a0 00000002 00000000 00000000 00000000 00000000 00000000";
    const ACCEPTED: &str = "5f3a2b1c 00000001 00000000 00000000 00000000 00000000";

    #[test]
    fn calls_over_both_carriers() {
        let call = hex(NULL_CALL);
        assert_eq!(Run::new(udp(800, 1110)).client(&call), Verdict::Decided("NFS"));
        let framed = [&hex("80000028")[..], &call].concat();
        assert_eq!(Run::new(tcp(800, 1110)).client(&framed), Verdict::Decided("NFS"));
        for cut in 1..32 {
            assert_eq!(Run::new(udp(800, 111)).client(&call[..cut]), Verdict::Undecided);
        }
    }

    #[test]
    fn replies_need_the_port() {
        assert_eq!(Run::new(udp(800, 2049)).server(&hex(ACCEPTED)), Verdict::Decided("NFS"));
        assert_eq!(Run::new(udp(800, 2050)).server(&hex(ACCEPTED)), Verdict::Undecided);
        let mut other = hex(NULL_CALL);
        other[15] = 0xa9;
        assert_eq!(Run::new(udp(800, 111)).client(&other), Verdict::Undecided);
    }
}
