//! WeChat's encrypted records, a relative of TLS (published analyses of MMTLS).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static WECHAT: Dissector = Dissector {
    name: "WeChat",
    category: AppCategory::Chat,
    breed: Breed::Fun,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0x15..=0x17 | 0x19),
    ports: &[(L4::TCP, 80), (L4::TCP, 443), (L4::TCP, 8080)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Kind, a version that TLS does not have, length.
    let version = matches!(bytes.get(1..3), Some([0xf1, 3 | 4]));
    let length = be16(bytes, 3).is_some_and(|length| length > 0);
    if version && length { Probe::Certain } else { Probe::No }
}

// The head is real, the rest made up.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn records_have_a_version_of_their_own() {
        let hello = hex("16 f104 00a1 0000009d 0104f1 0100");
        assert_eq!(Run::new(tcp(50_000, 80)).client(&hello), Verdict::Decided("WeChat"));
        let mut tls = hello.clone();
        tls[1] = 3;
        assert_ne!(Run::new(tcp(50_000, 80)).client(&tls), Verdict::Decided("WeChat"));
    }
}
