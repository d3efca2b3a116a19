//! IBM's DRDA, which Db2 and Derby speak (The Open Group, "DRDA, Volume 3: DDM").

use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, be16, name_only};

pub(super) static DRDA: Dissector = Dissector {
    name: "DRDA",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[(L4::TCP, 446)],
    probe,
    dissect: name_only,
};

const MARK: u8 = 0xd0;

/// Length, mark, format, number; then the length of the object and what it is.
fn message(bytes: &[u8]) -> Option<usize> {
    let (length, object) = (be16(bytes, 0)?, be16(bytes, 6)?);
    let format = bytes.get(3).is_some_and(|format| format & 0x80 == 0 && (1..=5).contains(&(format & 0x0f)));
    let sane = bytes.get(2) == Some(&MARK) && format && object >= 4 && Some(object) == length.checked_sub(6);
    sane.then_some(usize::from(length))
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if walk(bytes, message) == Fit::No { Probe::No } else { Probe::Certain }
}

// An exchange of attributes, put together after the specification.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn lengths_agree() {
        let ask = hex("0010 d0 01 0001 000a 1041 0006 115e 4141");
        assert_eq!(Run::new(tcp(40_000, 9999)).client(&ask), Verdict::Decided("DRDA"));
        assert_eq!(Run::new(tcp(40_000, 446)).client(&ask[..15]), Verdict::Undecided);
        assert_eq!(
            Run::new(tcp(40_000, 446)).client(&hex("0010 d0 01 0001 000b 1041 0006 115e 4141")),
            Verdict::Undecided
        );
    }
}
