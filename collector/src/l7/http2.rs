//! HTTP/2 in the clear (RFC 9113 §3.3, §3.4), and gRPC over it (the gRPC project's PROTOCOL-HTTP2).

use shared::model::flow::L7Info;
use shared::model::status::StatusBits;
use shared::model::{AppCategory, Breed, L4};

use super::{Carrier, Dissector, L7Context, Probe, Want, be16, be32, name_only};

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
    dissect: name_only,
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

fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let (&[high, middle, low, kind, flags], _) = bytes.split_first_chunk()?;
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    let stream = be32(bytes, 5)?;
    let rest = bytes.get(FRAME_HEADER..)?;
    Some(Frame { kind, flags, stream, length, body: rest.get(..length).unwrap_or(rest) })
}

fn dissect(bytes: &[u8], _: &L7Context, _: &mut L7Info, _: &mut StatusBits) -> Want {
    let mut rest = bytes.strip_prefix(PREFACE).unwrap_or(bytes);
    while let Some(frame) = frame(rest) {
        if frame.kind == HEADERS {
            return if is_grpc(frame.body) { Want::Become(&GRPC) } else { Want::Nothing };
        }
        rest = rest.get(FRAME_HEADER + frame.length..).unwrap_or_default();
    }
    Want::Next
}

/// Whether a block of header fields has gRPC's content type: the only value that contains this text,
/// plain or in the static Huffman code (RFC 7541 appendix B).
fn is_grpc(block: &[u8]) -> bool {
    const PLAIN: &[u8] = b"application/grpc";
    /// The bytes that the text fills wholly; a bit of the last letter is left over.
    const HUFFMAN: &[u8] = b"\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65";
    block.windows(PLAIN.len()).any(|window| window == PLAIN)
        || block.windows(HUFFMAN.len()).any(|window| window == HUFFMAN)
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

    const PLAIN_GRPC: &str = "8344062f612e422f435f106170706c69636174696f6e2f67727063";
    const HUFFMAN_GRPC: &str = "834485606bdd62f75f8b1d75d0620d263d4c4d6564";
    const HUFFMAN_GRPC_PROTO: &str = "834485606bdd62f75f901d75d0620d263d4c4d6564ff75d8749f";
    const HUFFMAN_JSON: &str = "834485606bdd62f75f8b1d75d0620d263d4c7441ea";
}
