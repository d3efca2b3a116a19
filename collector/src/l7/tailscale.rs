//! Tailscale's DISCO between peers (tailscale/tailscale, disco).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, Probe, name_only};

/// The mark of a message between peers, before sender and nonce.
const DISCO: &[u8] = "TS💬".as_bytes();

pub(super) static TAILSCALE: Dissector = Dissector {
    name: "Tailscale",
    category: AppCategory::Vpn,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == b'T',
    ports: &[],
    probe: |bytes, _| {
        if bytes.starts_with(DISCO) && bytes.len() > 62 { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

// A message put together after the source.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn mark_and_length() {
        let ping = [DISCO, &[7; 80]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&ping), Verdict::Decided("Tailscale"));
        assert_eq!(Run::new(udp(50_000, 41_641)).client(&ping[..62]), Verdict::Undecided);
    }
}
