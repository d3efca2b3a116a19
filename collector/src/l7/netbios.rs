//! NetBIOS over TCP and UDP (RFC 1002): name service, datagrams, sessions.

use shared::model::flow::L7Info;
use shared::model::status::StatusBits;
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, ProtocolId, Want, be16, be32, dns};

const NAME_PORT: u16 = 137;
const DATAGRAM_PORT: u16 = 138;
const SESSION_PORT: u16 = 139;

/// A name in its usual form: 32 letters, then the end or a scope.
const NAME: usize = 34;
/// Both names behind type, flags, id, address, port, length and offset.
const DATAGRAM_HEAD: usize = 14 + 2 * NAME;

pub(super) static NETBIOS: Dissector = Dissector {
    name: "NetBIOS",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: super::any_byte,
    ports: &[(L4::UDP, NAME_PORT), (L4::UDP, DATAGRAM_PORT), (L4::TCP, SESSION_PORT)],
    probe: |bytes, cx| match cx.l4 {
        L4::UDP if cx.has_port(NAME_PORT) => dns::probe(bytes, cx),
        L4::UDP if cx.has_port(DATAGRAM_PORT) => datagram(bytes),
        L4::TCP if cx.has_port(SESSION_PORT) => session(bytes),
        _ => Probe::No,
    },
    dissect,
};

/// Whether `bytes` begin with a name in the form of RFC 1001 §14.1.
fn is_name(bytes: &[u8]) -> bool {
    let letters = bytes.strip_prefix(b"\x20").and_then(|rest| rest.get(..32));
    letters.is_some_and(|letters| letters.iter().all(|letter| (b'A'..=b'P').contains(letter)))
}

/// A datagram that carries no SMB, which is named after that.
fn datagram(bytes: &[u8]) -> Probe {
    let (Some(&[kind, flags]), Some(port)) = (bytes.first_chunk(), be16(bytes, 8)) else { return Probe::No };
    if !(0x10..=0x16).contains(&kind) || flags & 0xf0 != 0 {
        return Probe::No;
    }
    let has_smb = bytes.get(DATAGRAM_HEAD..).is_some_and(|data| data.starts_with(b"\xffSMB"));
    let query = (0x14..=0x16).contains(&kind) && bytes.get(10..).is_some_and(is_name);
    let data = kind <= 0x12 && bytes.get(14..).is_some_and(is_name) && !has_smb;
    let error = kind == 0x13 && bytes.len() == 11 && port == DATAGRAM_PORT;
    if query || data || error { Probe::Certain } else { Probe::No }
}

/// Session packets but messages (RFC 1002 §4.3).
fn session(bytes: &[u8]) -> Probe {
    let Some(head) = be32(bytes, 0) else { return Probe::No };
    let length = (head & 0x0001_ffff) as usize;
    let whole = bytes.len() == 4 + length;
    match head >> 24 {
        0x81 if whole && bytes.get(4..).is_some_and(is_name) => Probe::Certain,
        0x82 | 0x85 if whole && length == 0 => Probe::Certain,
        0x83 if whole && length == 1 => Probe::Certain,
        0x84 if whole && length == 6 => Probe::Certain,
        _ => Probe::No,
    }
}

/// Sessions turn into what they were opened for.
fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, _: &mut StatusBits) -> Want {
    if cx.l4 != L4::TCP {
        return Want::Nothing;
    }
    let name = match bytes.get(4..8) {
        Some(b"\xffSMB") => "SMBv1",
        Some(b"\xfeSMB") => "SMBv23",
        _ => return Want::Next,
    };
    ProtocolId::by_name(name).and_then(ProtocolId::dissector).map_or(Want::Nothing, Want::Become)
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    /// Layouts after RFC 1002 §4.3 and §4.4.
    #[test]
    fn sessions_and_datagrams_are_known_at_home() {
        let name = [&[32][..], &[b'C'; 32], &[0]].concat();
        let request = [&hex("81000044")[..], &name, &name].concat();
        assert_eq!(Run::new(tcp(50_000, 139)).client(&request), Verdict::Decided("NetBIOS"));
        assert_eq!(Run::new(tcp(50_000, 1390)).client(&request), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 139)).client(&request[..60]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 139)).server(&hex("82000000")), Verdict::Decided("NetBIOS"));
        let head = hex("1102 0001 c0000201 008a 0052 0000");
        let datagram = [&head[..], &name, &name, b"hello"].concat();
        assert_eq!(Run::new(udp(138, 138)).client(&datagram), Verdict::Decided("NetBIOS"));
        for cut in 0..47 {
            assert_eq!(Run::new(udp(138, 138)).client(&datagram[..cut]), Verdict::Undecided);
        }
    }
}
