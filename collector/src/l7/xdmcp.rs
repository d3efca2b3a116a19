//! XDMCP: X terminals ask a display manager for a login (X.Org, "X Display Manager Control Protocol").

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16};

const PORT: u16 = 177;
const HEADER: usize = 6;

pub(super) static XDMCP: Dissector = Dissector {
    name: "XDMCP",
    category: AppCategory::RemoteAccess,
    breed: Breed::Unsafe,
    carrier: Carrier::Udp,
    first: |byte| byte == 0,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: |_: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits| {
        *status |= FlowStatus::RemoteAccessSession.bit();
        Want::Nothing
    },
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let known = be16(bytes, 0) == Some(1) && be16(bytes, 2).is_some_and(|kind| (1..=14).contains(&kind));
    let whole = be16(bytes, 4).map(|length| usize::from(length) + HEADER) == Some(bytes.len());
    if known && whole && cx.has_port(PORT) { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn the_length_is_the_datagrams() {
        assert_eq!(Run::new(udp(50_000, 177)).client(&hex("0001 0002 0001 00")), Verdict::Decided("XDMCP"));
        assert_eq!(Run::new(udp(50_000, 177)).client(&hex("0001 0002 0002 00")), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 178)).client(&hex("0001 0002 0001 00")), Verdict::Undecided);
    }
}
