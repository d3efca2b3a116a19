//! The hellos of TLS, QUIC and DTLS (RFC 8446 §4.1, RFC 5246 §7.4.1, RFC 6347 §4.2): walked where they
//! lie, nothing copied but what is kept.

use shared::model::flow::{L7Info, Text};
use shared::model::status::{FlowStatus, StatusBits};

use super::fingerprint;
use super::reader::Reader;
use super::risks;
use crate::l7::text::{MAX_TEXT, is_address, wire_name, wire_text};
use crate::l7::{L7Context, be16};

pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;

/// Longest hello that makes sense; post-quantum key shares make some kilobytes.
pub(super) const MAX_HELLO: usize = 32_768;
/// Version and random of a hello.
pub(super) const HELLO_FIXED: usize = 34;

pub(super) const TLS_1_3: u16 = 0x0304;

pub(super) const EXT_SERVER_NAME: u16 = 0;
pub(super) const EXT_GROUPS: u16 = 10;
pub(super) const EXT_POINTS: u16 = 11;
pub(super) const EXT_SIGNATURES: u16 = 13;
pub(super) const EXT_ALPN: u16 = 16;
pub(super) const EXT_SUPPORTED_VERSIONS: u16 = 43;
/// Encrypted server name, the draft before encrypted hellos.
pub(super) const EXT_ENCRYPTED_SNI: u16 = 0xffce;

/// What carries a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::l7) enum Over {
    /// TLS records over TCP.
    Tcp,
    /// DTLS records.
    Dtls,
    /// QUIC's CRYPTO frames.
    Quic,
}

/// The parts of a client's hello that something is made of; texts are empty when absent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientHello<'a> {
    pub(super) legacy: u16,
    /// Highest version offered.
    pub(super) version: u16,
    pub(super) ciphers: &'a [u8],
    pub(super) extensions: &'a [u8],
    pub(super) groups: &'a [u8],
    pub(super) points: &'a [u8],
    pub(super) signatures: &'a [u8],
    /// The list of ALPN.
    pub(super) protocols: &'a [u8],
    pub(super) has_name_extension: bool,
    pub(super) name: Option<&'a [u8]>,
    pub(super) has_encrypted_name: bool,
    /// An extension contradicts its own grammar, or is there twice.
    pub(super) odd_extension: bool,
}

/// Values that clients make up so that servers stay tolerant (RFC 8701).
pub(super) fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

/// Drafts of TLS 1.3 count as TLS 1.3.
pub(super) fn normal(version: u16) -> u16 {
    if version >> 8 == 0x7f { TLS_1_3 } else { version }
}

/// Kind and value of each extension; ends at one that is cut.
pub(super) fn extensions(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut reader = Reader(bytes);
    std::iter::from_fn(move || Some((reader.u16()?, reader.long()?)))
}

/// 16-bit values in a list.
pub(super) fn words(list: &[u8]) -> impl Iterator<Item = u16> {
    list.chunks_exact(2).filter_map(|raw| be16(raw, 0))
}

/// Names in an ALPN list.
pub(super) fn protocols(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader(list);
    std::iter::from_fn(move || reader.short())
}

impl<'a> ClientHello<'a> {
    /// Walks a hello's body; the flag says whether the walk came to the end without contradiction.
    fn walk(body: &'a [u8], complete: bool, over: Over) -> (Self, bool) {
        let mut hello = Self::default();
        let sane = hello.read(body, complete, over).is_some();
        (hello, sane)
    }

    fn read(&mut self, body: &'a [u8], complete: bool, over: Over) -> Option<()> {
        let mut reader = Reader(body);
        self.legacy = reader.u16()?;
        self.version = self.legacy;
        reader.take(32)?;
        reader.short().filter(|session| session.len() <= 32)?;
        if over == Over::Dtls {
            reader.short()?;
        }
        self.ciphers = reader.long().filter(|ciphers| ciphers.len().is_multiple_of(2))?;
        reader.short()?;
        // Hellos of old clients end without extensions.
        if reader.0.is_empty() {
            return Some(());
        }
        let length = usize::from(reader.u16()?);
        // A hello that is not all here still has whole extensions to read.
        let all = if complete { reader.take(length)? } else { reader.0 };
        self.extensions = all;
        let mut rest = Reader(all);
        let mut seen = 0_u64;
        let mut sane = Some(());
        while !rest.0.is_empty() {
            let (kind, value) = (rest.u16()?, rest.long()?);
            if kind < 64 {
                self.odd_extension |= seen & 1 << kind != 0;
                seen |= 1 << kind;
            }
            // One that contradicts itself says nothing about those behind it.
            sane = sane.and(self.extension(kind, value));
        }
        sane
    }

    fn extension(&mut self, kind: u16, value: &'a [u8]) -> Option<()> {
        match kind {
            EXT_SERVER_NAME => {
                self.has_name_extension = true;
                let name = server_name(value)?;
                self.odd_extension |= name.is_none();
                self.name = self.name.or(name);
            }
            EXT_ENCRYPTED_SNI => self.has_encrypted_name = true,
            EXT_GROUPS => self.groups = Reader(value).long()?,
            EXT_POINTS => self.points = Reader(value).short()?,
            EXT_SIGNATURES => self.signatures = Reader(value).long()?,
            EXT_ALPN => {
                self.protocols = Reader(value).long()?;
                let sum: usize = protocols(self.protocols).map(|name| name.len() + 1).sum();
                let empty = self.protocols.is_empty() || protocols(self.protocols).any(<[u8]>::is_empty);
                self.odd_extension |= empty || sum != self.protocols.len();
            }
            EXT_SUPPORTED_VERSIONS => {
                let list = Reader(value).short()?;
                self.odd_extension |= list.is_empty() || !list.len().is_multiple_of(2);
                let offered = words(list).filter(|version| !is_grease(*version)).map(normal);
                // DTLS counts its versions down (RFC 6347 §4.1).
                let is_dtls = self.legacy >> 8 == 0xfe;
                let best = if is_dtls { offered.min() } else { offered.max() };
                self.version = best.unwrap_or(self.legacy);
            }
            _ => {}
        }
        Some(())
    }
}

