//! TACACS+ (RFC 8907).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be32};

const HEADER: usize = 12;
const UNENCRYPTED: u8 = 1;

pub(super) static TACACS: Dissector = Dissector {
    name: "TACACS+",
    category: AppCategory::Authentication,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0xc0 | 0xc1),
    ports: &[(L4::TCP, 49)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Version, kind, sequence, flags: unencrypted, several sessions in one connection.
    let &[0xc0 | 0xc1, 1..=3, 1..=8, flags, ..] = bytes else {
        return Probe::No;
    };
    let length = be32(bytes, 8).and_then(|length| usize::try_from(length).ok());
    let whole = length == bytes.len().checked_sub(HEADER) && bytes.len() > HEADER;
    if whole && flags & !5 == 0 { Probe::Certain } else { Probe::No }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if bytes.get(3).is_some_and(|flags| flags & UNENCRYPTED != 0) {
        *status |= FlowStatus::ClearTextCredentials.bit();
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    // Composed after the specification; tshark reads it as an authentication.
    const START: &str = "c0 01 01 00 a1b2c3d4 00000008 5a5a5a5a5a5a5a5a";

    #[test]
    fn the_length_is_the_messages() {
        let start = hex(START);
        assert_eq!(Run::new(tcp(50_000, 4949)).client(&start), Verdict::Decided("TACACS+"));
        for cut in 1..start.len() {
            assert_eq!(Run::new(tcp(50_000, 49)).client(&start[..cut]), Verdict::Undecided);
        }
        let mut clear = start;
        clear[3] = UNENCRYPTED;
        let mut run = Run::new(tcp(50_000, 49));
        run.client(&clear);
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
    }
}
