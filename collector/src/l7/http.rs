//! HTTP/1 heads (RFC 9112), and what they lead to: tunnels, proxies, WebSocket, HTTP/2.

mod risks;
mod words;

use shared::model::flow::{HttpInfo, L7Info};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{MAX_TEXT, first_line, is_address, starts, wire_name, wire_text};
use super::tls::{self, secured};
use super::{Carrier, Dissector, L7Context, Probe, Want, http2, name_only};

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

/// A flow that asks a proxy for a tunnel (RFC 9110 §9.3.6).
pub(super) static HTTP_CONNECT: Dissector = Dissector {
    name: "HTTP_Connect",
    category: AppCategory::Proxy,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| false,
    ports: &[],
    probe: |_, _| Probe::No,
    dissect,
};

/// A flow that asks a proxy for whole URLs, on the ports that proxies have.
pub(super) static HTTP_PROXY: Dissector = Dissector {
    name: "HTTP_Proxy",
    category: AppCategory::Proxy,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| false,
    ports: &[(L4::TCP, 3128), (L4::TCP, 8080)],
    probe: |_, _| Probe::No,
    dissect,
};

/// Messages both ways after an upgrade (RFC 6455).
pub(super) static WEBSOCKET: Dissector = Dissector {
    name: "WebSocket",
    category: AppCategory::Web,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| false,
    ports: &[],
    probe: |_, _| Probe::No,
    dissect: name_only,
};

/// What a tunnel carries, when it is TLS; the flow keeps its name.
static TUNNEL: Dissector =
    secured::stage("HTTP_Connect", AppCategory::Proxy, Breed::Acceptable, |bytes, cx, info, status| {
        match tls::dissect(bytes, cx, info, status) {
            Want::Become(_) => Want::Next,
            want => want,
        }
    });

/// Methods of RFC 9110, PATCH, WebDAV (RFC 4918, 3253, 3744, 5842, 4791), UPnP eventing, caches, and
/// those of Microsoft's RPC over HTTP and configuration manager.
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
    b"MERGE",
    b"CHECKOUT",
    b"CHECKIN",
    b"MKACTIVITY",
    b"MKCALENDAR",
    b"ACL",
    b"BIND",
    b"LINK",
    b"UNLINK",
    b"PURGE",
    b"BPROPFIND",
    b"POLL",
    b"RPC_IN_DATA",
    b"RPC_OUT_DATA",
    b"RPC_CONNECT",
    b"CCM_POST",
    b"BITS_POST",
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
    let http = info.http.get_or_insert_default();
    if let Some((method, target)) = request {
        http.method = wire_text(method, MAX_TEXT);
        http.url = wire_text(target, MAX_URL);
    }
    let mut complete = false;
    let mut head = Head::default();
    while let Some((line, behind)) = first_line(rest) {
        rest = behind;
        if line.is_empty() {
            complete = true;
            break;
        }
        head.line(line, request.is_some(), http, status);
    }
    if !complete {
        return Want::Longer;
    }
    if let Some(hint) = hint(&http.url, &http.content_type, head.soap) {
        info.hint = hint.into();
    }
    if let Some((_, target)) = request {
        *status |= risks::of_request(target, http, head.agent, rest);
    }
    match code {
        Some(code) if code >= 200 => {
            http.status = code;
            *status |= risks::of_answer(http, rest);
            if code >= 400 {
                *status |= FlowStatus::ErrorCode.bit();
            } else if &*http.method == "CONNECT" {
                return Want::Become(&TUNNEL);
            }
        }
        // What follows is another protocol.
        Some(101) => {
            http.status = 101;
            return switched(head.upgrade);
        }
        // Interim answers are no answers.
        Some(_) => {}
        None if &*http.method == "CONNECT" => return Want::Become(&HTTP_CONNECT),
        None if is_proxied(&http.url, cx) => return Want::Become(&HTTP_PROXY),
        None => {}
    }
    Want::Always
}

/// What else than the host tells an application: as a type of content, which the table of applications
/// knows.
fn hint<'a>(url: &str, content_type: &'a str, soap: bool) -> Option<&'a str> {
    let path = url.split('?').next().unwrap_or_default();
    if soap {
        // The header of SOAP 1.1 (W3C Note, §6.1.1); 1.2 has its own type.
        Some("application/soap+xml")
    } else if url.contains("info_hash=") && (path.ends_with("/announce") || path.ends_with("/scrape")) {
        // BEP 3, "Trackers", and its convention of /scrape.
        Some("application/x-bittorrent")
    } else if path.ends_with(".mpd") || path.ends_with(".m4s") {
        // Manifest and segments of ISO/IEC 23009-1.
        Some("application/dash+xml")
    } else {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        (!kind.is_empty()).then_some(kind)
    }
}

