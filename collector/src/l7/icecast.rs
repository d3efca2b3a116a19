//! Radio over the web: sources of Icecast and answers of SHOUTcast, which are nearly HTTP (icecast.org/docs).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static ICECAST: Dissector = Dissector {
    name: "IceCast",
    category: AppCategory::Music,
    breed: Breed::Fun,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b'I' | b'S'),
    ports: &[(L4::TCP, 8000)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    let source = line.starts_with(b"SOURCE /")
        && [&b" HTTP/1.0"[..], b" HTTP/1.1", b" ICE/1.0"].iter().any(|version| line.ends_with(version));
    if source || line.starts_with(b"ICY 200 ") { Probe::Certain } else { Probe::No }
}

// Heads after the documentation.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn sources_and_listeners() {
        let source = b"SOURCE /live.ogg HTTP/1.0\r\nAuthorization: Basic c291cmNlOmE=\r\n\r\n";
        assert_eq!(Run::new(tcp(50_000, 8123)).client(source), Verdict::Decided("IceCast"));
        let mut listener = Run::new(tcp(50_000, 8123));
        assert_eq!(listener.server(b"ICY 200 OK\r\nicy-name: a\r\n"), Verdict::Decided("IceCast"));
        assert_eq!(Run::new(tcp(50_000, 8000)).client(b"SOURCE code\r\n"), Verdict::Undecided);
    }
}
