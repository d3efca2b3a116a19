//! SMB version 1 ([MS-CIFS]) and versions 2 and 3 ([MS-SMB2]), behind the four bytes of direct
//! hosting or of a NetBIOS session (RFC 1002 §4.3), and version 1 in NetBIOS datagrams (§4.4).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::contains;
use super::{Carrier, Dissector, L7Context, Probe, Want, be32};

/// Length of a NetBIOS datagram's head with both names in their usual form.
const DATAGRAM_HEAD: usize = 14 + 2 * 34;
const DATAGRAM_PORT: u16 = 138;
const NEGOTIATE: u8 = 0x72;

pub(super) static SMB1: Dissector = Dissector {
    name: "SMBv1",
    category: AppCategory::FileSharing,
    breed: Breed::Dangerous,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 0 | 0x10..=0x12),
    ports: &[(L4::TCP, 139)],
    probe: |bytes, cx| {
        let message = if cx.l4 == L4::UDP { datagram(bytes, cx) } else { session(bytes) };
        let Some(message) = message.and_then(|message| message.strip_prefix(b"\xffSMB")) else {
            return Probe::No;
        };
        // Who offers both is answered in the version that will be spoken.
        let offers_both = message.first() == Some(&NEGOTIATE) && contains(message, b"\x02SMB 2.");
        if offers_both { Probe::No } else { Probe::Certain }
    },
    dissect: |_: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits| {
        *status |= FlowStatus::InsecureSmb.bit();
        Want::Nothing
    },
};

pub(super) static SMB2: Dissector = Dissector {
    name: "SMBv23",
    category: AppCategory::FileSharing,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 445)],
    probe: |bytes, _| {
        let Some(message) = session(bytes) else {
            return Probe::No;
        };
        // A head of 64 bytes; or an encrypted or a compressed message.
        let known = message.starts_with(b"\xfeSMB\x40\x00")
            || message.starts_with(b"\xfdSMB")
            || message.starts_with(b"\xfcSMB");
        if known { Probe::Certain } else { Probe::No }
    },
    dissect: super::name_only,
};

/// The message of a session's first frame.
fn session(bytes: &[u8]) -> Option<&[u8]> {
    // One byte of kind, three of length.
    let length = usize::try_from(be32(bytes, 0).filter(|word| *word < 1 << 24)?).ok()?;
    bytes.get(4..).filter(|_| length >= 32)
}

/// The message in a NetBIOS datagram.
fn datagram<'a>(bytes: &'a [u8], cx: &L7Context) -> Option<&'a [u8]> {
    if cx.has_port(DATAGRAM_PORT) { bytes.get(DATAGRAM_HEAD..) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    // Encoded by impacket.
    const NEGOTIATE_1: &str = "0000002fff534d4272000000001801c8000000000000000000000000ffff000000000000000c0002\
        4e54204c4d20302e313200";
    const NEGOTIATE_2: &str = "00000068fe534d424000000000000000000000000000000000000000000000000000000000000000\
        00000000000000000000000000000000000000000000000000000000240002000000000000000000\
        00000000000000000000000000000000000000000000000002021002";

    #[test]
    fn versions_are_told_by_their_first_bytes() {
        let mut old = Run::new(tcp(50_000, 139));
        assert_eq!(old.client(&hex("81000044 20 43")), Verdict::Undecided);
        assert_eq!(old.server(&hex("82000000")), Verdict::Decided("NetBIOS"));
        assert_eq!(old.client(&hex(NEGOTIATE_1)), Verdict::Decided("SMBv1"));
        old.server(&hex(NEGOTIATE_1));
        assert_eq!(old.status, FlowStatus::InsecureSmb.bit());
        assert_eq!(Run::new(tcp(50_000, 4445)).client(&hex(NEGOTIATE_2)), Verdict::Decided("SMBv23"));
        assert_eq!(Run::new(tcp(50_000, 445)).client(&hex("00000066 fd534d42")), Verdict::Decided("SMBv23"));
    }

    #[test]
    fn an_offer_of_both_waits_for_the_answer() {
        let both = [&hex(NEGOTIATE_1)[..], b"\x02SMB 2.???\0"].concat();
        let mut run = Run::new(tcp(50_000, 445));
        assert_eq!(run.client(&both), Verdict::Undecided);
        assert_eq!(run.server(&hex(NEGOTIATE_2)), Verdict::Decided("SMBv23"));
        let mut run = Run::new(tcp(50_000, 445));
        run.client(&both);
        assert_eq!(run.server(&hex(NEGOTIATE_1)), Verdict::Decided("SMBv1"));
    }

    #[test]
    fn datagrams_carry_version_1() {
        let mut datagram = vec![0x11; DATAGRAM_HEAD];
        datagram.extend(b"\xffSMB\x25");
        assert_eq!(Run::new(udp(138, 138)).client(&datagram), Verdict::Decided("SMBv1"));
        assert_eq!(Run::new(udp(50_000, 139)).client(&datagram), Verdict::Undecided);
    }
}
