//! Checks of TLS, on hellos and certificates made here (RFC 5246 §7.4, RFC 6066 §3, RFC 7301 §3.1).

use std::sync::LazyLock;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair, date_time_ymd};

use super::Proof;
use crate::support::traffic::Wire;

/// What is said in a handshake of TLS up to 1.2.
pub struct Hello<'a> {
    pub port: u16,
    pub name: &'a str,
    pub alpn: &'a [&'a str],
    /// Extensions more, as they are.
    pub extensions: Vec<u8>,
    pub version: u16,
    pub cipher: u16,
    pub certificate: Option<Vec<u8>>,
    /// A fatal alert at the end.
    pub fatal: bool,
}

impl Default for Hello<'_> {
    /// One that nobody has anything against.
    fn default() -> Self {
        Self {
            port: 443,
            name: "www.example.org",
            alpn: &["h2", "http/1.1"],
            extensions: Vec::new(),
            version: 0x0303,
            cipher: 0xc02f,
            certificate: None,
            fatal: false,
        }
    }
}

fn sized16(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn sized24(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[1..], bytes].concat()
}

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized16(value)].concat()
}

fn record(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &sized16(bytes)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    record(22, &[&[kind][..], &sized24(body)].concat())
}

impl Hello<'_> {
    fn client(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        if !self.name.is_empty() {
            let name = [&[0][..], &sized16(self.name.as_bytes())].concat();
            extensions.extend(extension(0, &sized16(&name)));
        }
        extensions.extend(extension(10, &[0, 4, 0, 29, 0, 23]));
        extensions.extend(extension(13, &[0, 4, 4, 3, 8, 4]));
        if !self.alpn.is_empty() {
            let named = |name: &&str| [&[name.len() as u8][..], name.as_bytes()].concat();
            let names: Vec<u8> = self.alpn.iter().flat_map(named).collect();
            extensions.extend(extension(16, &sized16(&names)));
        }
        extensions.extend(&self.extensions);
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 4, 0xc0, 0x2f, 0xc0, 0x30, 1, 0]);
        body.extend(sized16(&extensions));
        message(1, &body)
    }

    fn server(&self) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        body.extend([9; 32]);
        body.push(0);
        body.extend(self.cipher.to_be_bytes());
        body.extend([0, 0, 0]);
        let mut flight = message(2, &body);
        if let Some(certificate) = &self.certificate {
            flight.extend(message(11, &sized24(&sized24(certificate))));
        }
        flight.extend(message(14, &[]));
        flight
    }
}

/// The handshake, as traffic.
pub fn hello(hello: Hello<'_>) -> impl FnOnce(&mut Wire) {
    move |wire| {
        let alert = record(21, &[2, 40]);
        let mut said = vec![(true, hello.client()), (false, hello.server())];
        said.extend(hello.fatal.then_some((true, alert)));
        let said: Vec<_> = said.iter().map(|(client, bytes)| (*client, &bytes[..])).collect();
        wire.tcp(hello.port, &said, false);
    }
}

/// A certificate for `name` from one day to another, and who signs it.
#[derive(Clone, Copy)]
pub struct Certificate {
    name: &'static str,
    from: (i32, u8, u8),
    to: (i32, u8, u8),
    self_signed: bool,
}

/// The bytes of a certificate that is the same in every handshake of a test run.
static KNOWN: LazyLock<Vec<u8>> = LazyLock::new(|| signed(GOOD));

/// The handshake in which a server shows it.
pub fn known(wire: &mut Wire) {
    hello(Hello { certificate: Some(KNOWN.clone()), ..Hello::default() })(wire);
}

/// Its SHA-1, in hexadecimal.
pub fn known_sha1() -> String {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &KNOWN);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One that nobody has anything against; the wire's day is 2023-11-14.
pub const GOOD: Certificate =
    Certificate { name: "www.example.org", from: (2023, 10, 1), to: (2024, 4, 1), self_signed: false };

/// The handshake in which a server shows a certificate.
pub fn showing(certificate: Certificate) -> impl FnOnce(&mut Wire) {
    hello(Hello { certificate: Some(signed(certificate)), ..Hello::default() })
}

fn signed(certificate: Certificate) -> Vec<u8> {
    let named = |name: &str| {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut params = named(certificate.name);
    let day = |(year, month, day)| date_time_ymd(year, month, day);
    (params.not_before, params.not_after) = (day(certificate.from), day(certificate.to));
    let key = KeyPair::generate().unwrap();
    let der = match certificate.self_signed {
        true => params.self_signed(&key).unwrap(),
        false => {
            let issuer = Issuer::new(named("ca.example.org"), KeyPair::generate().unwrap());
            params.signed_by(&key, &issuer).unwrap()
        }
    };
    der.der().to_vec()
}

proofs! {
    obsolete_tls []: hello(Hello { version: 0x0301, ..Hello::default() }), hello(Hello::default());
    tls_weak_cipher []: hello(Hello { cipher: 0x0005, ..Hello::default() }), hello(Hello::default());
    tls_missing_sni []: hello(Hello { name: "", ..Hello::default() }), hello(Hello::default());
    tls_suspicious_esni []: hello(Hello { extensions: extension(0xffce, &[0; 8]), ..Hello::default() }),
        hello(Hello::default());
    tls_suspicious_extension []: hello(Hello { extensions: extension(10, &[0, 2, 0, 23]), ..Hello::default() }),
        hello(Hello::default());
    tls_uncommon_alpn []: hello(Hello { alpn: &["anydesk/6.2.0/linux"], ..Hello::default() }), hello(Hello::default());
    tls_not_carrying_https []: hello(Hello { alpn: &[], ..Hello::default() }),
        hello(Hello { alpn: &[], port: 8443, ..Hello::default() });
    tls_alpn_sni_mismatch []: hello(Hello { alpn: &["imap"], ..Hello::default() }), hello(Hello::default());
    tls_fatal_alert []: hello(Hello { fatal: true, ..Hello::default() }), hello(Hello::default());
    anonymous_subscriber []: hello(Hello { name: "mask.icloud.com", ..Hello::default() }),
        hello(Hello { name: "www.icloud.com", ..Hello::default() });
    tls_certificate_expired []: showing(Certificate { to: (2023, 11, 1), ..GOOD }), showing(GOOD);
    tls_certificate_expires_soon []: showing(Certificate { to: (2023, 11, 30), ..GOOD }), showing(GOOD);
    tls_certificate_too_long []: showing(Certificate { to: (2033, 1, 1), ..GOOD }), showing(GOOD);
    tls_certificate_mismatch []: showing(Certificate { name: "mail.example.org", ..GOOD }), showing(GOOD);
    tls_certificate_self_signed []: showing(Certificate { self_signed: true, ..GOOD }), showing(GOOD);
}
