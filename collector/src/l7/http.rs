//! HTTP/1 heads (RFC 9112), and the preface of HTTP/2 in the clear (RFC 9113 §3.4).

use shared::model::flow::{HttpInfo, L7Info};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{MAX_TEXT, first_line, is_address, starts, wire_name, wire_text};
use super::{Carrier, Dissector, L7Context, Probe, Want, name_only};

/// Longest request target kept, in bytes.
const MAX_URL: usize = 1024;

pub(super) static HTTP: Dissector = Dissector {
    name: "HTTP",
    category: AppCategory::Web,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte.is_ascii_alphabetic(),
    ports: &[(L4::TCP, 80), (L4::TCP, 8080), (L4::TCP, 8000), (L4::TCP, 8008), (L4::TCP, 3128)],
    probe,
    dissect,
};

pub(super) static HTTP2: Dissector = Dissector {
    name: "HTTP2",
    category: AppCategory::Web,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| byte == b'P',
    ports: &[],
    probe: |bytes, cx| match bytes {
        [b'P', b'R', b'I', ..] if cx.l4 == L4::TCP && bytes.starts_with(b"PRI * HTTP/2.0\r\n") => {
            Probe::Certain
        }
        _ => Probe::No,
    },
    dissect: name_only,
};

/// Methods of RFC 9110, PATCH, WebDAV (RFC 4918, 3253) and UPnP eventing.
const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"HEAD",
    b"PUT",
    b"DELETE",
    b"OPTIONS",
    b"CONNECT",
    b"TRACE",
    b"PATCH",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
    b"NOTIFY",
];

/// The method that `bytes` begin with, its space included.
fn method(bytes: &[u8]) -> Option<&'static [u8]> {
    METHODS.iter().copied().find(|m| bytes.starts_with(m) && bytes.get(m.len()) == Some(&b' '))
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::TCP {
        return Probe::No;
    }
    if bytes.starts_with(b"HTTP/1.") {
        return match response(bytes) {
            Some(_) => Probe::Certain,
            None if bytes.len() < 12 => Probe::Maybe,
            None => Probe::No,
        };
    }
    if bytes.first().is_none_or(|byte| !byte.is_ascii_uppercase()) {
        return Probe::No;
    }
    let Some(method) = method(bytes) else {
        let begun =
            bytes.len() >= 2 && METHODS.iter().any(|m| m.len() >= bytes.len() && m.starts_with(bytes));
        return if begun { Probe::Maybe } else { Probe::No };
    };
    match first_line(bytes) {
        Some((line, _)) if request(line).is_some() => Probe::Certain,
        Some(_) => Probe::No,
        None => {
            let target = bytes.get(method.len() + 1..).unwrap_or_default();
            let target = target.strip_suffix(b"\r").unwrap_or(target);
            let printable = target.iter().take(64).all(|byte| byte.is_ascii_graphic() || *byte == b' ');
            if printable { Probe::Maybe } else { Probe::No }
        }
    }
}

/// Method and target of a request line.
fn request(line: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let method = method(line)?;
    let rest = line.get(method.len() + 1..)?;
    let (target, version) = rest.split_at_checked(rest.iter().rposition(|byte| *byte == b' ')?)?;
    version.starts_with(b" HTTP/1.").then_some((method, target))
}

