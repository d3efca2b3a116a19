//! The Lustre file system's network over TCP (LNet's socket driver, its sources).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, be32, le32, name_only};

pub(super) static LUSTRE: Dissector = Dissector {
    name: "Lustre",
    category: AppCategory::FileTransfer,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 0x00 | 0xac | 0xed | 0xee),
    ports: &[(L4::TCP, 988)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    // Who is asked for, or hello, in either order of bytes.
    let magic = [be32(bytes, 0), le32(bytes, 0)];
    let known = magic.iter().flatten().any(|magic| matches!(magic, 0xacce_7100 | 0xeebc_0ded));
    if known && bytes.len() >= 12 { Probe::Certain } else { Probe::No }
}

// Put together after the sources.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn connections_begin_with_magic() {
        let ask = hex("0071ceac 01000000 010200c0 00000200");
        assert_eq!(Run::new(tcp(1021, 988)).client(&ask), Verdict::Decided("Lustre"));
        assert_eq!(Run::new(tcp(1021, 988)).client(&ask[..11]), Verdict::Undecided);
    }
}
