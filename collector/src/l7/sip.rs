//! SIP (RFC 3261) over UDP and TCP.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{first_line, lines, starts};
use super::{Carrier, Dissector, L7Context, Probe, Want, sdp};

const METHODS: [&[u8]; 14] = [
    b"INVITE ",
    b"ACK ",
    b"BYE ",
    b"CANCEL ",
    b"OPTIONS ",
    b"REGISTER ",
    b"PRACK ",
    b"SUBSCRIBE ",
    b"NOTIFY ",
    b"PUBLISH ",
    b"INFO ",
    b"REFER ",
    b"MESSAGE ",
    b"UPDATE ",
];
const SCHEMES: [&[u8]; 4] = [b"sip:", b"sips:", b"tel:", b"urn:"];

pub(super) static SIP: Dissector = Dissector {
    name: "SIP",
    category: AppCategory::Voip,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte.is_ascii_uppercase(),
    ports: &[(L4::UDP, 5060), (L4::TCP, 5060), (L4::UDP, 5061), (L4::TCP, 5061)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if reply(bytes).is_some() {
        return Probe::Certain;
    }
    let Some(target) = METHODS.iter().find_map(|method| bytes.strip_prefix(*method)) else {
        return Probe::No;
    };
    let addressed = SCHEMES.iter().any(|scheme| target.len() >= scheme.len() && starts(target, scheme));
    match first_line(target) {
        Some((line, _)) if line.ends_with(b" SIP/2.0") => Probe::Certain,
        None if addressed => Probe::Certain,
        _ => Probe::No,
    }
}

/// The code of a reply's first line.
fn reply(bytes: &[u8]) -> Option<u16> {
    let digits: &[u8; 3] = bytes.strip_prefix(b"SIP/2.0 ")?.first_chunk()?;
    let number = digits.iter().all(u8::is_ascii_digit) && (b'1'..=b'6').contains(&digits[0]);
    number.then(|| digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

fn dissect(bytes: &[u8], _: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    let is_basic = |line: &[u8]| {
        [&b"Authorization: Basic "[..], b"Proxy-Authorization: Basic "].iter().any(|name| starts(line, name))
    };
    // Given up by RFC 3261 §22.1, and sent all the same.
    if !bytes.starts_with(b"SIP/") && lines(bytes).take_while(|line| !line.is_empty()).any(is_basic) {
        *status |= FlowStatus::ClearTextCredentials.bit();
    }
    // "Authenticate first" is how every registration begins.
    if reply(bytes).is_some_and(|code| code >= 400 && !matches!(code, 401 | 407)) {
        *status |= FlowStatus::ErrorCode.bit();
    }
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    if let Some(found) = head.and_then(|end| sdp::announced(bytes.get(end..)?)) {
        info.announced = Some(found.into());
    }
    Want::Always
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp, udp};

    // After RFC 3261 §24.2.
    const INVITE: &[u8] =
        b"INVITE sip:bob@biloxi.example.com SIP/2.0\r\nVia: SIP/2.0/UDP pc33.example.com\r\n\
        Content-Type: application/sdp\r\n\r\nv=0\r\nc=IN IP4 192.0.2.101\r\nm=audio 49172 RTP/AVP 0\r\n";

    #[test]
    fn requests_and_replies() {
        let mut run = Run::new(udp(50_000, 15_060));
        assert_eq!(run.client(INVITE), Verdict::Decided("SIP"));
        let found = run.info.announced.clone().unwrap();
        assert_eq!((found.port, found.protocol), (49_172, "RTP"));
        run.server(b"SIP/2.0 401 Unauthorized\r\n\r\n");
        assert_eq!(run.status, 0);
        run.server(b"SIP/2.0 486 Busy Here\r\n\r\n");
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
        assert_eq!(Run::new(tcp(50_000, 15_060)).server(b"SIP/2.0 180 Ringing\r\n"), Verdict::Decided("SIP"));
    }

    #[test]
    fn a_password_that_is_only_encoded_is_in_the_clear() {
        for (header, told) in [
            ("authorization: Basic am9lOnNlY3JldA==", true),
            ("Proxy-Authorization: Basic am9lOnNlY3JldA==", true),
            ("Authorization: Digest username=\"joe\"", false),
            ("\r\nAuthorization: Basic in the body", false),
        ] {
            let mut run = Run::new(udp(50_000, 5060));
            run.client(format!("SUBSCRIBE sip:a@example.com SIP/2.0\r\n{header}\r\n\r\n").as_bytes());
            assert_eq!(run.status != 0, told, "{header}");
        }
    }

    #[test]
    fn the_same_methods_of_other_protocols() {
        for line in [
            &b"OPTIONS rtsp://x/ RTSP/1.0\r\n"[..],
            b"NOTIFY * HTTP/1.1\r\n",
            b"INFO \r\n",
            b"SIP/2.0 7",
            b"INVITE si",
        ] {
            assert_ne!(Run::new(udp(50_000, 5060)).client(line), Verdict::Decided("SIP"));
        }
    }
}
