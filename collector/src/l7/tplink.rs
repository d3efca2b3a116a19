//! TP-Link's Smart Home Protocol: JSON, each byte of which is masked with the one before (softScheck's
//! "Reverse Engineering the TP-Link HS110").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, name_only};

const KEY: u8 = 0xab;

pub(super) static TPLINK_SHP: Dissector = Dissector {
    name: "TPLINK_SHP",
    category: AppCategory::Iot,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| matches!(byte, 0x00 | 0xd0),
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    // On TCP behind the length.
    let masked = match cx.l4 {
        L4::TCP if be32(bytes, 0).is_some_and(|length| (2..1 << 16).contains(&length)) => bytes.get(4..),
        L4::UDP => Some(bytes),
        _ => None,
    };
    let Some(masked) = masked.filter(|masked| masked.len() >= 4) else { return Probe::No };
    let before = std::iter::once(&KEY).chain(masked);
    let mut plain = masked.iter().zip(before).map(|(byte, key)| byte ^ key).take(64);
    let opens = plain.next() == Some(b'{') && matches!(plain.next(), Some(b'"' | b'}'));
    if opens && plain.all(|byte| matches!(byte, 0x20..=0x7e | b'\r' | b'\n' | b'\t')) {
        Probe::Certain
    } else {
        Probe::No
    }
}

// A question masked as the article says.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp, udp};

    #[test]
    fn masked_json() {
        let mut key = KEY;
        let masked: Vec<u8> = br#"{"system":{"get_sysinfo":{}}}"#
            .iter()
            .map(|byte| {
                key ^= byte;
                key
            })
            .collect();
        assert_eq!(Run::new(udp(50_000, 40_000)).client(&masked), Verdict::Decided("TPLINK_SHP"));
        let framed = [&[0, 0, 0, masked.len() as u8][..], &masked].concat();
        assert_eq!(Run::new(tcp(50_000, 40_000)).client(&framed), Verdict::Decided("TPLINK_SHP"));
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&masked), Verdict::Undecided);
        assert_eq!(Run::new(udp(50_000, 9999)).client(&[0xd0, 0xf2, 0x81, 0x02]), Verdict::Undecided);
    }
}
