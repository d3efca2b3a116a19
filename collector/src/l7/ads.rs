//! Beckhoff's ADS over AMS/TCP (Beckhoff Information System, "TwinCAT ADS").

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, le16, le32, name_only};

/// Two bytes of zero, length.
const PREFIX: usize = 6;
/// Addresses, command, flags, length, error, number.
const HEADER: usize = 32;

pub(super) static ADS: Dissector = Dissector {
    name: "BeckhoffADS",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let (Some(0), Some(length)) = (le16(bytes, 0), le32(bytes, 2)) else { return Probe::No };
    let command = le16(bytes, PREFIX + 16).is_some_and(|command| command <= 9);
    let flags = le16(bytes, PREFIX + 18).is_some_and(|flags| matches!(flags, 4 | 5));
    let data = le32(bytes, PREFIX + 20).and_then(|data| data.checked_add(HEADER as u32)) == Some(length);
    if command && flags && data { Probe::Certain } else { Probe::No }
}

// A request for the device's information, put together after the manual.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn lengths_agree() {
        let ask =
            hex("0000 20000000 c0a800010101 1027 c0a800020101 0180 0100 0400 00000000 00000000 01000000");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&ask), Verdict::Decided("BeckhoffADS"));
        let mut wrong = ask.clone();
        wrong[2] = 0x21;
        assert_eq!(Run::new(tcp(50_000, 48_898)).client(&wrong), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 48_898)).client(&ask[..29]), Verdict::Undecided);
    }
}
