//! ZeroMQ's transport, versions 2 and 3 (ZMTP, rfc.zeromq.org/spec/23).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static ZEROMQ: Dissector = Dissector {
    name: "ZeroMQ",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0xff,
    ports: &[(L4::TCP, 5556)],
    probe,
    dissect: name_only,
};

/// The signature: a length of eight bytes that an older peer takes for an identity's, and its flags.
fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let &[0xff, ref length @ .., 0x7f] = bytes.get(..10).unwrap_or_default() else {
        return Probe::No;
    };
    let small = length.split_last().is_some_and(|(_, high)| high.iter().all(|byte| *byte == 0));
    let version = bytes.get(10).is_none_or(|version| (1..=3).contains(version));
    if small && version { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn the_signature_alone_or_with_a_version() {
        let greeting = hex("ff 0000000000000001 7f 03 00 4e554c4c");
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&greeting), Verdict::Decided("ZeroMQ"));
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&greeting[..10]), Verdict::Decided("ZeroMQ"));
        assert_eq!(Run::new(tcp(50_000, 5556)).client(&greeting[..9]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 5556)).client(&[0xff; 10]), Verdict::Undecided);
    }
}
