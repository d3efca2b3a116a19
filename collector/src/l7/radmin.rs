//! Remote desktops with a greeting of their own: Radmin and NoMachine (as seen on the wire).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want};

const RADMIN_OPENS: &[u8] = &[1, 0, 0, 0, 1, 0, 0, 0, 8, 8];
const RADMIN_ANSWERS: &[u8] = &[1, 0, 0, 0, 0x25, 0, 0];

pub(super) static RADMIN: Dissector = Dissector {
    name: "Radmin",
    category: AppCategory::RemoteAccess,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 1,
    ports: &[(L4::TCP, 4899)],
    probe: |bytes, _| match bytes {
        _ if bytes == RADMIN_OPENS => Probe::Certain,
        _ if bytes.starts_with(RADMIN_ANSWERS) => Probe::Maybe,
        _ => Probe::No,
    },
    dissect,
};

pub(super) static NOMACHINE: Dissector = Dissector {
    name: "NoMachine",
    category: AppCategory::RemoteAccess,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'N',
    ports: &[],
    probe: |bytes, _| if bytes.starts_with(b"NXSH-") { Probe::Certain } else { Probe::No },
    dissect,
};

fn dissect(_: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    *status |= FlowStatus::RemoteAccessSession.bit();
    Want::Nothing
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn greetings() {
        let mut run = Run::new(tcp(50_000, 9999));
        assert_eq!(run.client(RADMIN_OPENS), Verdict::Decided("Radmin"));
        assert_eq!(run.status, FlowStatus::RemoteAccessSession.bit());
        assert_eq!(Run::new(tcp(50_000, 4899)).client(&RADMIN_OPENS[..9]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 9999)).server(b"NXSH-8.8.1\n"), Verdict::Decided("NoMachine"));
    }
}