/// The protocol that a server switches to.
fn switched(upgrade: &[u8]) -> Want {
    if upgrade.eq_ignore_ascii_case(b"websocket") {
        Want::Become(&WEBSOCKET)
    } else if upgrade.eq_ignore_ascii_case(b"h2c") {
        Want::Become(&http2::HTTP2)
    } else {
        Want::Nothing
    }
}

/// Whether a request is for a proxy: a whole URL, on a proxy's port.
fn is_proxied(url: &str, cx: &L7Context) -> bool {
    let whole = ["http://", "https://", "ftp://"].iter().any(|scheme| url.starts_with(scheme));
    whole && matches!(cx.server_port, 3128 | 8080)
}

/// What of a head is of interest only until its end.
#[derive(Default)]
struct Head<'a> {
    upgrade: &'a [u8],
    agent: Option<&'a [u8]>,
    soap: bool,
}

impl<'a> Head<'a> {
    fn line(&mut self, line: &'a [u8], is_request: bool, http: &mut HttpInfo, status: &mut StatusBits) {
        let Some(colon) = memchr::memchr(b':', line) else {
            // A line that goes on begins with a blank (RFC 9112 §5.2).
            if !line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
                *status |= FlowStatus::MalformedPacket.bit();
            }
            return;
        };
        let name = line.get(..colon).unwrap_or_default();
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        *status |= risks::of_value(value);
        if risks::is_odd_name(name) {
            *status |= FlowStatus::HttpSuspiciousHeader.bit();
        }
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        match (name.len(), is_request) {
            (4, true) if is(b"Host") => {
                http.host = wire_name(value);
                if is_address(&http.host) {
                    *status |= FlowStatus::NumericHost.bit();
                }
            }
            (6, false) if is(b"Server") => http.server = wire_text(value, MAX_TEXT),
            (7, _) if is(b"Upgrade") => self.upgrade = value,
            (10, _) if is(b"SOAPAction") => self.soap = true,
            (10, true) if is(b"User-Agent") => {
                self.agent = Some(value);
                http.user_agent = wire_text(value, MAX_TEXT);
            }
            (12, false) if is(b"Content-Type") => http.content_type = wire_text(value, MAX_TEXT),
            (13 | 19, true)
                if (is(b"Authorization") || is(b"Proxy-Authorization")) && starts(value, b"Basic ") =>
            {
                *status |= FlowStatus::ClearTextCredentials.bit();
            }
            _ => {}
        }
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
    fn tunnels_have_their_own_name_and_tell_the_hello_inside() {
        let mut run = Run::new(tcp(50_000, 3128));
        let connect = b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n";
        assert_eq!(run.client(connect), Verdict::Decided("HTTP_Connect"));
        assert_eq!(run.server(b"HTTP/1.1 407 Who\r\n\r\n"), Verdict::Reading);
        assert_eq!(run.client(connect), Verdict::Reading);
        assert_eq!(run.server(b"HTTP/1.1 200 Connection established\r\n\r\n"), Verdict::Reading);
        let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
        assert_eq!(run.client(&hello), Verdict::Reading);
        assert_eq!(run.info.tls.unwrap().version, 0x0303);
    }

    #[test]
    fn whole_urls_are_for_proxies() {
        let ask = b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n";
        let mut run = Run::new(tcp(50_000, 3128));
        assert_eq!(run.client(ask), Verdict::Decided("HTTP_Proxy"));
        assert_eq!(run.server(OK), Verdict::Reading);
        assert_eq!(run.client(ask), Verdict::Reading);
        assert_eq!(run.info.http.unwrap().status, 200);
        assert_eq!(Run::new(tcp(50_000, 80)).client(ask), Verdict::Decided("HTTP"));
        assert_eq!(Run::new(tcp(50_000, 8080)).client(GET), Verdict::Decided("HTTP"));
    }

    #[test]
    fn upgrades_give_another_name() {
        for (protocol, name) in [("WebSocket", "WebSocket"), ("h2c", "HTTP2")] {
            let mut run = Run::new(tcp(50_000, 80));
            run.client(GET);
            let answer = format!("HTTP/1.1 101 Switching Protocols\r\nupgrade: {protocol}\r\n\r\n");
            assert_eq!(run.server(answer.as_bytes()), Verdict::Decided(name));
            assert_eq!(run.info.http.unwrap().status, 101);
        }
        let mut run = Run::new(tcp(50_000, 80));
        run.client(GET);
        assert_eq!(run.server(b"HTTP/1.1 101 Go\r\nUpgrade: other\r\n\r\n"), Verdict::Done);
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
    fn an_endless_target_is_cut() {
        let head = [b"GET /", &[b'x'; 3000][..], b" HTTP/1.1\r\n\r\n"].concat();
        let mut run = Run::new(tcp(50_000, 80));
        run.client(&head);
        assert_eq!(run.info.http.unwrap().url.len(), MAX_URL);
    }
}
