//! WS-Discovery by multicast (OASIS, version 1.1, and its draft of 2005): SOAP in datagrams.

use shared::model::{AppCategory, Breed, L4};

use super::text::contains;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

const PORT: u16 = 3702;
const HEAD: usize = 1024;

/// Printers, cameras and Windows hosts.
pub(super) static WSD: Dissector = Dissector {
    name: "WSD",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == b'<',
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // The namespace is declared at the envelope's start.
    let head = bytes.get(..HEAD).unwrap_or(bytes);
    let named =
        [&b"schemas.xmlsoap.org/ws/2005/04/discovery"[..], b"docs.oasis-open.org/ws-dd/ns/discovery/"]
            .iter()
            .any(|name| contains(head, name));
    if named { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn probes_for_web_services_name_their_grammar() {
        let probe = "<?xml version=\"1.0\"?><e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\" \
                     xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\"><e:Body><d:Probe/></e:Body>";
        let run = |text: &str| Run::new(udp(50_000, 3702)).client(text.as_bytes());
        assert_eq!(run(probe), Verdict::Decided("WSD"));
        assert_eq!(run("<?xml version=\"1.0\"?><a/>"), Verdict::Undecided);
    }
}
