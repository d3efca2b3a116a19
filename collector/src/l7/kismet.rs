//! The wireless sniffer Kismet's server, in its old text protocol (README of 2005 to 2016).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static KISMET: Dissector = Dissector {
    name: "Kismet",
    category: AppCategory::Network,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'*',
    ports: &[(L4::TCP, 2501)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let greets = bytes.starts_with(b"*KISMET: ") || bytes.starts_with(b"*PROTOCOLS: ");
    if greets && !cx.from_client { Probe::Certain } else { Probe::No }
}

// A greeting after the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn the_server_greets() {
        let hello = b"*KISMET: 0.0.0 1127323201 \x01Kismet\x01 \x01\x01\n";
        assert_eq!(Run::new(tcp(50_000, 2501)).server(hello), Verdict::Decided("Kismet"));
        assert_eq!(Run::new(tcp(50_000, 2501)).server(b"*KISS: 1"), Verdict::Undecided);
    }
}
