//! Apple Filing Protocol by its sessions, DSI (Apple, "Apple Filing Protocol Reference").

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static AFP: Dissector = Dissector {
    name: "AFP",
    category: AppCategory::FileSharing,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte <= 1,
    ports: &[(L4::TCP, 548)],
    probe,
    dissect: name_only,
};

/// Request or reply, command, number, offset or error, length, reserved.
fn message(bytes: &[u8]) -> Option<usize> {
    let [0 | 1, 1..=8, ..] = bytes else { return None };
    let length = be32(bytes, 8).filter(|length| *length < 1 << 24)?;
    (be32(bytes, 12)? == 0).then_some(length as usize + 16)
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    match walk(bytes, message) {
        // Without anything behind them the headers are mostly zeros.
        Fit::Whole if bytes.len() > 16 || cx.has_port(548) => Probe::Certain,
        Fit::Cut if cx.has_port(548) => Probe::Certain,
        _ => Probe::No,
    }
}

// A request to open a session, put together after the reference.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn lengths_agree() {
        let ask = hex("00 04 0001 00000000 00000006 00000000 010400000578");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ask), Verdict::Decided("AFP"));
        assert_eq!(Run::new(tcp(50_000, 548)).client(&ask[..21]), Verdict::Undecided);
        assert_eq!(
            Run::new(tcp(50_000, 548)).client(&hex("00 04 0001 00000000 00000006 00000001 010400000578")),
            Verdict::Undecided
        );
    }
}
