//! Xiaomi's miIO (the OpenMiHome project's description).

use shared::model::{AppCategory, Breed};

use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

const MAGIC: u16 = 0x2131;
const HEADER: usize = 32;

pub(super) static XIAOMI: Dissector = Dissector {
    name: "Xiaomi",
    category: AppCategory::Iot,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte == 0x21,
    ports: &[],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let fits = bytes.len() >= HEADER && be16(bytes, 2).map(usize::from) == Some(bytes.len());
    if be16(bytes, 0) == Some(MAGIC) && fits { Probe::Certain } else { Probe::No }
}

// The hello that asks who is there.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, udp};

    #[test]
    fn hello() {
        let hello = [hex("21310020"), vec![0xff; 28]].concat();
        assert_eq!(Run::new(udp(50_000, 9999)).client(&hello), Verdict::Decided("Xiaomi"));
        assert_eq!(Run::new(udp(50_000, 54_321)).client(&hello[..31]), Verdict::Undecided);
    }
}
