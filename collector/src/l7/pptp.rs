//! PPTP's control connection (RFC 2637).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const COOKIE: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];

pub(super) static PPTP: Dissector = Dissector {
    name: "PPTP",
    category: AppCategory::Vpn,
    breed: Breed::Unsafe,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 1723)],
    probe,
    dissect: name_only,
};

/// Length, message kind 1, the cookie, and one of fifteen control messages.
fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let known = be16(bytes, 2) == Some(1)
        && bytes.get(4..8) == Some(&COOKIE[..])
        && be16(bytes, 8).is_some_and(|kind| (1..=15).contains(&kind));
    if known { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn the_cookie_tells_it() {
        let start = hex("009c 0001 1a2b3c4d 0001 0000 0100 0000");
        assert_eq!(Run::new(tcp(50_000, 11_723)).client(&start), Verdict::Decided("PPTP"));
        assert_eq!(Run::new(tcp(50_000, 1723)).client(&start[..9]), Verdict::Undecided);
        assert_eq!(
            Run::new(tcp(50_000, 1723)).client(&hex("009c 0001 1a2b3c4e 0001 0000")),
            Verdict::Undecided
        );
    }
}
