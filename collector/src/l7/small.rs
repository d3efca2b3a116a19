//! Protocols that a few bytes tell: Checkmk's agent (Checkmk manual), Tailscale's DISCO (tailscale.com/kb,
//! its disco package), Nintendo's consoles (as seen on the wire), HiSLIP (IVI-6.1).

use shared::model::{AppCategory, Breed, L4};

use super::frames::be64;
use super::{Carrier, Dissector, Probe, be32, name_only};

/// The mark of a message between peers, before sender and nonce.
const DISCO: &[u8] = "TS💬".as_bytes();
const NINTENDO_MAGIC: u32 = 0x32ab_9864;

pub(super) static CHECKMK: Dissector = Dissector {
    name: "CHECKMK",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'<',
    ports: &[(L4::TCP, 6556)],
    probe: |bytes, _| {
        let sections = bytes.starts_with(b"<<<check_mk>>>") || bytes.starts_with(b"<<<uptime>>>");
        if sections { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

pub(super) static TAILSCALE: Dissector = Dissector {
    name: "Tailscale",
    category: AppCategory::Vpn,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == b'T',
    ports: &[(L4::UDP, 41_641)],
    probe: |bytes, _| {
        if bytes.starts_with(DISCO) && bytes.len() > 62 { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

pub(super) static NINTENDO: Dissector = Dissector {
    name: "Nintendo",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Udp,
    first: |byte| byte == 0x32,
    ports: &[],
    probe: |bytes, _| match be32(bytes, 0) {
        Some(NINTENDO_MAGIC) if bytes.len() >= 16 => Probe::Certain,
        _ => Probe::No,
    },
    dissect: name_only,
};

pub(super) static HISLIP: Dissector = Dissector {
    name: "HiSLIP",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'H',
    ports: &[(L4::TCP, 4880)],
    probe: |bytes, _| {
        // Mark, kind, control code, parameter, length of the data.
        let known = matches!(bytes, [b'H', b'S', 0..=37, ..]);
        let fits = be64(bytes, 8).is_some_and(|length| length.checked_add(16) == Some(bytes.len() as u64));
        if known && fits { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

// Bytes put together after the descriptions.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    #[test]
    fn marks() {
        let agent = b"<<<check_mk>>>\nVersion: 2.1.0\n";
        assert_eq!(Run::new(tcp(50_000, 9999)).server(agent), Verdict::Decided("CHECKMK"));
        assert_eq!(Run::new(tcp(50_000, 6556)).server(b"<<<check"), Verdict::Undecided);
        let ping = [DISCO, &[7; 80]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&ping), Verdict::Decided("Tailscale"));
        assert_eq!(Run::new(udp(50_000, 41_641)).client(&ping[..62]), Verdict::Undecided);
        let console = hex("32ab9864 02000000 00000000 00000000");
        assert_eq!(Run::new(udp(50_000, 9999)).client(&console), Verdict::Decided("Nintendo"));
        let open = [b"HS", &hex("00 00 01005858 0000000000000007")[..], b"hislip0"].concat();
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&open), Verdict::Decided("HiSLIP"));
        assert_eq!(Run::new(tcp(50_000, 4880)).client(&open[..22]), Verdict::Undecided);
    }
}
