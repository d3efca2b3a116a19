//! Elasticsearch's transport between nodes and Java clients (its TcpHeader); the web form is HTTP.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

/// Marker and length.
const PREFIX: usize = 6;
/// Request, response, error, compressed, handshake.
const STATUS: u8 = 0x0f;

pub(super) static ELASTICSEARCH: Dissector = Dissector {
    name: "Elasticsearch",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'E',
    ports: &[(L4::TCP, 9300)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some(length) = bytes.strip_prefix(b"ES").and_then(|_| be32(bytes, 2)) else { return Probe::No };
    // A ping: no more than the marker.
    if length == u32::MAX {
        return if bytes.len() == PREFIX { Probe::Certain } else { Probe::No };
    }
    // Number of the request, status, version.
    let header = bytes.get(PREFIX + 8).is_some_and(|status| *status <= STATUS)
        && be32(bytes, PREFIX).is_some_and(|high| high < 0x100)
        && be32(bytes, PREFIX + 9).is_some_and(|version| version > 0);
    let fits = length >= 13 && length as usize + PREFIX >= bytes.len().min(1400);
    if header && fits { Probe::Certain } else { Probe::No }
}

// Bytes put together after the layout.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn marker_length_and_status() {
        let handshake = hex("4553 00000013 0000000000000001 09 005cc663 0000 cbf6ae03");
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&handshake), Verdict::Decided("Elasticsearch"));
        assert_eq!(
            Run::new(tcp(50_000, 9999)).client(&hex("4553ffffffff")),
            Verdict::Decided("Elasticsearch")
        );
        let mut wrong = handshake.clone();
        wrong[14] = 0x99;
        assert_eq!(Run::new(tcp(50_000, 9300)).server(&wrong), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 9300)).server(&handshake[..18]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 9300)).client(b"ESMTP is no marker"), Verdict::Undecided);
    }
}
