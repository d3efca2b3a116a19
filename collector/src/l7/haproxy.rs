//! The PROXY protocol, by which a load balancer tells who is behind it (HAProxy, proxy-protocol.txt).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

pub(super) static HAPROXY: Dissector = Dissector {
    name: "HAProxy",
    category: AppCategory::Proxy,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b'P' | b'\r'),
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let text =
        [&b"PROXY TCP4 "[..], b"PROXY TCP6 ", b"PROXY UNKNOWN"].iter().any(|start| bytes.starts_with(start));
    // The second version's byte: version 2, local or proxied.
    let binary = bytes.strip_prefix(SIGNATURE).is_some_and(|rest| matches!(rest.first(), Some(0x20 | 0x21)));
    if text || binary { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn both_versions() {
        let text = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET / HTTP/1.1\r\n";
        assert_eq!(Run::new(tcp(50_000, 80)).client(text), Verdict::Decided("HAProxy"));
        let binary = hex("0d0a0d0a000d0a515549540a 21 11 000c c0000201 c0000202 dc04 01bb");
        assert_eq!(Run::new(tcp(50_000, 80)).client(&binary), Verdict::Decided("HAProxy"));
        assert_eq!(Run::new(tcp(50_000, 80)).client(&binary[..12]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 80)).client(b"PROXY UDP4 "), Verdict::Undecided);
    }
}
