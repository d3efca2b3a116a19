//! Monero's nodes by Levin's start (the Monero project's LEVIN_PROTOCOL.md).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const LEVIN: &[u8] = &[0x01, 0x21, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01];

pub(super) static MONERO: Dissector = Dissector {
    name: "Monero",
    category: AppCategory::CryptoCurrency,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 1,
    ports: &[(L4::TCP, 18_080)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if bytes.starts_with(LEVIN) { Probe::Certain } else { Probe::No }
}

// As the project gives it.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn levin() {
        let hello = hex("0121010101010101 e200000000000000 01 e9030000");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hello), Verdict::Decided("Monero"));
        assert_eq!(Run::new(tcp(50_000, 18_080)).client(&hello[..7]), Verdict::Undecided);
    }
}
