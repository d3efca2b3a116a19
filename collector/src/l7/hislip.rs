//! HiSLIP of measuring instruments (IVI-6.1).

use shared::model::{AppCategory, Breed, L4};

use super::frames::be64;
use super::{Carrier, Dissector, Probe, name_only};

pub(super) static HISLIP: Dissector = Dissector {
    name: "HiSLIP",
    category: AppCategory::Industrial,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'H',
    ports: &[(L4::TCP, 4880)],
    probe: |bytes, _| {
        // Mark, kind, control code, parameter, length of the data.
        let known = matches!(bytes, [b'H', b'S', 0..=37, ..]);
        let fits = be64(bytes, 8).is_some_and(|length| length.checked_add(16) == Some(bytes.len() as u64));
        if known && fits { Probe::Certain } else { Probe::No }
    },
    dissect: name_only,
};

// A message put together after the specification.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn lengths_agree() {
        let open = [b"HS", &hex("00 00 01005858 0000000000000007")[..], b"hislip0"].concat();
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&open), Verdict::Decided("HiSLIP"));
        assert_eq!(Run::new(tcp(50_000, 4880)).client(&open[..22]), Verdict::Undecided);
    }
}
