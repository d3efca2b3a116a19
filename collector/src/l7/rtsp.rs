//! RTSP 1.0 and 2.0 (RFC 2326, RFC 7826).

use std::net::IpAddr;

use shared::model::flow::{Announced, L7Info};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{contains, first_line, lines, starts};
use super::{Carrier, Dissector, L7Context, Probe, Want};

const METHODS: [&[u8]; 11] = [
    b"OPTIONS ",
    b"DESCRIBE ",
    b"ANNOUNCE ",
    b"SETUP ",
    b"PLAY ",
    b"PAUSE ",
    b"TEARDOWN ",
    b"GET_PARAMETER ",
    b"SET_PARAMETER ",
    b"REDIRECT ",
    b"RECORD ",
];

pub(super) static RTSP: Dissector = Dissector {
    name: "RTSP",
    category: AppCategory::Streaming,
    breed: Breed::Acceptable,
    carrier: Carrier::Either,
    first: |byte| byte.is_ascii_uppercase(),
    ports: &[(L4::TCP, 554), (L4::TCP, 8554), (L4::UDP, 554)],
    probe,
    dissect,
};

fn probe(bytes: &[u8], _: &L7Context) -> Probe {
    if bytes.starts_with(b"RTSP/1.0 ") || bytes.starts_with(b"RTSP/2.0 ") {
        return Probe::Certain;
    }
    let Some(target) = METHODS.iter().find_map(|method| bytes.strip_prefix(*method)) else {
        return Probe::No;
    };
    let line = first_line(target).map(|(line, _)| line);
    let versioned = line.is_some_and(|line| line.ends_with(b" RTSP/1.0") || line.ends_with(b" RTSP/2.0"));
    if versioned || starts(target, b"rtsp://") { Probe::Certain } else { Probe::No }
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    if bytes.starts_with(b"RTSP/") {
        let code = bytes.get(9..12).unwrap_or_default();
        if matches!(code, [b'4' | b'5', ..]) && code != b"401" {
            *status |= FlowStatus::ErrorCode.bit();
        }
    }
    for line in lines(bytes).take(64) {
        if starts(line, b"Authorization: Basic ") {
            *status |= FlowStatus::ClearTextCredentials.bit();
        } else if !cx.from_client
            && starts(line, b"Transport:")
            && let Some(found) = transport(line, cx.client)
        {
            info.announced = Some(found.into());
        }
    }
    Want::Next
}

/// Where the medium will go, if it goes over UDP.
fn transport(line: &[u8], client: IpAddr) -> Option<Announced> {
    if contains(line, b"/TCP") || contains(line, b"interleaved") {
        return None;
    }
    let ports =
        line.split(|byte| *byte == b';').find_map(|part| part.trim_ascii().strip_prefix(b"client_port="))?;
    let first = ports.split(|byte| *byte == b'-').next()?;
    let port = std::str::from_utf8(first).ok()?.parse().ok()?;
    Some(Announced { ip: client, port, l4: L4::UDP, protocol: "RTP" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    #[test]
    fn a_stream_is_set_up() {
        let mut run = Run::new(tcp(50_000, 10_554));
        assert_eq!(run.client(b"SETUP rtsp://a/b/1 RTSP/1.0\r\nCSeq: 3\r\n\r\n"), Verdict::Decided("RTSP"));
        run.server(b"RTSP/1.0 200 OK\r\nTransport: RTP/AVP;unicast;client_port=4588-4589;server_port=6256-6257\r\n\r\n");
        let found = run.info.announced.clone().unwrap();
        assert_eq!((found.port, found.ip.to_string()), (4588, "192.0.2.1".to_owned()));
        run.client(b"DESCRIBE rtsp://a/b RTSP/1.0\r\nAuthorization: Basic YTpi\r\n\r\n");
        run.server(b"RTSP/1.0 404 Not Found\r\n\r\n");
        assert_eq!(run.status, FlowStatus::ClearTextCredentials.bit() | FlowStatus::ErrorCode.bit());
    }

    #[test]
    fn methods_of_others() {
        for line in
            [&b"OPTIONS * HTTP/1.1\r\n"[..], b"OPTIONS sip:a@b SIP/2.0\r\n", b"PLAY \r\n", b"RTSP/3.0 200"]
        {
            assert_ne!(Run::new(tcp(50_000, 554)).client(line), Verdict::Decided("RTSP"));
        }
    }
}
