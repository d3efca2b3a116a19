//! TLS (RFC 8446, RFC 5246): hellos, the server's certificate where it is not encrypted, alerts; and
//! the SSL 2.0 form of a hello (RFC 5246 appendix E.2).

mod certificate;
pub(super) mod fingerprint;
pub(super) mod hello;
mod reader;
mod records;
mod risks;
pub(super) mod secured;

use shared::model::flow::{L7Info, Text, TlsCertificate};
use shared::model::status::{FlowStatus, StatusBits};
use shared::model::{AppCategory, Breed, L4};

pub(super) use self::certificate::first as first_certificate;
pub(super) use self::hello::Over;
use self::hello::{CLIENT_HELLO, HELLO_FIXED, MAX_HELLO, SERVER_HELLO};
use self::records::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, Messages, record};
use super::{Carrier, Dissector, L7Context, Probe, Want, be16};

const CERTIFICATE: u8 = 11;
const TLS_1_2: u16 = 0x0303;

pub(super) static TLS: Dissector = Dissector {
    name: "TLS",
    category: AppCategory::Web,
    breed: Breed::Safe,
    carrier: Carrier::Tcp,
    first,
    ports: &[(L4::TCP, 443), (L4::TCP, 8443)],
    probe,
    dissect,
};

fn first(byte: u8) -> bool {
    matches!(byte, 20..=23 | 0x80..)
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

pub(super) fn dissect(bytes: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) -> Want {
    if let Some(version) = ssl2_hello(bytes) {
        info.tls.get_or_insert_default().version = version;
        *status |= FlowStatus::TlsMissingSni.bit();
        return Want::Next;
    }
    let mut messages = Messages::of(bytes);
    let mut want = Want::Next;
    while let Some(message) = messages.next() {
        let complete = message.is_complete();
        match message.kind {
            CLIENT_HELLO | SERVER_HELLO if !(HELLO_FIXED..=MAX_HELLO).contains(&message.length) => {
                *status |= FlowStatus::MalformedPacket.bit();
                return Want::Next;
            }
            CLIENT_HELLO => {
                hello::client(&message.body, complete, Over::Tcp, cx, info, status);
                let tls = info.tls.as_ref().filter(|_| complete);
                if let Some(other) = tls.and_then(|tls| secured::by_hello(tls, cx)) {
                    want = Want::Become(other);
                }
            }
            SERVER_HELLO => {
                if hello::server(&message.body, complete, info, status).is_none() && complete {
                    *status |= FlowStatus::MalformedPacket.bit();
                }
                // What follows in version 1.3 is encrypted.
                if complete && info.tls.as_ref().is_some_and(|tls| tls.version > TLS_1_2) {
                    return Want::Nothing;
                }
            }
            CERTIFICATE if !cx.from_client => match certificate::first(&message.body) {
                Some(der) => note_certificate(der, cx, info, status),
                None if complete => {}
                None => return Want::Longer,
            },
            _ => continue,
        }
        if !complete && message.kind != CERTIFICATE {
            return Want::Longer;
        }
    }
    if messages.is_cut {
        return Want::Longer;
    }
    match record(messages.rest) {
        Some((ALERT, [2, _], 2)) => {
            *status |= FlowStatus::TlsFatalAlert.bit();
            Want::Nothing
        }
        // From here on nothing is in the clear.
        Some((CHANGE_CIPHER_SPEC | APPLICATION_DATA, ..)) if !cx.from_client => Want::Nothing,
        _ => want,
    }
}

/// Keeps what the server's certificate says.
pub(super) fn note_certificate(der: &[u8], cx: &L7Context, info: &mut L7Info, status: &mut StatusBits) {
    let tls = info.tls.get_or_insert_default();
    if tls.certificate.is_some() {
        return;
    }
    match certificate::read(der) {
        Some(certificate) => {
            *status |= risks::of_certificate(&certificate, &tls.sni, cx.at_s);
            info.hint = hint(&certificate);
            tls.certificate = Some(certificate);
        }
        None => *status |= FlowStatus::MalformedPacket.bit(),
    }
}

/// What a certificate tells of the application.
fn hint(certificate: &TlsCertificate) -> Text {
    let common = |name| risks::common_name(name).to_ascii_lowercase();
    if risks::is_tor(&common(&certificate.issuer), &common(&certificate.subject)) {
        return "torproject.org".into();
    }
    certificate.names.first().cloned().unwrap_or_else(|| common(&certificate.subject).into())
}

#[cfg(test)]
mod tests;
