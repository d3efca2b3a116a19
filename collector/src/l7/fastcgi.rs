//! FastCGI between web servers and applications (FastCGI Specification 1.0).

use shared::model::{AppCategory, Breed};

use super::frames::zeros;
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static FASTCGI: Dissector = Dissector {
    name: "FastCGI",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 1,
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // Version, kind, request, length, padding.
    let header = bytes.get(1).is_some_and(|kind| (1..=11).contains(kind)) && bytes.get(7) == Some(&0);
    // Begins with the role and whether to keep the connection, then five zeros.
    let begins = bytes.starts_with(&[1, 1]) && be16(bytes, 4) == Some(8) && zeros(bytes, 11..16);
    let role = be16(bytes, 8).is_some_and(|role| (1..=3).contains(&role));
    let length = be16(bytes, 4).map(usize::from).zip(bytes.get(6));
    let fits = length.is_some_and(|(length, padding)| 8 + length + usize::from(*padding) <= bytes.len());
    if bytes.starts_with(&[1, 1]) && begins && role {
        Probe::Certain
    } else if bytes.first() == Some(&1) && header && fits && cx.has_port(9000) {
        Probe::Maybe
    } else {
        Probe::No
    }
}

// The example of the specification.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn a_request_begins() {
        let begin = hex("01 01 0001 0008 00 00 0001 00 0000000000");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&begin), Verdict::Decided("FastCGI"));
        assert_eq!(Run::new(tcp(50_000, 9000)).client(&begin[..15]), Verdict::Undecided);
        assert_eq!(
            Run::new(tcp(50_000, 9999)).server(&hex("01 06 0001 0002 00 00 4142")),
            Verdict::Undecided
        );
    }
}
