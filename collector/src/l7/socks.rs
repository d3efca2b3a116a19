//! SOCKS 4, 4a and 5 (RFC 1928, RFC 1929).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16};

/// User name and password.
const BY_PASSWORD: u8 = 2;

pub(super) static SOCKS: Dissector = Dissector {
    name: "SOCKS",
    category: AppCategory::Proxy,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0 | 4 | 5),
    ports: &[(L4::TCP, 1080)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    match bytes {
        // Methods: none, GSSAPI, password, and some with numbers of their own.
        [5, count, methods @ ..] if cx.from_client => {
            let listed = methods.len() == usize::from(*count) && matches!(count, 1..=9);
            let known = methods.iter().all(|method| matches!(method, 0..=9 | 0x80..=0x86));
            if listed && known { Probe::Maybe } else { Probe::No }
        }
        [5, 0..=2 | 0xff] if !cx.from_client => Probe::Maybe,
        [4, 1 | 2, ..] if cx.from_client => asks_4(bytes),
        [0, 90..=93, _, _, _, _, _, _] if !cx.from_client => Probe::Maybe,
        _ => Probe::No,
    }
}

/// Port, address, and a user; behind an address that is none, a name (4a).
fn asks_4(bytes: &[u8]) -> Probe {
    let (Some(port), Some(address), Some(rest)) = (be16(bytes, 2), bytes.get(4..8), bytes.get(8..)) else {
        return Probe::No;
    };
    let named = address.starts_with(&[0, 0, 0]);
    let strings = rest.iter().filter(|byte| **byte == 0).count();
    let ends = rest.last() == Some(&0) && strings == if named { 2 } else { 1 };
    let legible = rest.iter().all(|byte| matches!(byte, 0 | b' '..=b'~'));
    match (ends && legible && port != 0, named) {
        (true, true) if rest.len() > 4 => Probe::Certain,
        (true, _) => Probe::Maybe,
        _ => Probe::No,
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if cx.from_client {
        // Decided by the answer, the greeting comes along with what follows it.
        let bytes = match bytes {
            [5, count, rest @ ..] => rest.get(usize::from(*count)..).unwrap_or_default(),
            _ => bytes,
        };
        // User name and password, each with its length (RFC 1929).
        if let &[1, size, ref rest @ ..] = bytes
            && rest
                .get(usize::from(size))
                .is_some_and(|length| rest.len() == usize::from(size) + 1 + usize::from(*length))
        {
            *status |= FlowStatus::ClearTextCredentials.bit();
        }
        return Want::Next;
    }
    match bytes {
        // No method was good enough, or the request failed.
        [5, 0xff] | [5, 1..=8, 0, _, ..] | [0, 91..=93, ..] => {
            *status |= FlowStatus::ErrorCode.bit();
            Want::Next
        }
        [5, 0 | BY_PASSWORD] | [1, _] => Want::Next,
        _ => Want::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn greeting_and_answer_together_tell_version_5() {
        let mut run = Run::new(tcp(50_000, 9050));
        assert_eq!(run.client(&hex("05 02 00 02")), Verdict::Undecided);
        assert_eq!(run.server(&hex("05 02")), Verdict::Decided("SOCKS"));
        run.client(&hex("01 01 75 01 70"));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
        assert_eq!(Run::new(tcp(50_000, 1080)).client(&hex("05 01 00")), Verdict::Decided("SOCKS"));
        assert_eq!(Run::new(tcp(50_000, 1080)).client(&hex("05 02 00")), Verdict::Undecided);
    }

    #[test]
    fn version_4_asks_by_address_or_name() {
        let by_name = b"\x04\x01\x00\x50\x00\x00\x00\x01me\x00example.com\x00";
        assert_eq!(Run::new(tcp(50_000, 9050)).client(by_name), Verdict::Decided("SOCKS"));
        let mut run = Run::new(tcp(50_000, 9050));
        assert_eq!(run.client(&hex("04 01 0050 c0000201 00")), Verdict::Undecided);
        assert_eq!(run.server(&hex("00 5b 0000 00000000")), Verdict::Decided("SOCKS"));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
    }
}
