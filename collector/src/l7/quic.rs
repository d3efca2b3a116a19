//! QUIC by its long headers (RFC 8999, RFC 9000 §17.2, RFC 9369, Google's versions before), and the
//! client's hello in its Initial packets.

mod google;
mod header;
mod initial;
mod version;

use shared::model::flow::L7Info;
use shared::model::status::StatusBits;
use shared::model::{AppCategory, Breed, L4};

use self::header::{Ids, ids, integer};
use self::initial::KeyRing;
use self::version::Version;
use super::pieces::Pieces;
use super::text::{MAX_TEXT, wire_name, wire_text};
use super::tls::{Over, hello, secured};
use super::{Carrier, Dissector, L7Context, Probe, Want, be32, kept};

const PORT: u16 = 443;
/// A client fills its first datagram up to this size (RFC 9000 §14.1).
const MIN_INITIAL: usize = 1200;

pub(super) static QUIC: Dissector = Dissector {
    name: "QUIC",
    category: AppCategory::Web,
    breed: Breed::Acceptable,
    carrier: Carrier::Udp,
    first: |byte| byte & 0x80 != 0 || byte & 0x8b == 0x09,
    ports: &[(L4::UDP, PORT)],
    probe,
    dissect,
};

pub(super) fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::UDP {
        return Probe::No;
    }
    // Version, two ids and one of few sizes: Google's first packets carry a hello in the clear.
    if google::public_version(bytes).is_some() {
        return Probe::Certain;
    }
    let Some(Ids { first, version, end, .. }) = ids(bytes) else { return Probe::No };
    if version.0 == 0 {
        return if negotiates(bytes.get(end..).unwrap_or_default()) { Probe::Certain } else { Probe::No };
    }
    if first & 0x40 == 0 {
        return Probe::No;
    }
    match version {
        _ if version.has_own_hello() && version.is_google() => Probe::Certain,
        // A client that makes the server negotiate fills its packet as any other.
        _ if version.is_grease() && bytes.len() >= MIN_INITIAL => Probe::Certain,
        _ if !version.is_known() => Probe::No,
        _ if cx.has_port(PORT) || bytes.len() >= MIN_INITIAL => Probe::Certain,
        _ => Probe::Maybe,
    }
}

/// Whether `list` is what a server offers: versions, at least one of them known.
fn negotiates(list: &[u8]) -> bool {
    let versions = || list.chunks_exact(4).filter_map(|raw| be32(raw, 0)).map(Version);
    list.len().is_multiple_of(4) && versions().any(Version::is_known)
}

fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    let mut stream = Stream::default();
    let mut keys = KeyRing::default();
    let mut is_client = false;
    for datagram in kept::datagrams(bytes) {
        let plain = google::public_version(datagram).is_some()
            || ids(datagram).is_some_and(|ids| ids.version.has_own_hello() && ids.version.salt().is_none());
        if plain && chlo(datagram, info) {
            return named(cx, info);
        }
        let mut rest = datagram;
        while let Some(packet) = header::long(rest) {
            rest = packet.rest;
            if !packet.is_initial {
                continue;
            }
            let mut plain = Vec::new();
            let Some(frames) = keys.open(&packet, &mut plain) else { continue };
            is_client = true;
            if packet.version.has_own_hello() {
                if chlo(frames, info) {
                    return named(cx, info);
                }
                continue;
            }
            read_frames(frames, packet.version, &mut stream);
        }
    }
    // What a server sends needs the client's connection id; what comes later has other keys.
    if !is_client {
        return Want::Next;
    }
    match hello::client_message(stream.beginning(), Over::Quic, cx, info, status) {
        true => named(cx, info),
        false => Want::Longer,
    }
}

/// The CRYPTO stream: of a single frame in most cases.
#[derive(Default)]
struct Stream {
    first: Vec<u8>,
    pieces: Option<Pieces>,
}

impl Stream {
    fn insert(&mut self, at: usize, piece: &[u8]) {
        if self.pieces.is_none() && at == self.first.len() && self.first.len() + piece.len() <= 16 * 1024 {
            self.first.extend_from_slice(piece);
            return;
        }
        let first = &self.first;
        let pieces = self.pieces.get_or_insert_with(|| {
            let mut pieces = Pieces::default();
            pieces.insert(0, first);
            pieces
        });
        pieces.insert(at, piece);
    }

    fn beginning(&self) -> &[u8] {
        self.pieces.as_ref().map_or(&self.first, Pieces::beginning)
    }
}

/// Takes what an Initial packet may carry (RFC 9000 §12.4): PADDING, PING, ACK, CRYPTO; stops at
/// anything else.
fn read_frames(frames: &[u8], version: Version, stream: &mut Stream) {
    let (ping, crypto) = if version.has_own_frames() { (7, 8) } else { (1, 6) };
    let mut at = 0;
    while let Some((kind, behind)) = integer(frames, at) {
        let next = match kind {
            0 => frames
                .get(behind..)
                .and_then(|rest| rest.iter().position(|byte| *byte != 0))
                .map(|n| behind + n),
            _ if kind == ping => Some(behind),
            2 | 3 if !version.has_own_frames() => skip_ack(frames, behind, kind == 3),
            _ if kind == crypto => read_crypto(frames, behind, stream),
            _ => None,
        };
        let Some(next) = next else { return };
        at = next;
    }
}

fn read_crypto(frames: &[u8], at: usize, stream: &mut Stream) -> Option<usize> {
    let (offset, at) = integer(frames, at)?;
    let (length, at) = integer(frames, at)?;
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    stream.insert(usize::try_from(offset).ok()?, frames.get(at..end)?);
    Some(end)
}

fn skip_ack(frames: &[u8], at: usize, counts_ecn: bool) -> Option<usize> {
    let (_, at) = integer(frames, at)?;
    let (_, at) = integer(frames, at)?;
    let (ranges, at) = integer(frames, at)?;
    let more = 1 + 2 * ranges.min(1 << 14) + if counts_ecn { 3 } else { 0 };
    (0..more).try_fold(at, |at, _| Some(integer(frames, at)?.1))
}

/// Notes what Google's own hello says; false without one.
fn chlo(bytes: &[u8], info: &mut L7Info) -> bool {
    let Some(hello) = google::chlo(bytes) else { return false };
    let tls = info.tls.get_or_insert_default();
    if let Some(name) = hello.name {
        tls.sni = wire_name(name);
    }
    if let Some(agent) = hello.user_agent {
        tls.user_agent = wire_text(agent, MAX_TEXT);
    }
    true
}

/// Nothing more is wanted; resolvers have a name of their own.
fn named(cx: &L7Context, info: &L7Info) -> Want {
    match info.tls.as_ref().and_then(|tls| secured::by_hello(tls, cx)) {
        Some(other) => Want::Become(other),
        None => Want::Nothing,
    }
}

#[cfg(test)]
mod tests;
