//! AnyDesk's search for neighbours (as seen on the wire); its sessions are TLS.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, Want};

const MAGIC: &[u8] = &[0x3e, 0xd1, 0x01];
/// Not told to the table of ports: clients of other protocols have such ports, too.
const PORTS: std::ops::RangeInclusive<u16> = 50_001..=50_003;
const MIN_LENGTH: usize = 16;

pub(super) static ANYDESK: Dissector = Dissector {
    name: "AnyDesk",
    category: AppCategory::RemoteAccess,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0x3e,
    ports: &[],
    probe: |bytes, cx| {
        let ours = bytes.starts_with(MAGIC) && bytes.len() >= MIN_LENGTH && PORTS.contains(&cx.server_port);
        if ours { Probe::Certain } else { Probe::No }
    },
    dissect,
};

fn dissect(_: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    *status |= FlowStatus::RemoteAccessSession.bit();
    Want::Nothing
}

// The start is real, the rest made up.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn the_search_needs_its_port() {
        let search = [MAGIC, &[0; 20]].concat();
        let mut run = Run::new(udp(50_001, 50_001));
        assert_eq!(run.client(&search), Verdict::Decided("AnyDesk"));
        assert_eq!(run.status, FlowStatus::RemoteAccessSession.bit());
        assert_eq!(Run::new(udp(50_000, 9999)).client(&search), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_001, 50_001)).client(&search[..10]), Verdict::Undecided);
    }
}
