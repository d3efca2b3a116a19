//! HTTP/2 in the clear (RFC 9113 §3.3, §3.4), and gRPC over it (the gRPC project's PROTOCOL-HTTP2): the
//! fields of the first request and of its answer.

mod hpack;

use std::borrow::Cow;

use shared::model::flow::{L7Info, Text};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::http::{self, risks};
use super::text::{MAX_TEXT, wire_text};
use super::{Carrier, Dissector, L7Context, Probe, Want, be16, be32};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
/// Most settings in a first frame; there are nine kinds.
const MAX_SETTINGS: usize = 32;

pub(super) static HTTP2: Dissector = Dissector {
    name: "HTTP2",
    category: AppCategory::Web,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, b'P' | 0),
    ports: &[],
    probe,
    dissect,
};

pub(super) static GRPC: Dissector = Dissector {
    name: "gRPC",
    category: AppCategory::Rpc,
    breed: Breed::Acceptable,
    carrier: Carrier::Tcp,
    first: |_| false,
    ports: &[],
    probe: |_, _| Probe::No,
    dissect: dissect_grpc,
};

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::TCP {
        return Probe::No;
    }
    if bytes.first() == Some(&b'P') {
        return match bytes.len() {
            16.. if bytes.starts_with(b"PRI * HTTP/2.0\r\n") => Probe::Certain,
            3..16 if PREFACE.starts_with(bytes) => Probe::Maybe,
            _ => Probe::No,
        };
    }
    match settings(bytes) {
        Some(0) => Probe::Maybe,
        Some(_) => Probe::Certain,
        None => Probe::No,
    }
}

/// How many settings the frame at the start has, with which a server begins: all of known kinds.
fn settings(bytes: &[u8]) -> Option<usize> {
    let frame =
        frame(bytes).filter(|frame| frame.kind == SETTINGS && frame.stream == 0 && frame.flags == 0)?;
    let count = frame.length / 6;
    let known = |setting: &[u8]| be16(setting, 0).is_some_and(|kind| matches!(kind, 1..=6 | 8 | 9));
    let sane = frame.length.is_multiple_of(6) && count <= MAX_SETTINGS && frame.body.len() == frame.length;
    (sane && frame.body.chunks_exact(6).all(known)).then_some(count)
}

struct Frame<'a> {
    kind: u8,
    flags: u8,
    stream: u32,
    length: usize,
    /// As much of it as is there.
    body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The fields in a frame of HEADERS, without padding and priority (§6.2).
    fn block(&self) -> Option<&'a [u8]> {
        const PADDED: u8 = 0x08;
        const PRIORITY: u8 = 0x20;
        let (mut block, mut padding) = (self.body, 0);
        if self.flags & PADDED != 0 {
            let (length, rest) = block.split_first()?;
            (block, padding) = (rest, usize::from(*length));
        }
        if self.flags & PRIORITY != 0 {
            block = block.get(5..)?;
        }
        block.get(..block.len().checked_sub(padding)?)
    }
}

fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&[high, middle, low, kind, flags], _) = bytes.split_first_chunk()?;
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    let stream = be32(bytes, 5)?;
    let rest = bytes.get(FRAME_HEADER..)?;
    Some(Frame { kind, flags, stream, length, body: rest.get(..length).unwrap_or(rest) })
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    match read(bytes, cx, info, status) {
        Some(Read::Grpc) => Want::Become(&GRPC),
        Some(Read::Rest) => rest(info),
        None => Want::Longer,
    }
}

/// What gRPC's answer says.
fn dissect_grpc(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    read(bytes, cx, info, status).map_or(Want::Longer, |_| rest(info))
}

/// What is wanted besides what is known.
fn rest(info: &L7Info) -> Want {
    let [asked, answered] = [true, false].map(|from_client| is_known(info, from_client));
    if asked && answered { Want::Nothing } else { Want::Next }
}

/// Whether the first request, or the first answer, was read. An upgrade's answer is not the request's.
fn is_known(info: &L7Info, from_client: bool) -> bool {
    let http = info.http.as_deref();
    http.is_some_and(
        |http| if from_client { !http.method.is_empty() } else { !matches!(http.status, 0 | 101) },
    )
}

enum Read {
    /// It asked for gRPC.
    Grpc,
    /// Anything else.
    Rest,
}