/// The host name in a server name extension (RFC 6066 §3).
fn server_name(value: &[u8]) -> Option<Option<&[u8]>> {
    // A server that takes the name says so by an empty extension; some clients send that, too.
    if value.is_empty() {
        return Some(None);
    }
    let mut list = Reader(Reader(value).long()?);
    while !list.0.is_empty() {
        let (kind, name) = (list.u8()?, list.long()?);
        if kind == 0 && !name.is_empty() {
            return Some(Some(name));
        }
    }
    Some(None)
}

/// Reads the handshake message at the start of `bytes` as a client's hello, as far as it is there;
/// true when there is nothing more to wait for.
pub(in crate::l7) fn client_message(
    bytes: &[u8],
    over: Over,
    cx: &L7Context,
    info: &mut L7Info,
    status: &mut StatusBits,
) -> bool {
    let Some((&[kind, high, middle, low], rest)) = bytes.split_first_chunk() else { return false };
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    if kind != CLIENT_HELLO || !(HELLO_FIXED..=MAX_HELLO).contains(&length) {
        *status |= FlowStatus::MalformedPacket.bit();
        return true;
    }
    let complete = rest.len() >= length;
    client(rest.get(..length).unwrap_or(rest), complete, over, cx, info, status);
    complete
}

/// Reads what is there of a client's hello.
pub(in crate::l7) fn client(
    body: &[u8],
    complete: bool,
    over: Over,
    cx: &L7Context,
    info: &mut L7Info,
    status: &mut StatusBits,
) {
    let (hello, sane) = ClientHello::walk(body, complete, over);
    let tls = info.tls.get_or_insert_default();
    if tls.cipher == 0 && hello.version != 0 {
        tls.version = hello.version;
    }
    if let Some(name) = hello.name.filter(|name| **name != *tls.sni.as_bytes()) {
        tls.sni = wire_name(name);
        if is_address(&tls.sni) {
            *status |= FlowStatus::NumericHost.bit();
        }
    }
    if let Some(first) = protocols(hello.protocols).next().filter(|first| **first != *tls.alpn.as_bytes()) {
        tls.alpn = wire_text(first, MAX_TEXT);
    }
    if !complete {
        return;
    }
    if !sane {
        *status |= FlowStatus::MalformedPacket.bit();
        return;
    }
    tls.alpns = joined(hello.protocols, &tls.alpn);
    fingerprint::client(&hello, over, tls);
    *status |= risks::of_client(&hello, tls, over, cx);
}

/// The offered protocols, comma between; shares the text when there is only one.
fn joined(list: &[u8], first: &Text) -> Text {
    if protocols(list).count() <= 1 {
        return first.clone();
    }
    let mut text = [0; MAX_TEXT];
    let mut end = 0;
    for (number, name) in protocols(list).enumerate() {
        let from = if number > 0 { end + 1 } else { end };
        let Some(place) = text.get_mut(from..from + name.len()) else { break };
        place.copy_from_slice(name);
        if let Some(comma) = text.get_mut(end).filter(|_| number > 0) {
            *comma = b',';
        }
        end = from + name.len();
    }
    wire_text(text.get(..end).unwrap_or_default(), MAX_TEXT)
}

/// Reads what is there of a server's hello; `None` when it contradicts itself or is cut.
pub(in crate::l7) fn server(
    body: &[u8],
    complete: bool,
    info: &mut L7Info,
    status: &mut StatusBits,
) -> Option<()> {
    let mut hello = Reader(body);
    let legacy = hello.u16()?;
    let mut version = legacy;
    hello.take(32)?;
    hello.short().filter(|session| session.len() <= 32)?;
    let cipher = hello.u16()?;
    hello.u8()?;
    let mut chosen = None;
    let mut all: &[u8] = &[];
    if !hello.0.is_empty() {
        let length = usize::from(hello.u16()?);
        all = if complete { hello.take(length)? } else { hello.0 };
        let mut rest = Reader(all);
        while !rest.0.is_empty() {
            let (kind, value) = (rest.u16()?, rest.long()?);
            match kind {
                EXT_SUPPORTED_VERSIONS => version = normal(be16(value, 0)?),
                EXT_ALPN => chosen = protocols(Reader(value).long()?).next(),
                _ => {}
            }
        }
    }
    let tls = info.tls.get_or_insert_default();
    (tls.version, tls.cipher) = (version, cipher);
    if let Some(chosen) = chosen.filter(|chosen| **chosen != *tls.alpn_chosen.as_bytes()) {
        tls.alpn_chosen = match *chosen == *tls.alpn.as_bytes() {
            true => tls.alpn.clone(),
            false => wire_text(chosen, MAX_TEXT),
        };
    }
    *status |= risks::of_server(version, cipher);
    if complete && tls.ja3s.is_empty() {
        tls.ja3s = fingerprint::server(legacy, cipher, all);
    }
    Some(())
}
