//! Whois (RFC 3912): one line asked, text answered.

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const PORT: u16 = 43;

pub(super) static WHOIS: Dissector = Dissector {
    name: "Whois-DAS",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b' '..=b'~'),
    ports: &[(L4::TCP, PORT)],
    probe,
    dissect: name_only,
};

/// The line alone could be anybody's: it counts on the port.
fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let asked = cx.from_client && cx.server_port == PORT;
    let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    match line {
        Some(line) if asked && !line.is_empty() && line.iter().all(|byte| *byte >= b' ') => Probe::Maybe,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn one_line_on_the_port() {
        assert_eq!(Run::new(tcp(50_000, 43)).client(b"example.com\r\n"), Verdict::Decided("Whois-DAS"));
        assert_eq!(Run::new(tcp(50_000, 43)).client(b"example.com"), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 43)).client(b"two\r\nlines\r\n"), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 44)).client(b"example.com\r\n"), Verdict::Undecided);
    }
}