/// Reads frames up to the first whose fields are of interest; `None` when that is cut.
fn read(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Option<Read> {
    if is_known(info, cx.from_client) {
        // From here on payloads begin anywhere.
        return Some(Read::Rest);
    }
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    while !rest.is_empty() {
        let frame = frame(rest)?;
        if frame.body.len() < frame.length {
            return None;
        }
        rest = rest.get(FRAME_HEADER + frame.length..).unwrap_or_default();
        if frame.kind == HEADERS {
            let Some(block) = frame.block() else {
                *status |= FlowStatus::MalformedPacket.bit();
                return Some(Read::Rest);
            };
            let is_grpc = note(block, cx.from_client, info, status);
            if is_known(info, cx.from_client) {
                return Some(if is_grpc { Read::Grpc } else { Read::Rest });
            }
        }
    }
    Some(Read::Rest)
}

/// Notes what the fields of a request or an answer say; true when they ask for gRPC.
fn note(block: &[u8], asks: bool, info: &mut L7Info, status: &mut StatusBits) -> bool {
    let http = info.http.get_or_insert_default();
    let (mut target, mut agent, mut code, mut is_grpc) = (Cow::default(), None, None, false);
    for field in hpack::fields(block) {
        let Ok((name, value)) = field else {
            *status |= FlowStatus::MalformedPacket.bit();
            break;
        };
        // Names are in lower case (RFC 9113 §8.2.1).
        match &*name {
            b":method" if asks => http.method = wire_text(&value, MAX_TEXT),
            b":authority" if asks => http::note_host(&value, http, status),
            b":path" if asks => {
                http.url = wire_text(&value, http::MAX_URL);
                target = value;
            }
            b":status" if !asks => code = std::str::from_utf8(&value).ok().and_then(|code| code.parse().ok()),
            [b':', ..] => {}
            _ => {
                http::note(&name, &value, asks, http, status);
                is_grpc |= asks && &*name == b"content-type" && value.starts_with(b"application/grpc");
                agent = agent.or((&*name == b"user-agent").then_some(value));
            }
        }
    }
    if asks {
        *status |= risks::of_request(&target, http, agent.as_deref(), &[]);
    } else if let Some(code) = code.filter(|code| *code >= 200) {
        http::note_code(code, http, status);
        *status |= risks::of_answer(http, &[]);
    }
    if let Some(hint) = http::hint(http, false).map(Text::from) {
        info.hint = hint;
    }
    is_grpc
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, hex, tcp};

    fn frame_of(kind: u8, flags: u8, stream: u8, body: &[u8]) -> Vec<u8> {
        [&(body.len() as u32).to_be_bytes()[1..], &[kind, flags, 0, 0, 0, stream], body].concat()
    }

    #[test]
    fn the_preface_is_known_also_in_pieces() {
        assert_eq!(Run::new(tcp(50_000, 8123)).client(PREFACE), Verdict::Decided("HTTP2"));
        for cut in 3..PREFACE.len() {
            let mut run = Run::new(tcp(50_000, 8123));
            run.client(&PREFACE[..cut]);
            let verdict = run.client(&PREFACE[cut..]);
            assert!(cut >= 16 || verdict == Verdict::Decided("HTTP2"), "{cut}");
        }
    }

    #[test]
    fn a_server_begins_with_its_settings() {
        let settings = frame_of(SETTINGS, 0, 0, &hex("0003 00000064 0004 00100000"));
        assert_eq!(Run::new(tcp(50_000, 8123)).server(&settings), Verdict::Decided("HTTP2"));
        let mut run = Run::new(tcp(50_000, 8123));
        assert_eq!(run.server(&frame_of(SETTINGS, 0, 0, &[])), Verdict::Undecided);
        assert_eq!(run.client(PREFACE), Verdict::Decided("HTTP2"));
        let unknown = frame_of(SETTINGS, 0, 0, &hex("0047 00000064"));
        assert_eq!(Run::new(tcp(50_000, 8123)).server(&unknown), Verdict::Undecided);
    }

    /// Blocks made by the Python package hpack 4.2: `:method`, `:path`, `content-type`, without and with
    /// Huffman coding.
    #[test]
    fn grpc_is_known_by_its_content_type() {
        for (block, expected) in [
            (PLAIN_GRPC, "gRPC"),
            (HUFFMAN_GRPC, "gRPC"),
            (HUFFMAN_GRPC_PROTO, "gRPC"),
            (HUFFMAN_JSON, "HTTP2"),
        ] {
            let first =
                [PREFACE, &frame_of(SETTINGS, 0, 0, &[]), &frame_of(HEADERS, 4, 1, &hex(block))].concat();
            assert_eq!(Run::new(tcp(50_000, 8123)).client(&first), Verdict::Decided(expected));
        }
        let mut run = Run::new(tcp(50_000, 8123));
        assert_eq!(run.client(PREFACE), Verdict::Decided("HTTP2"));
        assert_eq!(run.client(&frame_of(HEADERS, 4, 1, &hex(HUFFMAN_GRPC))), Verdict::Decided("gRPC"));
    }

    /// curl's request with a password and nginx's answer, as they crossed a wire.
    const RECORDED: &str = include_str!("http2/nginx.txt");

    fn play(cut: usize) -> Run {
        let mut run = Run::new(tcp(50_000, 8080));
        for line in RECORDED.lines().skip(1) {
            let (who, message) = line.split_once(' ').unwrap();
            let message = hex(message);
            let (head, tail) = message.split_at(cut.min(message.len()));
            for piece in [head, tail].into_iter().filter(|piece| !piece.is_empty()) {
                if who == "client" {
                    run.client(piece)
                } else {
                    run.server(piece)
                };
            }
        }
        run
    }

    #[test]
    fn the_first_request_and_its_answer_are_read_however_they_are_cut() {
        for cut in [0, 24, 26, 33, 40, 60, 70, 90, 100] {
            let run = play(cut);
            let http = run.info.http.clone().unwrap();
            assert_eq!(
                (&*http.method, &*http.host, &*http.url),
                ("GET", "127.0.0.1:8080", "/none.exe?x=1"),
                "{cut}"
            );
            assert_eq!((&*http.user_agent, http.status), ("curl/7.88.1", 404), "{cut}");
            assert!(http.server.starts_with("nginx/1.2"), "{}", http.server);
            assert_eq!(&*http.content_type, "text/html");
            let wanted = [FlowStatus::ClearTextCredentials, FlowStatus::ErrorCode, FlowStatus::NumericHost];
            assert_eq!(run.status, wanted.iter().fold(0, |bits, status| bits | status.bit()), "{cut}");
        }
    }

    #[test]
    fn what_is_asked_for_is_judged_as_over_http_1() {
        // Without Huffman coding: `:method` GET, `:path`, `:authority`.
        let field = |index: u8, value: &str| [&[index, value.len() as u8], value.as_bytes()].concat();
        let block = [&[0x82][..], &field(0x04, "/?q=<script>"), &field(0x01, "xjw7q9zk2vbq4t.com")].concat();
        // Padded by two bytes, with a priority.
        let body = [&[2][..], &[0; 5], &block, &[0; 2]].concat();
        let first = [PREFACE, &frame_of(SETTINGS, 0, 0, &[]), &frame_of(HEADERS, 0x2c, 1, &body)].concat();
        let mut run = Run::new(tcp(50_000, 8123));
        run.client(&first);
        assert_eq!(run.status, FlowStatus::UrlXss.bit() | FlowStatus::DgaDomain.bit());
        // An interim answer is none.
        run.server(&frame_of(HEADERS, 4, 1, &field(0x08, "103")));
        assert_eq!(run.info.http.clone().unwrap().status, 0);
        assert_eq!(run.server(&frame_of(HEADERS, 4, 1, &[0x8e])), Verdict::Done);
        assert_eq!(run.info.http.clone().unwrap().status, 500);
        let mut run = Run::new(tcp(50_000, 8123));
        run.client(&[PREFACE, &frame_of(HEADERS, 0x08, 1, &[9, 0x82])].concat());
        assert_eq!(run.status, FlowStatus::MalformedPacket.bit(), "more padding than there is");
    }

    const PLAIN_GRPC: &str = "8344062f612e422f435f106170706c69636174696f6e2f67727063";
    const HUFFMAN_GRPC: &str = "834485606bdd62f75f8b1d75d0620d263d4c4d6564";
    const HUFFMAN_GRPC_PROTO: &str = "834485606bdd62f75f901d75d0620d263d4c4d6564ff75d8749f";
    const HUFFMAN_JSON: &str = "834485606bdd62f75f8b1d75d0620d263d4c7441ea";
}
