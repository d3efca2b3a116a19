//! Apache Cassandra, CQL binary protocol 1 to 5 (the project's native_protocol_v*.spec).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::frames::{Fit, has, walk};
use super::{Carrier, Dissector, L7Context, Probe, Want, be32};

/// Longest frame that servers take: 256 MiB.
const MAX_BODY: u32 = 256 << 20;
const ERROR: u8 = 0;
const STARTUP: u8 = 1;
const AUTH_RESPONSE: u8 = 15;

pub(super) static CASSANDRA: Dissector = Dissector {
    name: "Cassandra",
    category: AppCategory::Database,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte & 0x7f, 1..=5 | 0x42),
    ports: &[(L4::TCP, 9042)],
    probe,
    dissect,
};

/// Where the operation code is: stream numbers have one byte up to version 2.
fn code_at(bytes: &[u8]) -> Option<usize> {
    Some(if bytes.first()? & 0x7f <= 2 { 3 } else { 4 })
}

fn opcode(bytes: &[u8]) -> Option<u8> {
    bytes.get(code_at(bytes)?).copied()
}

/// Length of the frame when it is one that a client, or with the top bit a server, may send.
fn frame(bytes: &[u8]) -> Option<usize> {
    let (version, flags) = (*bytes.first()?, *bytes.get(1)?);
    let code = opcode(bytes)?;
    let codes: &[u8] =
        if version & 0x80 == 0 { &[1, 4, 5, 7, 9, 10, 11, 13, 15] } else { &[0, 2, 3, 6, 8, 12, 14, 16] };
    let length = be32(bytes, code_at(bytes)? + 1).filter(|length| *length <= MAX_BODY)?;
    let sane = matches!(version & 0x7f, 1..=5 | 0x42);
    (sane && flags & !0x1f == 0 && codes.contains(&code)).then_some(code_at(bytes)? + 5 + length as usize)
}

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    match walk(bytes, frame) {
        Fit::No => Probe::No,
        _ if opcode(bytes) == Some(STARTUP) && !has(bytes, b"CQL_VERSION") => Probe::No,
        Fit::Whole => Probe::Certain,
        Fit::Cut => Probe::Maybe,
    }
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    let body = || code_at(bytes).and_then(|at| be32(bytes, at + 5).zip(bytes.get(at + 9)));
    match opcode(bytes) {
        Some(ERROR) => *status |= FlowStatus::ErrorCode.bit(),
        // Name and password, each behind a zero.
        Some(AUTH_RESPONSE) if matches!(body(), Some((3.., 0))) => {
            *status |= FlowStatus::ClearTextCredentials.bit();
        }
        _ => {}
    }
    Want::Next
}

// Bytes put together after the specification.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    #[test]
    fn all_versions() {
        let decided = Verdict::Decided("Cassandra");
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hex("0400 0000 05 00000000")), decided);
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&hex("0100 00 05 00000000")), decided);
        assert_eq!(Run::new(tcp(50_000, 9999)).server(&hex("8400 0000 02 00000000")), decided);
        let startup =
            [&hex("0500 0001 01 00000016 0001 000b")[..], b"CQL_VERSION", &hex("0005"), b"3.0.0"].concat();
        assert_eq!(Run::new(tcp(50_000, 9999)).client(&startup), decided);
        for length in 1..startup.len() {
            assert_eq!(Run::new(tcp(50_000, 9042)).client(&startup[..length]), Verdict::Undecided);
        }
        let answer = hex("8400 0000 05 00000000");
        assert_eq!(Run::new(tcp(50_000, 9042)).server(&answer), Verdict::Undecided);
    }

    #[test]
    fn a_password_and_an_error_are_noted() {
        let mut run = Run::new(tcp(50_000, 9042));
        let token = [&hex("0400 0002 0f 00000008 00000004 00")[..], b"a\0b"].concat();
        assert_eq!(run.client(&token), Verdict::Decided("Cassandra"));
        run.server(&hex("8400 0002 00 00000007 00000100 0001 78"));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
    }
}
