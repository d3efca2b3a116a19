//! HTTP/1 heads (RFC 9112), and what they lead to: tunnels, proxies, WebSocket, HTTP/2.

mod program;
pub(super) mod risks;
mod words;

use shared::model::flow::{HttpInfo, L7Info};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{MAX_TEXT, first_line, is_address, starts, wire_name, wire_text, without_port};
use super::tls::{self, secured};
use super::{Carrier, Dissector, L7Context, Probe, Want, host, http2, name_only};

/// Longest request target kept, in bytes.
pub(super) const MAX_URL: usize = 1024;

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
pub(super) fn method(bytes: &[u8]) -> Option<&'static [u8]> {
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
    *status |= risks::of_head(bytes.get(..bytes.len() - rest.len()).unwrap_or_default());
    if let Some(hint) = hint(http, head.soap) {
        info.hint = hint.into();
    }
    if let Some((_, target)) = request {
        *status |= risks::of_request(target, http, head.agent, rest);
    }
    match code {
        Some(code) if code >= 200 => {
            note_code(code, http, status);
            *status |= risks::of_answer(http, rest);
            if code < 400 && &*http.method == "CONNECT" {
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
pub(super) fn hint(http: &HttpInfo, soap: bool) -> Option<&str> {
    let url = http.url.as_bytes();
    let path = memchr::memchr(b'?', url).and_then(|end| url.get(..end)).unwrap_or(url);
    if matches!(&*http.method, "PROPFIND" | "PROPPATCH" | "MKCOL" | "COPY" | "MOVE" | "LOCK" | "UNLOCK") {
        // The methods of RFC 4918.
        Some("application/webdav")
    } else if http.server.starts_with("Icecast") {
        Some("application/icecast")
    } else if soap {
        // The header of SOAP 1.1 (W3C Note, §6.1.1); 1.2 has its own type.
        Some("application/soap+xml")
    } else if (path.ends_with(b"/announce") || path.ends_with(b"/scrape")) && http.url.contains("info_hash=")
    {
        // BEP 3, "Trackers", and its convention of /scrape.
        Some("application/x-bittorrent")
    } else if path.ends_with(b".mpd") || path.ends_with(b".m4s") {
        // Manifest and segments of ISO/IEC 23009-1.
        Some("application/dash+xml")
    } else {
        let kind = http.content_type.split(';').next().unwrap_or_default().trim();
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

/// Notes what a field says, in whichever version it is sent.
pub(super) fn note(name: &[u8], value: &[u8], asks: bool, http: &mut HttpInfo, status: &mut StatusBits) {
    *status |= risks::of_value(value);
    if risks::is_odd_name(name) {
        *status |= FlowStatus::HttpSuspiciousHeader.bit();
    }
    let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
    match (name.len(), asks) {
        (4, true) if is(b"Host") => note_host(value, http, status),
        (6, false) if is(b"Server") => http.server = wire_text(value, MAX_TEXT),
        (10, true) if is(b"User-Agent") => http.user_agent = wire_text(value, MAX_TEXT),
        (12, false) if is(b"Content-Type") => http.content_type = wire_text(value, MAX_TEXT),
        (13 | 19, true)
            if (is(b"Authorization") || is(b"Proxy-Authorization")) && starts(value, b"Basic ") =>
        {
            *status |= FlowStatus::ClearTextCredentials.bit();
        }
        _ => {}
    }
}

/// Notes the host that is asked for.
pub(super) fn note_host(value: &[u8], http: &mut HttpInfo, status: &mut StatusBits) {
    // Of the same name nothing else can be told.
    if !http.host.as_bytes().eq_ignore_ascii_case(value) {
        http.host = wire_name(value);
        *status |= host::of_host(without_port(&http.host));
    }
    if is_address(&http.host) {
        *status |= FlowStatus::NumericHost.bit();
    }
}

/// Notes an answer's code.
pub(super) fn note_code(code: u16, http: &mut HttpInfo, status: &mut StatusBits) {
    http.status = code;
    if code >= 400 {
        *status |= FlowStatus::ErrorCode.bit();
    }
}

/// What of a head is of interest only until its end.
#[derive(Default)]
struct Head<'a> {
    upgrade: &'a [u8],
    agent: Option<&'a [u8]>,
    soap: bool,
    has_host: bool,
}

impl<'a> Head<'a> {
    fn line(&mut self, line: &'a [u8], is_request: bool, http: &mut HttpInfo, status: &mut StatusBits) {
        let Some(colon) = memchr::memchr(b':', line) else {
            // A line that goes on begins with a blank; nobody should send one (RFC 9112 §5.2).
            let goes_on = line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
            *status |= if goes_on { FlowStatus::MinorIssues } else { FlowStatus::MalformedPacket }.bit();
            return;
        };
        let name = line.get(..colon).unwrap_or_default();
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        note(name, value, is_request, http, status);
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        match name.len() {
            4 if is_request && is(b"Host") && std::mem::replace(&mut self.has_host, true) => {
                // RFC 9112 §3.2.
                *status |= FlowStatus::MinorIssues.bit();
            }
            7 if is(b"Upgrade") => self.upgrade = value,
            10 if is(b"SOAPAction") => self.soap = true,
            10 if is_request && is(b"User-Agent") => self.agent = Some(value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
