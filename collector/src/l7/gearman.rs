//! Gearman's job queues (gearman.org, "Protocol").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

pub(super) static GEARMAN: Dissector = Dissector {
    name: "Gearman",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 4730)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let magic = bytes.starts_with(b"\0REQ") || bytes.starts_with(b"\0RES");
    let known = be32(bytes, 4).is_some_and(|kind| (1..=42).contains(&kind));
    if magic && known { Probe::Certain } else { Probe::No }
}

// An echo request of the document.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn magic_and_kind() {
        let ask = hex("00524551 00000010 00000001 61");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ask), Verdict::Decided("Gearman"));
        assert_eq!(
            Run::new(tcp(50_000, 4730)).client(&hex("00524551 00000030 00000001 61")),
            Verdict::Undecided
        );
        assert_eq!(Run::new(tcp(50_000, 4730)).client(&ask[..7]), Verdict::Undecided);
    }
}
