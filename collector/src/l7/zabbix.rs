//! Zabbix between agents, proxies and servers (Zabbix manual, "Header").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, le32, name_only};

const MARKER: &[u8] = b"ZBXD";

pub(super) static ZABBIX: Dissector = Dissector {
    name: "Zabbix",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b'Z' | b'{'),
    ports: &[(L4::TCP, 10_050), (L4::TCP, 10_051)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Protocol, compressed, large packet.
    let flags = bytes.get(4).is_some_and(|flags| *flags & 1 == 1 && *flags < 8);
    if bytes.starts_with(MARKER) && flags && (le32(bytes, 5).is_some() || bytes.len() == 5) {
        return Probe::Certain;
    }
    // Old senders leave the header out.
    if bytes.starts_with(b"{\"request\":\"") { Probe::Maybe } else { Probe::No }
}

// Bytes put together after the manual.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    /// Composed by hand after Zabbix' manual ("Header and data length"): nothing that was recorded.
    #[test]
    fn the_header_tells_it() {
        let ping = [&b"ZBXD"[..], &hex("01 0a000000 00000000"), b"agent.ping"].concat();
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ping), Verdict::Decided("Zabbix"));
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&ping[..13]), Verdict::Decided("Zabbix"));
        assert_eq!(Run::new(tcp(50_000, 10_050)).client(b"ZBXD\x08\x01\0\0\0"), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 10_050)).client(b"ZBXD"), Verdict::Undecided);
        let old = b"{\"request\":\"sender data\",\"data\":[]}";
        assert_eq!(Run::new(tcp(50_000, 10_051)).client(old), Verdict::Decided("Zabbix"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(old), Verdict::Undecided);
    }
}
