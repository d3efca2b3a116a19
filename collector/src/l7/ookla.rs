//! Speedtest's servers in their own words over TCP (Ookla; as seen on the wire).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static OOKLA: Dissector = Dissector {
    name: "Ookla",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'H',
    ports: &[(L4::TCP, 8080), (L4::TCP, 5060)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let hi = cx.from_client && (bytes == b"HI\n" || bytes == b"HI\r\n" || bytes.starts_with(b"HI "));
    let version = bytes.strip_prefix(b"HELLO ").and_then(|version| version.first_chunk());
    match version {
        Some([b'0'..=b'9', b'.', b'0'..=b'9']) if !cx.from_client => Probe::Certain,
        _ if hi && cx.has_port(8080) => Probe::Maybe,
        _ => Probe::No,
    }
}

// The greeting is real.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn client_and_server_greet() {
        let mut run = Run::new(tcp(50_000, 8081));
        assert_eq!(run.client(b"HI\n"), Verdict::Undecided);
        assert_eq!(run.server(b"HELLO 2.7 (2.7.4) 2019-03-05.1553.3eac\n"), Verdict::Decided("Ookla"));
        assert_eq!(Run::new(tcp(50_000, 8080)).server(b"HELLO there\n"), Verdict::Undecided);
    }
}
