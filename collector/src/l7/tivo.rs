//! TiVo's discovery of its machines at home (TiVo Connect Automatic Machine Discovery Protocol 1.5).

use shared::model::{AppCategory, Breed, L4};

use super::text;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static TIVO_CONNECT: Dissector = Dissector {
    name: "TiVoConnect",
    category: AppCategory::Network,
    breed: Breed::Fun,
    carrier: Carrier::Either,
    first: |byte| byte.eq_ignore_ascii_case(&b't'),
    ports: &[(L4::UDP, 2190), (L4::TCP, 2190)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if text::starts(bytes, b"TiVoConnect=") { Probe::Certain } else { Probe::No }
}

// The example of the description.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    #[test]
    fn a_beacon_says_what_it_is() {
        let beacon = b"tivoconnect=1\nmethod=broadcast\nplatform=pc\n";
        assert_eq!(Run::new(udp(2190, 2190)).client(beacon), Verdict::Decided("TiVoConnect"));
        assert_eq!(Run::new(udp(2190, 2190)).client(b"tivo=1"), Verdict::Undecided);
    }
}
