//! BGP-4 (RFC 4271).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16, judge};

const MARKER: [u8; 16] = [0xff; 16];
/// Marker, length and kind.
const HEADER: usize = 19;
const NOTIFICATION: u8 = 3;

pub(super) static BGP: Dissector = Dissector {
    name: "BGP",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0xff,
    ports: &[(L4::TCP, 179)],
    probe,
    dissect,
};

fn kind(bytes: &[u8]) -> Option<u8> {
    let rest = bytes.strip_prefix(&MARKER)?;
    let (length, kind) = (be16(rest, 0)?, *rest.get(2)?);
    let least = match kind {
        1 => 29,
        2 => 23,
        NOTIFICATION => 21,
        4 => 19,
        5 => 23,
        _ => return None,
    };
    (length >= least).then_some(kind)
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if kind(bytes).is_some() { Probe::Certain } else { Probe::No }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    let kind = kind(bytes);
    // Who has the marker begins a message.
    let begins = bytes.len() >= HEADER && bytes.starts_with(&MARKER);
    judge(kind.is_some() || !begins, status);
    if kind == Some(NOTIFICATION) {
        *status |= FlowStatus::ErrorCode.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    // Composed after the specification; tshark reads it as a keepalive.
    const KEEPALIVE: &str = "ffffffffffffffffffffffffffffffff 0013 04";

    #[test]
    fn the_marker_a_length_and_a_kind() {
        let keepalive = hex(KEEPALIVE);
        assert_eq!(Run::new(tcp(50_000, 1790)).client(&keepalive), Verdict::Decided("BGP"));
        assert_eq!(Run::new(tcp(50_000, 179)).client(&keepalive[..18]), Verdict::Undecided);
        let mut run = Run::new(tcp(50_000, 179));
        run.client(&keepalive);
        run.server(&hex("ffffffffffffffffffffffffffffffff 0015 03 06 02"));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
        assert_eq!(Run::new(tcp(50_000, 179)).client(&[0xff; 40]), Verdict::Undecided);
    }
}
