//! Discovery by multicast: SSDP of UPnP (UPnP Device Architecture 2.0 §1), HTTP heads in datagrams.

use shared::model::{AppCategory, Breed, L4};

use super::text::{lines, starts};
use super::{Carrier, Dissector, L7Context, Probe, name_only};

const PORT: u16 = 1900;

pub(super) static SSDP: Dissector = Dissector {
    name: "SSDP",
    category: AppCategory::System,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte.is_ascii_uppercase(),
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::UDP {
        return Probe::No;
    }
    let asks = [&b"M-SEARCH * HTTP/1."[..], b"NOTIFY * HTTP/1."].iter().any(|head| bytes.starts_with(head));
    // Answers come from the port that was asked, or from another with the service's own header.
    let answers = bytes.starts_with(b"HTTP/1.1 200 ")
        && (cx.has_port(PORT) || lines(bytes).take(16).any(|line| starts(line, b"USN:")));
    if asks || answers { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn searches_and_announcements() {
        let run = |port: u16, text: &str| Run::new(udp(50_000, port)).client(text.as_bytes());
        assert_eq!(run(1900, "M-SEARCH * HTTP/1.1\r\n"), Verdict::Decided("SSDP"));
        assert_eq!(run(1901, "NOTIFY * HTTP/1.1\r\n"), Verdict::Decided("SSDP"));
        assert_eq!(run(1900, "HTTP/1.1 200 OK\r\n"), Verdict::Decided("SSDP"));
        assert_eq!(run(1901, "HTTP/1.1 200 OK\r\nST: a\r\nUSN: uuid:1\r\n"), Verdict::Decided("SSDP"));
        assert_eq!(run(1901, "HTTP/1.1 200 OK\r\n"), Verdict::Undecided);
        assert_eq!(run(1901, "GET / HTTP/1.1\r\n"), Verdict::Undecided);
    }
}
