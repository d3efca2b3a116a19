//! Bitcoin and the coins that kept its messages (Bitcoin developer reference, "P2P network").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, le32, name_only};

/// Magic, command, length; the checksum follows.
const COMMAND: usize = 4;
const LENGTH: usize = 16;
const MAX_LENGTH: u32 = 32 << 20;
/// Main, regression and test networks 3 and 4, signet; Litecoin, Dogecoin, Dash, Bitcoin Cash, Zcash.
const MAGICS: [u32; 10] = [
    0xf9be_b4d9,
    0xfabf_b5da,
    0x0b11_0907,
    0x1c16_3f28,
    0x0a03_cf40,
    0xfbc0_b6db,
    0xc0c0_c0c0,
    0xbf0c_6bbd,
    0xe3e1_f3e8,
    0x24e9_2764,
];

pub(super) static BITCOIN: Dissector = Dissector {
    name: "BITCOIN",
    category: AppCategory::CryptoCurrency,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| MAGICS.iter().any(|magic| magic.to_be_bytes()[0] == byte),
    ports: &[(L4::TCP, 8333), (L4::TCP, 18_333)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let magic = be32(bytes, 0).is_some_and(|magic| MAGICS.contains(&magic));
    let command = bytes.get(COMMAND..LENGTH).is_some_and(|command| {
        let letters = command.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        letters >= 2 && command.iter().skip(letters).all(|byte| *byte == 0)
    });
    let length = le32(bytes, LENGTH).is_some_and(|length| length <= MAX_LENGTH);
    if magic && command && length { Probe::Certain } else { Probe::No }
}

// A verack as the reference has it.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    /// Composed by hand after the project's protocol documentation: nothing that was recorded.
    #[test]
    fn messages_have_a_magic_and_a_command() {
        let verack = hex("f9beb4d9 76657261636b000000000000 00000000 5df6e0e2");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&verack), Verdict::Decided("BITCOIN"));
        assert_eq!(Run::new(tcp(50_000, 8333)).client(&verack[..19]), Verdict::Undecided);
        let other = hex("f9beb4d8 76657261636b000000000000 00000000 5df6e0e2");
        assert_eq!(Run::new(tcp(50_000, 8333)).client(&other), Verdict::Undecided);
    }
}
