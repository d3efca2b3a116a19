//! DCE/RPC with and without connections (The Open Group C706, [MS-RPCE]).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16, le16};

const CONNECTED: u8 = 5;
const CONNECTIONLESS: u8 = 4;
/// Fields common to all messages with a connection.
const HEADER: usize = 16;
/// A segment that is cut rather for its length than for the sender's wish.
const FULL_SEGMENT: usize = 512;
const CONNECTIONLESS_HEADER: usize = 80;
/// Time, node and variant that all PROFINET interfaces have in common; they are another protocol's.
const PROFINET: [u8; 8] = [0x82, 0x71, 0x00, 0xa0, 0x24, 0x42, 0xdf, 0x7d];

pub(super) static DCERPC: Dissector = Dissector {
    name: "RPC",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, CONNECTIONLESS | CONNECTED),
    ports: &[(L4::TCP, 135), (L4::UDP, 135)],
    probe: |bytes, cx| match cx.l4 {
        L4::UDP => connectionless(bytes),
        _ => connected(bytes),
    },
    dissect,
};

fn connected(bytes: &[u8]) -> Probe {
    let &[CONNECTED, 0 | 1, 0..=3 | 11..=19, _, order, float, 0, 0, ..] = bytes else {
        return Probe::No;
    };
    if order & !0x10 != 0 || float > 3 {
        return Probe::No;
    }
    let word = if order & 0x10 != 0 { le16 } else { be16 };
    let (Some(length), Some(verifier)) = (word(bytes, 8).map(usize::from), word(bytes, 10).map(usize::from))
    else {
        return Probe::No;
    };
    if length < HEADER || verifier > length {
        return Probe::No;
    }
    // Another message follows, or the rest is in the next segment.
    match bytes.get(length) {
        Some(&CONNECTED) => Probe::Certain,
        None if length == bytes.len() || bytes.len() >= FULL_SEGMENT => Probe::Certain,
        None => Probe::Maybe,
        Some(_) => Probe::No,
    }
}

fn connectionless(bytes: &[u8]) -> Probe {
    let &[CONNECTIONLESS, 0..=10, first_flags, second_flags, order, float, 0, ..] = bytes else {
        return Probe::No;
    };
    if order & !0x10 != 0 || float > 3 || first_flags & 0x81 != 0 || second_flags & 0xf9 != 0 {
        return Probe::No;
    }
    let word = if order & 0x10 != 0 { le16 } else { be16 };
    let length = word(bytes, 74).map(usize::from);
    let profinet = bytes.windows(PROFINET.len()).take(48).any(|window| window == PROFINET);
    if length == bytes.len().checked_sub(CONNECTIONLESS_HEADER) && !profinet {
        Probe::Certain
    } else {
        Probe::No
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    let kind = if cx.l4 == L4::UDP { bytes.get(1) } else { bytes.get(2) };
    let refused = match kind {
        Some(3 | 13) => true,
        Some(6) => cx.l4 == L4::UDP,
        _ => false,
    };
    if refused {
        *status |= FlowStatus::ErrorCode.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    // Encoded by impacket: a bind to the endpoint mapper.
    const BIND: &str = "05000b03100000004800000001000000b810b8100000000001000000000001000883afe11f5dc911\
        91a408002b14a0fa03000000045d888aeb1cc9119fe808002b10486002000000";

    #[test]
    fn a_bind_has_its_length() {
        let bind = hex(BIND);
        assert_eq!(Run::new(tcp(50_000, 49_152)).client(&bind), Verdict::Decided("RPC"));
        let mut wrong = bind.clone();
        wrong[8] = 0x47;
        assert_eq!(Run::new(tcp(50_000, 135)).client(&wrong), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 135)).client(&bind[..11]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 49_152)).client(&bind[..40]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 135)).client(&bind[..40]), Verdict::Decided("RPC"));
    }

    #[test]
    fn refusals_are_errors() {
        let mut run = Run::new(tcp(50_000, 135));
        run.client(&hex(BIND));
        run.server(&hex("05 00 0d 03 10000000 1800 0000 01000000 0000 0000"));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
    }

    #[test]
    fn calls_without_a_connection() {
        let mut request = [&hex("04 00 20 00 10 00 00 00")[..], &[0; 72]].concat();
        request[74] = 4;
        request.extend([1, 2, 3, 4]);
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&request), Verdict::Decided("RPC"));
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&request[..83]), Verdict::Undecided);
        request[24..32].copy_from_slice(&PROFINET);
        assert_eq!(Run::new(udp(50_000, 50_001)).client(&request), Verdict::Undecided);
    }
}
