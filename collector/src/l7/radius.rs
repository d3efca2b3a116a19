//! RADIUS (RFC 2865, RFC 2866, RFC 5176).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16, judge};

/// Code, identifier, length, authenticator.
const HEADER: usize = 20;
const MAX_LENGTH: usize = 4096;

pub(super) static RADIUS: Dissector = Dissector {
    name: "RADIUS",
    category: AppCategory::Authentication,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 1..=5 | 11..=13 | 40..=45),
    ports: &[(L4::UDP, 1812), (L4::UDP, 1813), (L4::UDP, 1645), (L4::UDP, 1646), (L4::UDP, 3799)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some(length) = be16(bytes, 2).map(usize::from) else {
        return Probe::No;
    };
    // Bytes behind the stated length are padding (RFC 2865 §3); few real ones have any.
    let padded = bytes.get(length..).is_some_and(|padding| padding.iter().all(|byte| *byte == 0));
    let at_home = RADIUS.ports.iter().any(|(_, port)| cx.has_port(*port));
    if !(HEADER..=MAX_LENGTH).contains(&length) || !padded || (length != bytes.len() && !at_home) {
        return Probe::No;
    }
    let Some(mut attributes) = bytes.get(HEADER..length) else {
        return Probe::No;
    };
    if attributes.is_empty() {
        return Probe::Maybe;
    }
    while let &[kind, size, ..] = attributes {
        let Some(rest) = attributes.get(usize::from(size)..).filter(|_| kind != 0 && size >= 2) else {
            return Probe::No;
        };
        attributes = rest;
    }
    if attributes.is_empty() { Probe::Certain } else { Probe::No }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    judge(probe(bytes, cx) != Probe::No, status);
    // Rejected access, and disconnecting or changing refused.
    if matches!(bytes.first(), Some(3 | 42 | 45)) {
        *status |= FlowStatus::ErrorCode.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    // Encoded by scapy.
    const REQUEST: &str = "0167001f8e8f0b4c1d2a3b4c5d6e7f8091a2b3c40105626f620406c0000201";

    #[test]
    fn attributes_must_fill_the_message() {
        let request = hex(REQUEST);
        assert_eq!(Run::new(udp(50_000, 18_120)).client(&request), Verdict::Decided("RADIUS"));
        for cut in 1..request.len() {
            assert_eq!(Run::new(udp(50_000, 1812)).client(&request[..cut]), Verdict::Undecided);
        }
        let mut wrong = request;
        wrong[21] = 6;
        assert_eq!(Run::new(udp(50_000, 1812)).client(&wrong), Verdict::Undecided);
    }

    #[test]
    fn a_bare_reply_counts_on_its_port_and_a_rejection_is_an_error() {
        let reject = hex("03 67 0014 8e8f0b4c1d2a3b4c5d6e7f8091a2b3c4");
        let mut run = Run::new(udp(50_000, 1812));
        assert_eq!(run.server(&reject), Verdict::Decided("RADIUS"));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
        assert_eq!(Run::new(udp(50_000, 18_120)).server(&reject), Verdict::Undecided);
    }
}
