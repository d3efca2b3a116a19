//! DTLS (RFC 6347, RFC 9147) by its records, and the client's hello in them.

use shared::model::flow::L7Info;
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::pieces::Pieces;
use super::tls::{self, Over, hello};
use super::{Carrier, Dissector, L7Context, Probe, Want, be16, kept};

const HEADER: usize = 13;
const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const CHANGE_CIPHER_SPEC: u8 = 20;
const APPLICATION_DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;

/// Messages in pieces that are joined at a time.
const MAX_PARTS: usize = 4;
/// Version 1.3; smaller is later.
const DTLS_1_3: u16 = 0xfefc;

/// Version field of OpenSSL before DTLS was settled; Cisco's AnyConnect still sends it.
const BAD: [u8; 2] = [1, 0];

pub(super) static DTLS: Dissector = Dissector {
    name: "DTLS",
    category: AppCategory::Web,
    breed: Breed::Safe,
    carrier: Carrier::Udp,
    first: |byte| matches!(byte, 20..=26),
    ports: &[],
    probe,
    dissect,
};

/// A record with a header in the clear.
struct Record<'a> {
    kind: u8,
    /// Zero until keys are there.
    epoch: u16,
    body: &'a [u8],
    rest: &'a [u8],
}

/// Type, version 1.0 or 1.2, epoch, sequence number, length.
fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let kind = *bytes.first().filter(|kind| (20..=26).contains(*kind))?;
    let version: [u8; 2] = *bytes.get(1..)?.first_chunk()?;
    if !matches!(version, [0xfe, 0xff | 0xfd] | BAD) || (version == BAD && kind != HANDSHAKE) {
        return None;
    }
    let epoch = be16(bytes, 3)?;
    let length = usize::from(be16(bytes, HEADER - 2)?);
    let (body, rest) = bytes.get(HEADER..)?.split_at_checked(length)?;
    (length > 0).then_some(Record { kind, epoch, body, rest })
}

pub(super) fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::UDP {
        return Probe::No;
    }
    let Some(Record { kind, epoch, body, mut rest }) = record(bytes) else { return Probe::No };
    // Rekeying is rare, and the sequence number is long: both begin with zeros.
    if epoch > 3 || bytes.get(5..7) != Some(&[0, 0]) {
        return Probe::No;
    }
    if kind == HANDSHAKE && epoch == 0 && fragment(body).is_none() {
        return Probe::No;
    }
    while !rest.is_empty() {
        match record(rest) {
            Some(next) => rest = next.rest,
            // Version 1.3 has records with short headers behind those in the clear.
            None if rest.first().is_some_and(|byte| byte & 0xe0 == 0x20) => break,
            None => return Probe::No,
        }
    }
    Probe::Certain
}

/// A piece of a handshake message (RFC 6347 §4.2.2).
struct Fragment<'a> {
    kind: u8,
    length: usize,
    sequence: u16,
    offset: usize,
    piece: &'a [u8],
    rest: &'a [u8],
}

fn fragment(body: &[u8]) -> Option<Fragment<'_>> {
    let (&[kind, a, b, c, d, e, f, g, h, i, j, k], rest) = body.split_first_chunk::<12>()?;
    let three = |a, b, c| u32::from_be_bytes([0, a, b, c]) as usize;
    let (length, offset, size) = (three(a, b, c), three(f, g, h), three(i, j, k));
    let (piece, rest) = rest.split_at_checked(size)?;
    let sane = offset.checked_add(size)? <= length && kind <= 25;
    sane.then_some(Fragment { kind, length, sequence: u16::from_be_bytes([d, e]), offset, piece, rest })
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    let mut want = Want::Next;
    let mut parts = Vec::new();
    for mut rest in kept::datagrams(bytes) {
        if rest.get(1..3) == Some(&BAD) {
            *status |= FlowStatus::MinorIssues.bit();
        }
        while let Some(record) = record(rest) {
            rest = record.rest;
            match record.kind {
                HANDSHAKE if record.epoch == 0 => {
                    let mut body = record.body;
                    while let Some(fragment) = fragment(body) {
                        body = fragment.rest;
                        want = message(&fragment, &mut parts, cx, info, status).unwrap_or(want);
                    }
                }
                ALERT if record.epoch == 0 && record.body.len() == 2 && record.body.first() == Some(&2) => {
                    *status |= FlowStatus::TlsFatalAlert.bit();
                }
                APPLICATION_DATA => return Want::Nothing,
                CHANGE_CIPHER_SPEC if !cx.from_client => return Want::Nothing,
                _ => {}
            }
        }
    }
    want
}

