//! Ceph's messenger by its banners (Ceph documentation, "msgr1" and "msgr2").

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

const V1: &[u8] = b"ceph v0";
const V2: &[u8] = b"ceph v2\n";

pub(super) static CEPH: Dissector = Dissector {
    name: "Ceph",
    category: AppCategory::FileSharing,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'c',
    ports: &[(L4::TCP, 3300), (L4::TCP, 6789)],
    probe,
    dissect: name_only,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let v1 = bytes.starts_with(V1) && bytes.get(7..9).is_some_and(|tail| tail.iter().all(u8::is_ascii_digit));
    // Version 2 tells how much follows the banner: features supported and required.
    let v2 = bytes.starts_with(V2) && bytes.get(8..10).is_none_or(|length| length == [16, 0]);
    if v1 || v2 { Probe::Certain } else { Probe::No }
}

// Banners as the documentation gives them.
#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    /// Composed by hand after Ceph's documentation of msgr2: nothing that was recorded.
    #[test]
    fn banners() {
        let server = |bytes: &[u8]| Run::new(tcp(50_000, 9999)).server(bytes);
        assert_eq!(server(b"ceph v027"), Verdict::Decided("Ceph"));
        assert_eq!(server(b"ceph v2\n\x10\0\x01\0\0\0\0\0\0\0"), Verdict::Decided("Ceph"));
        assert_eq!(server(b"ceph v2\n\x11\0"), Verdict::Undecided);
        assert_eq!(server(b"ceph v0x7"), Verdict::Undecided);
        assert_eq!(server(b"ceph v"), Verdict::Undecided);
    }
}
