//! Apache Kafka (its protocol guide).

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16, be32};

/// Numbers of requests, and versions of any of them, that exist.
const MAX_KEY: u16 = 92;
const MAX_VERSION: u16 = 17;
/// Clients count their requests up from zero.
const MAX_CORRELATION: u32 = 1 << 24;
const MAX_LENGTH: usize = 1 << 24;
/// What comes before anything else: how to log in, which versions there are, and the login.
const SASL_HANDSHAKE: u16 = 17;
const API_VERSIONS: u16 = 18;
const SASL_AUTHENTICATE: u16 = 36;

pub(super) static KAFKA: Dissector = Dissector {
    name: "Kafka",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == 0,
    ports: &[(L4::TCP, 9092)],
    probe,
    dissect,
};

/// Reads on until the login has passed.
fn dissect(bytes: &[u8], cx: &L7Context, _: &mut L7Info, status: &mut StatusBits) -> Want {
    match be16(bytes, 4) {
        _ if !cx.from_client => Want::Next,
        Some(SASL_HANDSHAKE | API_VERSIONS) => Want::Next,
        Some(SASL_AUTHENTICATE) => {
            if login(bytes).is_some_and(is_plain) {
                *status |= FlowStatus::ClearTextCredentials.bit();
            }
            Want::Nothing
        }
        _ => Want::Nothing,
    }
}

/// What a login says: behind the client's name, with its length in front, which in later versions is one
/// more and has a byte of tags before it.
fn login(request: &[u8]) -> Option<&[u8]> {
    let rest = request.get(14 + usize::from(be16(request, 12)?)..)?;
    if let Some(length) = be32(rest, 0).filter(|length| *length as usize + 4 == rest.len()) {
        return rest.get(4..4 + length as usize);
    }
    let &[0, length @ 1..=127, ref token @ ..] = rest else { return None };
    token.get(..usize::from(length) - 1)
}

/// Who, as whom, and the password (RFC 4616 §2).
fn is_plain(token: &[u8]) -> bool {
    let mut parts = token.split(|byte| *byte == 0);
    let (_, user, password) = (parts.next(), parts.next(), parts.next());
    let is_said = |part: Option<&[u8]>| part.is_some_and(|part| !part.is_empty());
    is_said(user) && is_said(password) && parts.next().is_none()
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    let Some(length) = be32(bytes, 0).and_then(|length| usize::try_from(length).ok()) else {
        return Probe::No;
    };
    if !(4..=MAX_LENGTH).contains(&length) || length + 4 < bytes.len() {
        return Probe::No;
    }
    let whole = length + 4 == bytes.len();
    if !cx.from_client {
        // Answers name nothing but the request's number.
        let counted = be32(bytes, 4).is_some_and(|number| number < MAX_CORRELATION);
        return if whole && counted && length > 6 { Probe::Maybe } else { Probe::No };
    }
    let (Some(key), Some(version), Some(number)) = (be16(bytes, 4), be16(bytes, 6), be32(bytes, 8)) else {
        return Probe::No;
    };
    let client = be16(bytes, 12)
        .map(usize::from)
        .filter(|size| (1..=255).contains(size))
        .and_then(|size| bytes.get(14..14 + size));
    let legible = client.is_some_and(|client| client.iter().all(|byte| matches!(byte, b' '..=b'~')));
    let known = key <= MAX_KEY && version <= MAX_VERSION && number < MAX_CORRELATION && legible;
    // A long batch goes on in the next segment.
    match (known, whole || bytes.len() > 512) {
        (true, true) => Probe::Certain,
        (true, false) => Probe::Maybe,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    // Composed after the specification; tshark reads it so: the versions are asked for.
    const VERSIONS: &str = "00000011 0012 0000 00000001 0007 72646b61666b61";

    #[test]
    fn requests_name_their_client() {
        let request = hex(VERSIONS);
        assert_eq!(Run::new(tcp(50_000, 19_092)).client(&request), Verdict::Decided("Kafka"));
        for cut in 1..request.len() {
            assert_eq!(Run::new(tcp(50_000, 19_092)).client(&request[..cut]), Verdict::Undecided);
        }
        let mut wrong = request;
        wrong[4] = 1;
        assert_eq!(Run::new(tcp(50_000, 9092)).client(&wrong), Verdict::Undecided);
    }

    #[test]
    fn a_plain_login_is_a_password_in_the_clear() {
        let request = |key: u8, version: u8, rest: &[u8]| {
            let head = [&[0, key, 0, version, 0, 0, 0, 1, 0, 4][..], b"test", rest].concat();
            [&(head.len() as u32).to_be_bytes()[..], &head].concat()
        };
        let old = |token: &[u8]| request(36, 0, &[&(token.len() as u32).to_be_bytes()[..], token].concat());
        let new = |token: &[u8]| request(36, 2, &[&[0, token.len() as u8 + 1][..], token, &[0]].concat());
        for (login, told) in [
            (old(b"\0joe\0secret"), true),
            (new(b"admin\0joe\0secret"), true),
            (old(b"n,,n=joe,r=fyko+d2lbbFgONRv9qkxdawL"), false),
            (old(b"\0joe\0"), false),
            (new(b""), false),
        ] {
            let mut run = Run::new(tcp(50_000, 9092));
            assert_eq!(run.client(&request(17, 1, b"\0\x05PLAIN")), Verdict::Decided("Kafka"));
            run.server(&hex("00000011 00000001 0000 00000001 0005 504c41494e"));
            assert_eq!(run.client(&login), Verdict::Done);
            assert_eq!(run.status != 0, told, "{login:02x?}");
        }
        let mut run = Run::new(tcp(50_000, 9092));
        assert_eq!(run.client(&hex(VERSIONS)), Verdict::Decided("Kafka"));
        assert_eq!(run.client(&request(3, 1, &[0; 4])), Verdict::Done);
    }

    #[test]
    fn answers_count_on_the_port() {
        let answer = hex("0000000a 00000001 0000 00000000");
        assert_eq!(Run::new(tcp(50_000, 9092)).server(&answer), Verdict::Decided("Kafka"));
        assert_eq!(Run::new(tcp(50_000, 9093)).server(&answer), Verdict::Undecided);
    }
}