/// Reads a message out of its pieces; what is wanted then, if it is one that is read.
fn message(
    fragment: &Fragment<'_>,
    parts: &mut Vec<(u16, Pieces)>,
    cx: &L7Context,
    info: &mut L7Info,
    status: &mut StatusBits,
) -> Option<Want> {
    if !matches!(fragment.kind, CLIENT_HELLO | SERVER_HELLO | CERTIFICATE) {
        return None;
    }
    let beginning =
        if fragment.piece.len() == fragment.length { fragment.piece } else { join(fragment, parts)? };
    let complete = beginning.len() >= fragment.length;
    let body = beginning.get(..fragment.length).unwrap_or(beginning);
    match fragment.kind {
        CLIENT_HELLO => {
            info.tls.get_or_insert_default();
            hello::client(body, complete, Over::Dtls, cx, info, status);
        }
        SERVER_HELLO => {
            if hello::server(body, complete, info, status).is_none() && complete {
                *status |= FlowStatus::MalformedPacket.bit();
            }
            // What follows in version 1.3 is encrypted.
            if complete && info.tls.as_ref().is_some_and(|tls| matches!(tls.version, DTLS_1_3 | 0x0304)) {
                return Some(Want::Nothing);
            }
        }
        _ if cx.from_client => return None,
        _ => {
            if let Some(der) = tls::first_certificate(body) {
                tls::note_certificate(der, cx, info, status);
                return Some(Want::Next);
            }
        }
    }
    Some(if complete { Want::Next } else { Want::Longer })
}

/// Puts a piece to its message, and the beginning of that.
fn join<'p>(fragment: &Fragment<'_>, parts: &'p mut Vec<(u16, Pieces)>) -> Option<&'p [u8]> {
    let known = parts.iter().position(|(sequence, _)| *sequence == fragment.sequence);
    if known.is_none() && parts.len() < MAX_PARTS {
        parts.push((fragment.sequence, Pieces::default()));
    }
    let at = known.unwrap_or(parts.len().checked_sub(1)?);
    let (_, pieces) = parts.get_mut(at).filter(|(sequence, _)| *sequence == fragment.sequence)?;
    pieces.insert(fragment.offset, fragment.piece);
    Some(pieces.beginning())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::l7::Verdict;
    use crate::l7::tests::{Run, udp};

    fn record_of(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0][..], &(body.len() as u16).to_be_bytes(), body].concat()
    }

    fn piece(kind: u8, whole: &[u8], from: usize, to: usize) -> Vec<u8> {
        let three = |count: usize| (count as u32).to_be_bytes()[1..].to_vec();
        [&[kind][..], &three(whole.len()), &[0, 0], &three(from), &three(to - from), &whole[from..to]]
            .concat()
    }

    /// A hello with cookie and server name.
    fn hello() -> Vec<u8> {
        let mut body = vec![0xfe, 0xfd];
        body.extend([7; 32]);
        body.extend([0, 4, 1, 2, 3, 4, 0, 2, 0xc0, 0x2b, 1, 0]);
        body.extend([0, 25, 0, 0, 0, 21, 0, 19, 0, 0, 16]);
        body.extend(b"dtls.example.org");
        body
    }

    fn check(run: &Run) {
        let tls = run.info.tls.clone().unwrap();
        assert_eq!((&*tls.sni, tls.version), ("dtls.example.org", 0xfefd));
        assert!(tls.ja4.starts_with("dd2d0101"), "{}", tls.ja4);
        assert_eq!(run.status, 0);
    }

    #[test]
    fn a_hello_tells_its_name() {
        let hello = hello();
        let whole = record_of(HANDSHAKE, &piece(CLIENT_HELLO, &hello, 0, hello.len()));
        let mut run = Run::new(udp(50_000, 4433));
        assert_eq!(run.client(&whole), Verdict::Decided("DTLS"));
        check(&run);
        for cut in 0..whole.len() {
            assert_eq!(Run::new(udp(50_000, 4433)).client(&whole[..cut]), Verdict::Undecided);
        }
    }

    #[test]
    fn a_hello_in_pieces_comes_in_any_order() {
        let hello = hello();
        let part = |from, to| record_of(HANDSHAKE, &piece(CLIENT_HELLO, &hello, from, to));
        let parts = [part(0, 30), part(20, 50), part(50, hello.len())];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let mut run = Run::new(udp(50_000, 4433));
            for at in order {
                run.client(&parts[at]);
            }
            check(&run);
        }
        let mut run = Run::new(udp(50_000, 4433));
        run.client(&parts.concat());
        check(&run);
    }

    #[test]
    fn look_alikes_are_not_dtls() {
        let hello = hello();
        let whole = record_of(HANDSHAKE, &piece(CLIENT_HELLO, &hello, 0, hello.len()));
        for (at, byte) in [(0, 19), (1, 3), (2, 0xfc), (3, 9), (5, 1), (11, 9), (13, 99)] {
            let mut other = whole.clone();
            other[at] = byte;
            assert_eq!(Run::new(udp(50_000, 4433)).client(&other), Verdict::Undecided, "{at}");
        }
    }
}
