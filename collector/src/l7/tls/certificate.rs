//! The server's certificate (RFC 5280) in its message (RFC 5246 §7.4.2).

use std::cell::RefCell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ring::digest;
use shared::model::flow::{Text, TlsCertificate};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

use super::fingerprint::hex;
use crate::l7::memo::Memo;
use crate::l7::text::{MAX_TEXT, wire_name, wire_text};

/// Most names kept; some certificates have hundreds.
const MAX_NAMES: usize = 32;

/// The server's own certificate, which is the first one of the list; `None` while it is cut.
pub(in crate::l7) fn first(message: &[u8]) -> Option<&[u8]> {
    let (_, rest) = message.split_first_chunk::<3>()?;
    let (&[high, middle, low], rest) = rest.split_first_chunk::<3>()?;
    rest.get(..u32::from_be_bytes([0, high, middle, low]) as usize)
}

/// Reads a certificate; one that was read lately is not read again.
pub(super) fn read(der: &[u8]) -> Option<Arc<TlsCertificate>> {
    thread_local! {
        static RECENT: RefCell<Memo<Arc<TlsCertificate>>> = RefCell::new(Memo::new());
    }
    RECENT.with_borrow_mut(|recent| recent.get_or(der, || parse(der).map(Arc::new)))
}

fn parse(der: &[u8]) -> Option<TlsCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    Some(TlsCertificate {
        subject: text(&certificate.subject().to_string()),
        issuer: text(&certificate.issuer().to_string()),
        names: names(&certificate),
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        fingerprint: hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref()),
    })
}

fn text(name: &str) -> Text {
    wire_text(name.as_bytes(), MAX_TEXT)
}

/// The subject's alternative names that are host names or addresses (RFC 5280 §4.2.1.6).
fn names(certificate: &X509Certificate<'_>) -> Vec<Text> {
    let lists = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let named = lists.flatten().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(wire_name(name.as_bytes())),
        GeneralName::IPAddress(raw) => {
            let v4 = <[u8; 4]>::try_from(*raw).ok().map(|raw| Ipv4Addr::from(raw).to_string());
            let v6 = || <[u8; 16]>::try_from(*raw).ok().map(|raw| Ipv6Addr::from(raw).to_string());
            v4.or_else(v6).map(Text::from)
        }
        _ => None,
    });
    // What separates names elsewhere must not be in one.
    named.filter(|name| !name.chars().any(char::is_control)).take(MAX_NAMES).collect()
}
