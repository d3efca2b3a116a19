//! Tinc's meta connection (its manual, "The meta-protocol").

use shared::model::{AppCategory, Breed, L4};

use super::text::first_line;
use super::{Carrier, Dissector, L7Context, Probe, name_only};

pub(super) static TINC: Dissector = Dissector {
    name: "TINC",
    category: AppCategory::Vpn,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'0',
    ports: &[(L4::TCP, 655)],
    probe,
    dissect: name_only,
};

/// Both sides begin with request zero, their name, and the version of the protocol.
fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let Some((line, _)) = first_line(bytes) else {
        return Probe::No;
    };
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(b"0"), Some(name), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Probe::No;
    };
    let named = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let major = version.split(|byte| *byte == b'.').next().unwrap_or_default();
    if named && matches!(major, [b'1', b'4'..=b'8']) { Probe::Certain } else { Probe::No }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn names_and_versions() {
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(b"0 alpha 17.7\n"), Verdict::Decided("TINC"));
        for line in [&b"0 alpha 17"[..], b"0 al-pha 17\n", b"0 alpha 2\n", b"0 alpha 17 x\n"] {
            assert_eq!(Run::new(tcp(50_000, 655)).client(line), Verdict::Undecided);
        }
    }
}
