//! PostgreSQL, protocols 2 and 3 (PostgreSQL documentation, "Frontend/Backend Protocol").

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, has, walk};
use super::{Carrier, Dissector, L7Context, Probe, Want, be32, tls};

/// Largest startup message (PostgreSQL's own limit).
const MAX_STARTUP: usize = 10_000;
const CANCEL: u32 = 0x04d2_162e;
const SSL: u32 = 0x04d2_162f;
/// Letters that begin a client's messages, and a server's.
const CLIENT: &[u8] = b"BCDEFHPQSXcdfp";
const SERVER: &[u8] = b"123ACDEGHIKNRSTVWZcdnstv";
const GSS: u32 = 0x04d2_1630;

pub(super) static POSTGRESQL: Dissector = Dissector {
    name: "PostgreSQL",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0 || byte.is_ascii_alphanumeric(),
    ports: &[(L4::TCP, 5432)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if startup(bytes) {
        return Probe::Certain;
    }
    // A server that is not asked for protocol 3 or refuses encryption answers with one letter.
    if bytes.len() < 5 {
        return Probe::No;
    }
    // A capture may begin in the middle, so that who asks is not certain.
    if ![CLIENT, SERVER].iter().any(|letters| walk(bytes, |bytes| message(bytes, letters)) == Fit::Whole) {
        return Probe::No;
    }
    if authentication(bytes).is_some() { Probe::Certain } else { Probe::Maybe }
}

/// Whether this is the first message of a client: it has no letter.
fn startup(bytes: &[u8]) -> bool {
    let (Some(length), Some(code)) = (be32(bytes, 0), be32(bytes, 4)) else { return false };
    if usize::try_from(length) != Ok(bytes.len()) || bytes.len() > MAX_STARTUP {
        return false;
    }
    match (code, bytes.len()) {
        (SSL | GSS, 8) | (CANCEL, 12..=268) | (0x0002_0000, 296) => true,
        (0x0003_0000..=0x0003_0009, 9..) => bytes.ends_with(&[0]) && has(bytes, b"user\0"),
        _ => false,
    }
}

/// The length of a message after the startup.
fn message(bytes: &[u8], letters: &[u8]) -> Option<usize> {
    let letter = bytes.first().filter(|letter| letters.contains(letter));
    let length = usize::try_from(be32(bytes, 1)?).ok()?;
    letter.filter(|_| (4..1 << 24).contains(&length)).map(|_| length + 1)
}

/// The kind of authentication that a server asks for; 0 when it is content.
fn authentication(bytes: &[u8]) -> Option<u32> {
    let (length, code) = (be32(bytes, 1)?, be32(bytes, 5)?);
    let asked = bytes.first() == Some(&b'R') && (8..2000).contains(&length) && code <= 12;
    asked.then_some(code)
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    if cx.from_client {
        return Want::Next;
    }
    match (bytes, authentication(bytes)) {
        ([b'S'], _) => Want::Become(&tls::TLS),
        ([b'E', ..], _) => {
            *status |= FlowStatus::ErrorCode.bit();
            Want::Nothing
        }
        (_, Some(0)) => Want::Nothing,
        (_, Some(3)) => {
            *status |= FlowStatus::ClearTextCredentials.bit();
            Want::Next
        }
        _ => Want::Next,
    }
}

// Bytes recorded between psql 15 and a server of that version.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    fn hello() -> Vec<u8> {
        hex("0000003f 00030000 7573657200 706f73746772657300 646174616261736500 706f737467726573 00
             6170706c69636174696f6e5f6e616d65 00 7073716c 00 00")
    }

    #[test]
    fn a_clear_password_and_a_refusal_are_noted() {
        let mut run = Run::new(tcp(50_000, 15_432));
        assert_eq!(run.client(&hello()), Verdict::Decided("PostgreSQL"));
        run.server(&hex("52 00000008 00000003"));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit());
        run.client(&hex("70 00000008 62616400"));
        assert_eq!(run.server(b"E\0\0\0\x0bSFATAL\0"), Verdict::Done);
        assert_ne!(run.status & FlowStatus::ErrorCode.bit(), 0);
    }

    #[test]
    fn after_the_servers_consent_it_is_tls() {
        let mut run = Run::new(tcp(50_000, 15_432));
        assert_eq!(run.client(&hex("00000008 04d2162f")), Verdict::Decided("PostgreSQL"));
        assert_eq!(run.server(b"S"), Verdict::Decided("TLS"));
        let mut run = Run::new(tcp(50_000, 15_432));
        run.client(&hex("00000008 04d2162f"));
        assert_eq!(run.server(b"N"), Verdict::Reading);
    }

    #[test]
    fn the_middle_of_a_session_needs_the_port_or_both_sides() {
        let query = b"Q\0\0\0\x0dselect 1\0";
        let ready = b"Z\0\0\0\x05I";
        assert_eq!(Run::new(tcp(50_000, 5432)).client(query), Verdict::Decided("PostgreSQL"));
        let mut run = Run::new(tcp(50_000, 6000));
        assert_eq!(run.client(query), Verdict::Undecided);
        assert_eq!(run.server(ready), Verdict::Decided("PostgreSQL"));
        assert_eq!(Run::new(tcp(50_000, 6000)).client(&query[..9]), Verdict::Undecided);
        assert_eq!(Run::new(tcp(50_000, 6000)).client(&hello()[..60]), Verdict::Undecided);
    }
}
