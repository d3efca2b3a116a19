//! SMPP 3.3 to 5.0 (SMPP Developers Forum), by which short messages are handed in.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be32};

const HEADER: usize = 16;
const REPLY: u32 = 1 << 31;

pub(super) static SMPP: Dissector = Dissector {
    name: "SMPP",
    category: AppCategory::Chat,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 2775)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let word = |at: usize| be32(bytes, at);
    let (Some(length), Some(command), Some(status), Some(sequence)) = (word(0), word(4), word(8), word(12))
    else {
        return Probe::No;
    };
    let known = matches!(command & !REPLY, 1..=9 | 0x0b | 0x15 | 0x21 | 0x0102 | 0x0103 | 0x0111 | 0x0112)
        || command == REPLY;
    // Only answers carry a state.
    let sane = (command & REPLY != 0 || status == 0) && status < 0x1000 && (1..REPLY).contains(&sequence);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let fits = (HEADER..=bytes.len()).contains(&length);
    // Another message may follow.
    let followed = length == bytes.len() || be32(bytes, length).is_some_and(|next| next < 1 << 16);
    if known && sane && fits && followed { Probe::Certain } else { Probe::No }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    match be32(bytes, 4) {
        // Binding as receiver, transmitter or both takes a password.
        Some(1 | 2 | 9) => *status |= FlowStatus::ClearTextCredentials.bit(),
        Some(command) if command & REPLY != 0 && be32(bytes, 8) != Some(0) => {
            *status |= FlowStatus::ErrorCode.bit();
        }
        _ => {}
    }
    Want::Next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    // Composed after the specification: a transmitter binds and is refused.
    const BIND: &str = "0000001b 00000002 00000000 00000001 6100 6200 00 34 0000 0000 00";

    #[test]
    fn a_bind_and_its_refusal() {
        let mut bind = hex(BIND);
        bind[3] = bind.len() as u8;
        let mut run = Run::new(tcp(50_000, 50_001));
        assert_eq!(run.client(&bind), Verdict::Decided("SMPP"));
        run.server(&hex("00000010 80000002 0000000e 00000001"));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
        for cut in 1..bind.len() {
            assert_eq!(Run::new(tcp(50_000, 2775)).client(&bind[..cut]), Verdict::Undecided);
        }
        bind[11] = 1;
        assert_eq!(Run::new(tcp(50_000, 2775)).client(&bind), Verdict::Undecided);
    }
}
