//! Soulseek (the Nicotine+ project's protocol documentation).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, walk};
use super::{Carrier, Dissector, L7Context, Probe, Want, le32};

const MAX_NAME: usize = 64;

pub(super) static SOULSEEK: Dissector = Dissector {
    name: "Soulseek",
    category: AppCategory::Download,
    breed: Breed::PotentiallyDangerous,
    carrier: Carrier::Tcp,
    first: |_| true,
    ports: &[(L4::TCP, 2242), (L4::TCP, 2234)],
    probe,
    dissect,
};

/// A string behind its length, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::try_from(le32(bytes, 0)?).ok().filter(|length| (1..=MAX_NAME).contains(length))?;
    bytes.get(4..)?.split_at_checked(length)
}

/// Name, password, version, MD5 of both in digits, minor version.
fn login(bytes: &[u8]) -> Option<()> {
    let (_, rest) = text(bytes.get(8..)?)?;
    let (_, rest) = text(rest)?;
    let version = le32(rest, 0)?;
    let (digest, _) = text(rest.get(4..)?)?;
    let digits = digest.len() == 32 && digest.iter().all(u8::is_ascii_hexdigit);
    (le32(bytes, 4)? == 1 && version < 1000 && digits).then_some(())
}

/// One byte: who I am. Then name, kind of connection, token.
fn peer(bytes: &[u8]) -> Option<()> {
    let (_, rest) = text(bytes.get(5..)?)?;
    let (kind, rest) = text(rest)?;
    let sane = bytes.get(4) == Some(&1) && matches!(kind, b"P" | b"F" | b"D") && rest.len() == 4;
    sane.then_some(())
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    let fit = walk(bytes, |bytes| Some(usize::try_from(le32(bytes, 0)?).ok()? + 4));
    let whole = bytes.len() > 12 && fit != Fit::No;
    let ours = |found: Option<()>| whole && found.is_some();
    if ours(login(bytes)) || (fit == Fit::Whole && ours(peer(bytes))) { Probe::Certain } else { Probe::No }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if login(bytes).is_some() {
        *status |= FlowStatus::ClearTextCredentials.bit();
    }
    Want::Nothing
}

// Bytes put together after the documentation.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn a_login_shows_its_password() {
        let body = [
            &hex("01000000 04000000")[..],
            b"user",
            &hex("06000000"),
            b"secret",
            &hex("a0000000 20000000"),
            b"d51c9a7e9353746a6020f9602d452929",
            &hex("11000000"),
        ]
        .concat();
        let login = [&[body.len() as u8, 0, 0, 0][..], &body].concat();
        let mut run = Run::new(tcp(50_000, 50_001));
        assert_eq!(run.client(&login), Verdict::Decided("Soulseek"));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
        assert_eq!(Run::new(tcp(50_000, 2242)).client(&login[..40]), Verdict::Undecided);
    }

    #[test]
    fn peers() {
        let hello =
            [&hex("12000000 01 04000000")[..], b"user", &hex("01000000"), b"P", &hex("00000000")].concat();
        assert_eq!(Run::new(tcp(50_000, 50_001)).client(&hello), Verdict::Decided("Soulseek"));
        assert_eq!(Run::new(tcp(50_000, 2234)).client(&hello[..21]), Verdict::Undecided);
    }
}
