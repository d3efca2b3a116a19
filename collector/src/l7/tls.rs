//! TLS hellos (RFC 8446, RFC 5246), and the SSL 2.0 form of a hello (RFC 5246 appendix E.2).

use std::borrow::Cow;

use shared::model::flow::{L7Info, TlsInfo};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

use super::text::{MAX_TEXT, is_address, wire_name, wire_text};
use super::{Carrier, Dissector, L7Context, Probe, Want, be16};

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// Longest protected record (RFC 5246 §6.2.3).
const MAX_RECORD: usize = 16_384 + 2048;
/// Longest hello that makes sense; post-quantum key shares make some kilobytes.
const MAX_HELLO: usize = 32_768;
/// Version and random of a hello.
const HELLO_FIXED: usize = 34;

const TLS_1_2: u16 = 0x0303;
const TLS_1_3: u16 = 0x0304;

const EXT_SERVER_NAME: u16 = 0;
const EXT_ALPN: u16 = 16;
const EXT_SUPPORTED_VERSIONS: u16 = 43;
/// Encrypted server name, the draft before encrypted hellos.
const EXT_ENCRYPTED_SNI: u16 = 0xffce;

pub(super) static TLS: Dissector = Dissector {
    name: "TLS",
    category: AppCategory::Web,
    breed: Breed::Safe,
    carrier: Carrier::Tcp,
    first: |byte| matches!(byte, 20..=23 | 0x80..),
    ports: &[
        (L4::TCP, 443),
        (L4::TCP, 465),
        (L4::TCP, 636),
        (L4::TCP, 853),
        (L4::TCP, 993),
        (L4::TCP, 995),
        (L4::TCP, 8443),
    ],
    probe,
    dissect,
};

/// Type, body captured, body length of the record at the start of `bytes`.
fn record(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (header, rest) = bytes.split_first_chunk::<5>()?;
    let [kind, 3, 0..=4, high, low] = *header else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let valid = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) && (1..=MAX_RECORD).contains(&length);
    valid.then(|| (kind, rest.get(..length).unwrap_or(rest), length))
}

fn probe(bytes: &[u8], cx: &L7Context) -> Probe {
    if cx.l4 != L4::TCP {
        return Probe::No;
    }
    let Some((kind, body, length)) = record(bytes) else {
        return match *bytes {
            [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3]
            | [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3, 0..=4]
            | [CHANGE_CIPHER_SPEC..=APPLICATION_DATA, 3, 0..=4, _] => Probe::Maybe,
            _ if ssl2_hello(bytes).is_some() => Probe::Certain,
            _ => Probe::No,
        };
    };
    if kind == HANDSHAKE {
        match *body {
            [] | [CLIENT_HELLO | SERVER_HELLO] => return Probe::Maybe,
            [CLIENT_HELLO | SERVER_HELLO, 0, ..] if body.len() < 6 => return Probe::Maybe,
            [CLIENT_HELLO | SERVER_HELLO, 0, high, low, 3, 0..=4, ..] => {
                let hello = usize::from(u16::from_be_bytes([high, low]));
                let sane = (HELLO_FIXED..=MAX_HELLO).contains(&hello);
                return if sane { Probe::Certain } else { Probe::No };
            }
            _ => {}
        }
    }
    // In the middle of a connection: a chain of records that ends with the payload is convincing.
    let sane = match kind {
        CHANGE_CIPHER_SPEC => length == 1 && body.first().is_none_or(|byte| *byte == 1),
        ALERT => (2..=64).contains(&length),
        _ => true,
    };
    let mut rest = bytes.get(5 + length..);
    while let Some(more) = rest.filter(|more| more.len() >= 5) {
        match record(more) {
            Some((_, _, length)) => rest = more.get(5 + length..),
            None => return Probe::No,
        }
    }
    match rest {
        _ if !sane => Probe::No,
        Some([]) => Probe::Certain,
        _ => Probe::Maybe,
    }
}

/// Version of a hello in SSL 2.0 form.
fn ssl2_hello(bytes: &[u8]) -> Option<u16> {
    let length = usize::from(be16(bytes, 0)?.checked_sub(0x8000)?);
    let (version, ciphers, session, challenge) =
        (be16(bytes, 3)?, be16(bytes, 5)?, be16(bytes, 7)?, be16(bytes, 9)?);
    let parts = 9 + usize::from(ciphers) + usize::from(session) + usize::from(challenge);
    let sane = bytes.get(2) == Some(&CLIENT_HELLO)
        && matches!(version, 0x0002 | 0x0300..=0x0303)
        && ciphers > 0
        && ciphers.is_multiple_of(3)
        && matches!(session, 0 | 16)
        && (16..=32).contains(&challenge)
        && parts == length
        && bytes.len() == length + 2;
    sane.then_some(version)
}

