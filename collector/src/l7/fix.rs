//! FIX, by which financial orders are exchanged (FIX Trading Community, session layer).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed};

use super::text::contains;
use super::{Carrier, Dissector, L7Context, Probe, Want};

pub(super) static FIX: Dissector = Dissector {
    name: "FIX",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'8',
    ports: &[],
    probe,
    dissect,
};

/// The first two fields are the version and the length.
fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some(rest) = bytes.strip_prefix(b"8=FIX").or_else(|| bytes.strip_prefix(b"8=O")) else {
        return Probe::No;
    };
    let head = rest.get(..16).unwrap_or(rest);
    if contains(head, b"\x019=") { Probe::Certain } else { Probe::No }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if contains(bytes, b"\x0135=A\x01") && contains(bytes, b"\x01554=") {
        *status |= FlowStatus::ClearTextCredentials.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn version_and_length_come_first() {
        let mut run = Run::new(tcp(50_000, 50_001));
        let logon = b"8=FIX.4.2\x019=65\x0135=A\x0149=A\x0156=B\x01553=u\x01554=p\x0110=062\x01";
        assert_eq!(run.client(logon), Verdict::Decided("FIX"));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(b"8=FIXT.1.1\x019=65\x01"), Verdict::Decided("FIX"));
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(b"8=FIX.4.2|9=65|"), Verdict::Undecided);
    }
}
