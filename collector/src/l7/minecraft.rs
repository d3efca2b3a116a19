//! Minecraft, Java edition, by its handshake (wiki.vg, "Protocol" and "Server List Ping").

use shared::model::{AppCategory, Breed, L4};

use super::frames::printable;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

const MAX_HOST: usize = 255;

pub(super) static MINECRAFT: Dissector = Dissector {
    name: "Minecraft",
    category: AppCategory::Game,
    breed: Breed::Fun,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[(L4::TCP, 25_565)],
    probe,
    dissect: name_only,
};

/// A number in groups of seven bits, and what follows.
fn varint(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at + 1..)?));
        }
    }
    None
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Before 1.7: a ping, and the channel's name in two-byte characters.
    let legacy = bytes.starts_with(b"\xfe\x01\xfa\x00\x0b\x00M\x00C\x00|");
    // Some clients send the length on its own.
    match bytes {
        [8..=0x7f] if cx.has_port(25_565) => Probe::Maybe,
        _ if legacy || handshake(bytes).is_some() => Probe::Certain,
        _ => Probe::No,
    }
}

/// Length, number 0, version, host, port, what comes next: status, login or transfer.
fn handshake(bytes: &[u8]) -> Option<()> {
    let (length, rest) = varint(bytes)?;
    let packet = rest.get(..length as usize)?;
    let (0, rest) = varint(packet)? else { return None };
    let (version, rest) = varint(rest)?;
    let (length, rest) = varint(rest)?;
    let (host, rest) = rest.split_at_checked(length as usize).filter(|(host, _)| host.len() <= MAX_HOST)?;
    // Proxies add to the host what they know, behind zeros.
    let name = host.split(|byte| *byte == 0).next()?;
    let sane = version < 2000 || version & 0x4000_0000 != 0 || version == u32::MAX;
    (sane && printable(name) && matches!(rest, [_, _, 1..=3])).then_some(())
}

// A handshake of the wiki.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn lengths_agree() {
        let hello = b"\x10\x00\xff\x05\x09localhost\x63\xdd\x01";
        assert_eq!(Run::new(tcp(50_000, 9999)).client(hello), Verdict::Decided("Minecraft"));
        assert_eq!(
            Run::new(tcp(50_000, 9999)).client(&[&hello[..], b"\x01\x00"].concat()),
            Verdict::Decided("Minecraft")
        );
        assert_eq!(Run::new(tcp(50_000, 25_565)).client(&hello[..1]), Verdict::Decided("Minecraft"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hello[..1]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 25_565)).client(&hello[..16]), Verdict::Undecided);
        assert_eq!(
            Run::new(tcp(50_000, 25_565)).client(b"\x10\x00\xff\x05\x09localhost\x63\xdd\x09"),
            Verdict::Undecided
        );
    }
}
