//! VNC's remote frame buffer protocol (RFC 6143).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want};

pub(super) static VNC: Dissector = Dissector {
    name: "VNC",
    category: AppCategory::RemoteAccess,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'R',
    ports: &[(L4::TCP, 5900), (L4::TCP, 5901)],
    probe,
    dissect: |_: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits| {
        *status |= FlowStatus::RemoteAccessSession.bit();
        Want::Nothing
    },
};

/// Both sides begin with their version (RFC 6143 §7.1.1).
fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some(&[major @ .., b'.', a, b, c, b'\n']) =
        bytes.strip_prefix(b"RFB ").and_then(|rest| rest.first_chunk::<8>())
    else {
        return Probe::No;
    };
    let digits = major.iter().chain(&[a, b, c]).all(u8::is_ascii_digit);
    if digits { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn either_side_says_its_version() {
        assert_eq!(Run::new(tcp(50_000, 15_900)).server(b"RFB 003.008\n"), Verdict::Decided("VNC"));
        assert_eq!(Run::new(tcp(50_000, 15_900)).client(b"RFB 003.889\n"), Verdict::Decided("VNC"));
        for bytes in [&b"RFB 003.008"[..], b"RFB 003.0x8\n", b"RFB\n", b"RFC 1149"] {
            assert_eq!(Run::new(tcp(50_000, 5900)).server(bytes), Verdict::Undecided);
        }
    }
}
