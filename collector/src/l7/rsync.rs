//! rsync's own protocol (its daemon mode).

use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static RSYNC: Dissector = Dissector {
    name: "RSYNC",
    category: AppCategory::FileTransfer,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'@',
    ports: &[(L4::TCP, 873)],
    probe,
    dissect: name_only,
};

/// Both sides begin with the version that they speak.
fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    match bytes.strip_prefix(b"@RSYNCD: ").and_then(<[u8]>::first) {
        Some(digit) if digit.is_ascii_digit() => Probe::Certain,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn either_side_says_its_version() {
        let hello = b"@RSYNCD: 31.0 sha512 sha256 sha1 md5 md4\n";
        assert_eq!(Run::new(tcp(50_000, 8730)).client(hello), Verdict::Decided("RSYNC"));
        assert_eq!(Run::new(tcp(50_000, 8730)).server(b"@RSYNCD: 30.0\n"), Verdict::Decided("RSYNC"));
        assert_eq!(Run::new(tcp(50_000, 8730)).server(b"@RSYNCD: OK\n"), Verdict::Undecided);
    }
}
