//! LDAP (RFC 4511) over TCP, and its form without connections over UDP (RFC 1798).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::ber::{element, integer, tagged};
use super::text::contains;
use super::tls::TLS;
use super::{Carrier, Dissector, L7Context, Probe, Want};

const SEQUENCE: u8 = 0x30;
const OCTETS: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const BIND: u8 = 0x60;
const EXTENDED_RESPONSE: u8 = 0x78;
/// The object identifier of StartTLS (RFC 4511 §4.14).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// Results that are not failures: compared false or true, a referral, and a login under way.
const NO_FAILURES: [u8; 5] = [0, 5, 6, 10, 14];

pub(super) static LDAP: Dissector = Dissector {
    name: "LDAP",
    category: AppCategory::Authentication,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte == SEQUENCE,
    ports: &[(L4::TCP, 389), (L4::TCP, 3268), (L4::UDP, 389)],
    probe: |bytes, _| {
        if read(bytes).is_some_and(|message| is_operation(&message)) { Probe::Certain } else { Probe::No }
    },
    dissect,
};

struct Message<'a> {
    id: u32,
    operation: u8,
    body: &'a [u8],
    rest: &'a [u8],
}

fn read(bytes: &[u8]) -> Option<Message<'_>> {
    let message = element(bytes).filter(|message| message.tag == SEQUENCE)?;
    let (id, rest) = integer(message.body)?;
    let operation = element(rest)?;
    Some(Message { id, operation: operation.tag, body: operation.body, rest: message.rest })
}

/// Whether the operation begins as its kind does.
fn is_operation(message: &Message<'_>) -> bool {
    let body = message.body;
    let begins = |tag: u8| element(body).is_some_and(|element| element.tag == tag);
    match message.operation {
        BIND => integer(body)
            .is_some_and(|(version, rest)| matches!(version, 2 | 3) && rest.first() == Some(&OCTETS)),
        // Unbind has nothing in it, delete and abandon a name and a number without tags.
        0x42 => body.is_empty() && message.rest.is_empty(),
        0x4a => body.is_ascii() && contains(body, b"="),
        0x63 => tagged(body, OCTETS).is_some_and(|(_, rest)| rest.starts_with(&[ENUMERATED, 1])),
        0x61 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | EXTENDED_RESPONSE => tagged(body, ENUMERATED)
            .is_some_and(|(code, rest)| code.len() == 1 && rest.first() == Some(&OCTETS)),
        0x64 | 0x66 | 0x68 | 0x6c | 0x6e | 0x73 => begins(OCTETS),
        0x77 => element(body).is_some_and(|name| name.tag == 0x80 && name.body.starts_with(b"1.")),
        _ => false,
    }
}

fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    let mut rest = bytes;
    while let Some(message) = read(rest) {
        rest = message.rest;
        match message.operation {
            BIND if cx.from_client && has_password(message.body) => {
                *status |= FlowStatus::ClearTextCredentials.bit();
            }
            0x61 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | EXTENDED_RESPONSE => {
                let code = tagged(message.body, ENUMERATED).and_then(|(code, _)| code.first());
                if code.is_some_and(|code| !NO_FAILURES.contains(code)) {
                    *status |= FlowStatus::ErrorCode.bit();
                } else if message.operation == EXTENDED_RESPONSE && opens_tls(&message) {
                    return Want::Become(&TLS);
                }
            }
            _ => {}
        }
    }
    Want::Next
}

/// A simple bind with a password (RFC 4513 §5.1.3).
fn has_password(body: &[u8]) -> bool {
    let secret = integer(body).and_then(|(_, rest)| tagged(rest, OCTETS)).and_then(|(_, rest)| element(rest));
    secret.is_some_and(|secret| secret.tag == 0x80 && !secret.body.is_empty())
}

/// StartTLS answers name themselves or, as the first answer of a connection, nothing at all.
fn opens_tls(message: &Message<'_>) -> bool {
    let names_nothing = !message.body.iter().any(|byte| matches!(byte, 0x8a | 0x8b));
    contains(message.body, START_TLS) || (names_nothing && message.id <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp, udp};

    // Encoded by ldap3.
    const BIND_REQUEST: &str = "301c0201016017020103040c636e3d61646d696e2c633d78800470617373";
    const BIND_RESPONSE: &str = "300c02010161070a013104000400";
    const START_TLS_REQUEST: &str = "301d02010177188016312e332e362e312e342e312e313436362e3230303337";
    const ROOT_DSE: &str = "3025020102632004000a01000a0100020100020100010100870b6f626a656374436c6173733000";

    #[test]
    fn a_bind_with_a_password_and_its_refusal() {
        let mut run = Run::new(tcp(50_000, 10_389));
        assert_eq!(run.client(&hex(BIND_REQUEST)), Verdict::Decided("LDAP"));
        run.server(&hex(BIND_RESPONSE));
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
    }

    #[test]
    fn the_answer_to_start_tls_ends_it() {
        let mut run = Run::new(tcp(50_000, 389));
        assert_eq!(run.client(&hex(START_TLS_REQUEST)), Verdict::Decided("LDAP"));
        assert_eq!(run.server(&hex("300c 020101 7807 0a0100 0400 0400")), Verdict::Decided("TLS"));
    }

    #[test]
    fn searches_over_udp_and_cut_ones() {
        let search = hex(ROOT_DSE);
        assert_eq!(Run::new(udp(50_000, 389)).client(&search), Verdict::Decided("LDAP"));
        assert_eq!(Run::new(tcp(50_000, 389)).client(&search[..8]), Verdict::Undecided);
        let mut wrong = search;
        wrong[5] = 0x62;
        assert_eq!(Run::new(udp(50_000, 389)).client(&wrong), Verdict::Undecided);
    }
}