fn dissect(bytes: &[u8], _: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    if let Some(version) = ssl2_hello(bytes) {
        info.tls.get_or_insert_with(TlsInfo::default).version = version;
        *status |= FlowStatus::TlsMissingSni.bit();
        return Want::Next;
    }
    let handshake = handshake(bytes);
    let Some((&[kind, high, middle, low], rest)) = handshake.split_first_chunk() else {
        // Nothing but other records, or not even a message header.
        let cut = !bytes.is_empty() && (bytes.len() < 5 || !handshake.is_empty());
        return if cut { Want::Longer } else { Want::Next };
    };
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    if !matches!(kind, CLIENT_HELLO | SERVER_HELLO) {
        return Want::Next;
    }
    if !(HELLO_FIXED..=MAX_HELLO).contains(&length) {
        *status |= FlowStatus::MalformedPacket.bit();
        return Want::Next;
    }
    let complete = rest.len() >= length;
    let body = rest.get(..length).unwrap_or(rest);
    let read = match kind {
        CLIENT_HELLO => client_hello(body, complete, info, status),
        _ => server_hello(body, complete, info, status),
    };
    match (read, complete) {
        (_, false) => Want::Longer,
        (None, true) => {
            *status |= FlowStatus::MalformedPacket.bit();
            Want::Next
        }
        (Some(()), true) if kind == SERVER_HELLO => Want::Nothing,
        (Some(()), true) => Want::Next,
    }
}

/// The bytes of the handshake records that `bytes` begin with, copied only when there are several.
fn handshake(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut joined = Cow::Borrowed(&[][..]);
    let mut rest = bytes;
    while let Some((HANDSHAKE, body, length)) = record(rest) {
        if joined.is_empty() {
            joined = Cow::Borrowed(body);
        } else {
            joined.to_mut().extend_from_slice(body);
        }
        // One message is all that is read.
        let first = joined.first_chunk().map_or(0, |&[_, a, b, c]| u32::from_be_bytes([0, a, b, c]) as usize);
        if joined.len() >= first.saturating_add(4) && first > 0 {
            break;
        }
        rest = rest.get(5 + length..).unwrap_or_default();
    }
    joined
}

/// Walks a message field by field.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }
    fn u8(&mut self) -> Option<usize> {
        self.take(1)?.first().map(|byte| usize::from(*byte))
    }
    fn u16(&mut self) -> Option<u16> {
        be16(self.take(2)?, 0)
    }
    /// A vector with a length of one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length)
    }
    /// A vector with a length of two bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

/// Reads what is there; `None` when the hello ends too early or contradicts itself.
fn client_hello(body: &[u8], complete: bool, info: &mut L7Info, status: &mut StatusBits) -> Option<()> {
    let tls = info.tls.get_or_insert_with(TlsInfo::default);
    let mut hello = Reader(body);
    let legacy = hello.u16()?;
    let answered = tls.cipher != 0;
    if !answered {
        tls.version = legacy;
    }
    hello.take(32)?;
    hello.short().filter(|session| session.len() <= 32)?;
    hello.long().filter(|ciphers| ciphers.len().is_multiple_of(2))?;
    hello.short()?;
    let mut named = false;
    // Hellos of old clients end without extensions.
    if !hello.0.is_empty() {
        let length = usize::from(hello.u16()?);
        // A hello that is not all here still has whole extensions to read.
        let mut extensions = Reader(if complete { hello.take(length)? } else { hello.0 });
        while !extensions.0.is_empty() {
            let (kind, value) = (extensions.u16()?, extensions.long()?);
            match kind {
                EXT_SERVER_NAME => {
                    let name = server_name(value)?;
                    named = true;
                    tls.sni = wire_name(name);
                    if is_address(&tls.sni) {
                        *status |= FlowStatus::NumericHost.bit();
                    }
                }
                EXT_ENCRYPTED_SNI => named = true,
                EXT_ALPN => {
                    let first = Reader(Reader(value).long()?).short()?;
                    tls.alpn = wire_text(first, MAX_TEXT);
                }
                EXT_SUPPORTED_VERSIONS if !answered => {
                    let offered = Reader(value).short()?.chunks_exact(2).filter_map(|raw| be16(raw, 0));
                    // Odd values are there to keep servers tolerant (RFC 8701).
                    let offered = offered.filter(|v| v & 0x0f0f != 0x0a0a).map(normal);
                    tls.version = offered.max().unwrap_or(legacy);
                }
                _ => {}
            }
        }
    }
    if complete && !named {
        *status |= FlowStatus::TlsMissingSni.bit();
    }
    Some(())
}

/// The host name in a server name extension (RFC 6066 §3).
fn server_name(value: &[u8]) -> Option<&[u8]> {
    let mut list = Reader(Reader(value).long()?);
    while !list.0.is_empty() {
        let (kind, name) = (list.u8()?, list.long()?);
        if kind == 0 && !name.is_empty() {
            return Some(name);
        }
    }
    None
}

fn server_hello(body: &[u8], complete: bool, info: &mut L7Info, status: &mut StatusBits) -> Option<()> {
    let mut hello = Reader(body);
    let mut version = hello.u16()?;
    hello.take(32)?;
    hello.short().filter(|session| session.len() <= 32)?;
    let cipher = hello.u16()?;
    hello.u8()?;
    if !hello.0.is_empty() {
        let length = usize::from(hello.u16()?);
        let mut extensions = Reader(if complete { hello.take(length)? } else { hello.0 });
        while !extensions.0.is_empty() {
            let (kind, value) = (extensions.u16()?, extensions.long()?);
            if kind == EXT_SUPPORTED_VERSIONS {
                version = normal(be16(value, 0)?);
            }
        }
    }
    let tls = info.tls.get_or_insert_with(TlsInfo::default);
    (tls.version, tls.cipher) = (version, cipher);
    if version < TLS_1_2 {
        *status |= FlowStatus::ObsoleteTls.bit();
    }
    Some(())
}

/// Drafts of TLS 1.3 count as TLS 1.3.
fn normal(version: u16) -> u16 {
    if version >> 8 == 0x7f { TLS_1_3 } else { version }
}

#[cfg(test)]
mod tests;