/// Code of a status line.
fn response(line: &[u8]) -> Option<u16> {
    let (minor, rest) = line.strip_prefix(b"HTTP/1.")?.split_first()?;
    let code: &[u8; 3] = rest.strip_prefix(b" ")?.first_chunk()?;
    if !minor.is_ascii_digit() || !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(code.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    let Some((line, mut rest)) = first_line(bytes) else {
        // Also bodies come here; only what may become a head is kept.
        return if probe(bytes, cx) == Probe::No { Want::Always } else { Want::Longer };
    };
    let (request, code) = (request(line), response(line));
    if request.is_none() && code.is_none() {
        return Want::Always;
    }
    let http = info.http.get_or_insert_with(HttpInfo::default);
    if let Some((method, target)) = request {
        http.method = wire_text(method, MAX_TEXT);
        http.url = wire_text(target, MAX_URL);
    }
    let mut complete = false;
    while let Some((line, behind)) = first_line(rest) {
        rest = behind;
        if line.is_empty() {
            complete = true;
            break;
        }
        header(line, request.is_some(), http, status);
    }
    if !complete {
        return Want::Longer;
    }
    match code {
        // What follows is another protocol.
        Some(101) => http.status = 101,
        Some(code) if code >= 200 => {
            http.status = code;
            if code >= 400 {
                *status |= FlowStatus::ErrorCode.bit();
            } else if &*http.method == "CONNECT" {
                return Want::Nothing;
            }
        }
        // Interim answers are no answers.
        _ => {}
    }
    if code == Some(101) { Want::Nothing } else { Want::Always }
}

fn header(line: &[u8], is_request: bool, http: &mut HttpInfo, status: &mut StatusBits) {
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        // A line that goes on begins with a blank (RFC 9112 §5.2).
        if !line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            *status |= FlowStatus::MalformedPacket.bit();
        }
        return;
    };
    let name = line.get(..colon).unwrap_or_default();
    let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
    if !is_request {
        if is("Content-Type") {
            http.content_type = wire_text(value, MAX_TEXT);
        } else if is("Server") {
            http.server = wire_text(value, MAX_TEXT);
        }
    } else if is("Host") {
        http.host = wire_name(value);
        if is_address(&http.host) {
            *status |= FlowStatus::NumericHost.bit();
        }
    } else if is("User-Agent") {
        http.user_agent = wire_text(value, MAX_TEXT);
    } else if (is("Authorization") || is("Proxy-Authorization")) && starts(value, b"Basic ") {
        *status |= FlowStatus::ClearTextCredentials.bit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, tcp};

    const GET: &[u8] =
        b"GET /a?b=c HTTP/1.1\r\nHost: Example.COM\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n";
    const OK: &[u8] =
        b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 3\r\n\r\nabc";

    #[test]
    fn request_and_answer_fill_the_record() {
        let mut run = Run::new(tcp(50_000, 80));
        assert_eq!(run.client(GET), Verdict::Decided("HTTP"));
        assert_eq!(run.server(OK), Verdict::Reading);
        let http = run.info.http.clone().unwrap();
        assert_eq!((&*http.method, &*http.host, &*http.url), ("GET", "example.com", "/a?b=c"));
        assert_eq!((&*http.user_agent, &*http.server, http.status), ("curl/7.88.1", "nginx", 200));
        assert_eq!(&*http.content_type, "text/html; charset=utf-8");
        assert_eq!(run.status, 0);
    }

    #[test]
    fn a_flow_may_start_with_the_answer_and_goes_on_with_the_next_request() {
        let mut run = Run::new(tcp(50_000, 8123));
        assert_eq!(run.server(b"HTTP/1.0 404 Not Found\r\n\r\n"), Verdict::Decided("HTTP"));
        assert_eq!(run.status, FlowStatus::ErrorCode.bit());
        run.client(b"some body bytes");
        run.client(GET);
        let http = run.info.http.clone().unwrap();
        assert_eq!((&*http.method, http.status), ("GET", 404));
    }

    #[test]
    fn a_head_may_come_in_pieces() {
        for cut in 1..GET.len() - 1 {
            let mut run = Run::new(tcp(50_000, 8123));
            run.client(&GET[..cut]);
            run.client(&GET[cut..]);
            if cut == 1 {
                // One letter says nothing.
                continue;
            }
            let http = run.info.http.clone().unwrap_or_default();
            assert_eq!((&*http.host, &*http.user_agent), ("example.com", "curl/7.88.1"), "cut at {cut}");
        }
    }

    #[test]
    fn remarkable_heads_set_their_bits() {
        let cases: [(&[u8], FlowStatus); 4] = [
            (b"GET / HTTP/1.1\r\nHost: 10.1.2.3:8080\r\n\r\n", FlowStatus::NumericHost),
            (b"GET / HTTP/1.1\r\nAuthorization: Basic dTpw\r\n\r\n", FlowStatus::ClearTextCredentials),
            (
                b"CONNECT a:1 HTTP/1.1\r\nproxy-authorization: basic dTpw\r\n\r\n",
                FlowStatus::ClearTextCredentials,
            ),
            (b"GET / HTTP/1.1\r\nno colon here\r\n\r\n", FlowStatus::MalformedPacket),
        ];
        for (head, status) in cases {
            let mut run = Run::new(tcp(50_000, 80));
            run.client(head);
            assert_eq!(run.status, status.bit(), "{status:?}");
        }
    }

    #[test]
    fn tunnels_and_upgrades_end_the_reading() {
        let mut run = Run::new(tcp(50_000, 3128));
        run.client(b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n");
        assert_eq!(run.server(b"HTTP/1.1 200 Connection established\r\n\r\n"), Verdict::Done);
        let mut run = Run::new(tcp(50_000, 80));
        run.client(GET);
        assert_eq!(
            run.server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"),
            Verdict::Done
        );
        assert_eq!(run.info.http.unwrap().status, 101);
    }

    #[test]
    fn look_alikes_are_not_http() {
        for bytes in [
            &b"OPTIONS rtsp://a/b RTSP/1.0\r\n"[..],
            b"GET lost\r\n",
            b"HTTP/1.1 2x0 OK\r\n\r\n",
            b"GET \x01\x02",
        ] {
            assert_ne!(Run::new(tcp(50_000, 8123)).client(bytes), Verdict::Decided("HTTP"));
        }
    }

    #[test]
    fn the_preface_of_http2_is_known() {
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(Run::new(tcp(50_000, 8123)).client(preface), Verdict::Decided("HTTP2"));
    }

    #[test]
    fn an_endless_target_is_cut() {
        let head = [b"GET /", &[b'x'; 3000][..], b" HTTP/1.1\r\n\r\n"].concat();
        let mut run = Run::new(tcp(50_000, 80));
        run.client(&head);
        assert_eq!(run.info.http.unwrap().url.len(), MAX_URL);
    }
}
