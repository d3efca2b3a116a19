//! What is remarkable about hellos and certificates, as status bits.

use shared::model::flow::{TlsCertificate, TlsInfo};
use shared::model::status::{FlowStatus, StatusBits};

use super::hello::{ClientHello, Over, is_grease, protocols};
use crate::l7::text::is_address;
use crate::l7::{L7Context, host};

const DAY_S: i64 = 86_400;
/// Longest validity that browsers accept (CA/Browser Forum, Baseline Requirements §6.3.2).
const LONGEST_VALIDITY_S: i64 = 398 * DAY_S;
/// Certificates signed before this time could be valid for longer: 2020-09-01.
const LONGEST_SINCE_S: i64 = 1_598_918_400;
/// An end nearer than this should have been renewed.
const SOON_S: i64 = 30 * DAY_S;

/// Beginnings of the protocols in IANA's registry of ALPN, and of the drafts that led to them.
const ALPN: &[&[u8]] = &[
    b"http/",
    b"h2",
    b"h3",
    b"spdy/",
    b"hq",
    b"stun.",
    b"webrtc",
    b"c-webrtc",
    b"ftp",
    b"imap",
    b"pop3",
    b"managesieve",
    b"coap",
    b"co",
    b"xmpp-",
    b"acme-tls/1",
    b"mqtt",
    b"dot",
    b"doq",
    b"ntske/1",
    b"sunrpc",
    b"smb",
    b"irc",
    b"nntp",
    b"nnsp",
    b"sip/2",
    b"tds/8.0",
    b"dicom",
    b"postgresql",
    b"radius/",
    b"smtp",
    b"lsp",
    b"grpc-exp",
];

/// Relays that hide who asks: iCloud Private Relay (developer.apple.com, "Prepare your network or web
/// server for iCloud Private Relay").
const RELAYS: [&str; 3] = ["mask.icloud.com", "mask-h2.icloud.com", "mask.apple-dns.net"];

/// Protocols of the web.
const WEB: &[&[u8]] = &[b"http/", b"h2", b"h3", b"spdy/", b"hq", b"grpc-exp"];

/// Protocols that are not the web, with what hosts that offer them are called.
const HOSTED: &[(&[u8], &[&str])] = &[
    (b"imap", &["imap", "mail"]),
    (b"pop3", &["pop", "pop3", "mail"]),
    (b"smtp", &["smtp", "mx", "mail"]),
    (b"ftp", &["ftp"]),
    (b"irc", &["irc"]),
    (b"mqtt", &["mqtt"]),
];

fn is_one_of(name: &[u8], starts: &[&[u8]]) -> bool {
    starts.iter().any(|start| name.starts_with(start))
}

/// Bits of a whole client's hello.
pub(super) fn of_client(hello: &ClientHello<'_>, tls: &TlsInfo, over: Over, cx: &L7Context) -> StatusBits {
    let mut bits = host::of_host(&tls.sni);
    let mut set = |status: FlowStatus, when: bool| bits |= if when { status.bit() } else { 0 };
    let named = !tls.sni.is_empty();
    set(FlowStatus::TlsMissingSni, !named && !hello.has_encrypted_name);
    set(FlowStatus::TlsSuspiciousEsni, named && hello.has_encrypted_name);
    set(FlowStatus::TlsSuspiciousExtension, hello.odd_extension);
    set(FlowStatus::AnonymousSubscriber, RELAYS.contains(&&*tls.sni));
    let offered = || protocols(hello.protocols).filter(|name| !is_made_up(name));
    set(FlowStatus::TlsUncommonAlpn, offered().any(|name| !is_one_of(name, ALPN)));
    let is_web = offered().any(|name| is_one_of(name, WEB));
    set(FlowStatus::TlsNotCarryingHttps, over == Over::Tcp && cx.server_port == 443 && !is_web);
    let label = tls.sni.split('.').next().unwrap_or_default();
    let contradicts = |name: &[u8]| {
        let other = HOSTED.iter().find(|(_, labels)| labels.contains(&label) && label != "mail");
        let web_label = label == "www" && HOSTED.iter().any(|(protocol, _)| name.starts_with(protocol));
        web_label || other.is_some_and(|(protocol, _)| is_one_of(name, WEB) && !name.starts_with(protocol))
    };
    set(FlowStatus::TlsAlpnSniMismatch, named && offered().next().is_some_and(contradicts));
    bits
}

/// Two equal bytes of the reserved kind (RFC 8701 §2).
fn is_made_up(name: &[u8]) -> bool {
    matches!(name, [a, b] if is_grease(u16::from_be_bytes([*a, *b])))
}

/// Whether a certificate is of a Tor relay: two names made up of base32 (tor-spec, "Negotiating and
/// initializing channels"; lengths as in Tor's tls.c).
pub(super) fn is_tor(issuer: &str, subject: &str) -> bool {
    let made_up = |name: &str, end: &str| {
        let label = name.strip_prefix("www.").and_then(|name| name.strip_suffix(end));
        label.is_some_and(|label| {
            (8..=20).contains(&label.len()) && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'2'..=b'7'))
        })
    };
    let has_digit = |name: &str| name.bytes().any(|byte| byte.is_ascii_digit());
    made_up(issuer, ".com") && made_up(subject, ".net") && (has_digit(issuer) || has_digit(subject))
}

/// Bits of a server's choice.
pub(super) fn of_server(version: u16, cipher: u16) -> StatusBits {
    let obsolete = matches!(version, 0..0x0303 | 0xfeff);
    let obsolete = if obsolete { FlowStatus::ObsoleteTls.bit() } else { 0 };
    obsolete | if is_weak(cipher) { FlowStatus::TlsWeakCipher.bit() } else { 0 }
}

/// Suites without encryption or authentication, for export, with DES, 3DES, RC2, RC4 or IDEA
/// (RFC 9325 §4.1 and IANA's registry).
fn is_weak(cipher: u16) -> bool {
    matches!(
        cipher,
        0x0000..=0x002e
            | 0x0034
            | 0x003a..=0x003b
            | 0x0046
            | 0x0060..=0x0066
            | 0x006c..=0x006d
            | 0x0089
            | 0x008a
            | 0x008b
            | 0x008e
            | 0x008f
            | 0x0092
            | 0x0093
            | 0x009b
            | 0x00a6..=0x00a7
            | 0x00b0..=0x00b1
            | 0x00b4..=0x00b5
            | 0x00b8..=0x00b9
            | 0xc001..=0xc003
            | 0xc006..=0xc008
            | 0xc00b..=0xc00d
            | 0xc010..=0xc012
            | 0xc015..=0xc01c
            | 0xc033..=0xc034
            | 0xc039..=0xc03b
    )
}

/// Bits of the server's certificate.
pub(super) fn of_certificate(certificate: &TlsCertificate, name: &str, at_s: i64) -> StatusBits {
    let mut bits = 0;
    let mut set = |status: FlowStatus, when: bool| bits |= if when { status.bit() } else { 0 };
    let (begin, end) = (certificate.not_before, certificate.not_after);
    let valid = (begin..=end).contains(&at_s);
    set(FlowStatus::TlsCertificateExpired, !valid);
    set(FlowStatus::TlsCertificateExpiresSoon, valid && end - at_s < SOON_S);
    let too_long = end.saturating_sub(begin) > LONGEST_VALIDITY_S && begin >= LONGEST_SINCE_S;
    set(FlowStatus::TlsCertificateTooLong, too_long);
    set(FlowStatus::TlsCertificateSelfSigned, certificate.self_signed);
    let names = certificate.names.iter().map(|name| &**name);
    // The common name counts only without others (RFC 6125 §6.4.4).
    let common = Some(common_name(&certificate.subject)).filter(|_| certificate.names.is_empty());
    let known =
        !name.is_empty() && (!certificate.names.is_empty() || common.is_some_and(|name| !name.is_empty()));
    set(
        FlowStatus::TlsCertificateMismatch,
        known && !names.chain(common).any(|pattern| matches_name(pattern, name)),
    );
    bits
}

/// The common name in a subject's text.
pub(super) fn common_name(subject: &str) -> &str {
    subject.split(", ").find_map(|part| part.strip_prefix("CN=")).unwrap_or_default()
}

/// Whether a certificate's name covers `name`; a star stands for the whole first label (RFC 6125 §6.4.3).
fn matches_name(pattern: &str, name: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("*.").filter(|_| !is_address(name)) {
        return name.split_once('.').is_some_and(|(_, parent)| parent.eq_ignore_ascii_case(rest));
    }
    pattern.eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_covers_one_label() {
        for (pattern, name, expected) in [
            ("*.example.org", "www.example.org", true),
            ("*.Example.org", "www.example.ORG", true),
            ("*.example.org", "example.org", false),
            ("*.example.org", "a.b.example.org", false),
            ("example.org", "example.org", true),
            ("*.0.2.1", "192.0.2.1", false),
            ("192.0.2.1", "192.0.2.1", true),
        ] {
            assert_eq!(matches_name(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_certificate_has_a_time_and_names() {
        let now = 1_767_225_600;
        let good = TlsCertificate {
            subject: "C=DE, CN=old.example".into(),
            names: vec!["example.org".into(), "*.example.org".into()],
            not_before: now - 60 * DAY_S,
            not_after: now + 90 * DAY_S,
            ..TlsCertificate::default()
        };
        let check = |certificate: &TlsCertificate, name: &str, expected: Option<FlowStatus>| {
            assert_eq!(of_certificate(certificate, name, now), expected.map_or(0, FlowStatus::bit), "{name}");
        };
        check(&good, "www.example.org", None);
        check(&good, "", None);
        check(&good, "old.example", Some(FlowStatus::TlsCertificateMismatch));
        check(&TlsCertificate { names: Vec::new(), ..good.clone() }, "old.example", None);
        check(
            &TlsCertificate { not_after: now - 1, ..good.clone() },
            "",
            Some(FlowStatus::TlsCertificateExpired),
        );
        check(
            &TlsCertificate { not_before: now + 1, ..good.clone() },
            "",
            Some(FlowStatus::TlsCertificateExpired),
        );
        check(
            &TlsCertificate { not_after: now + 29 * DAY_S, ..good.clone() },
            "",
            Some(FlowStatus::TlsCertificateExpiresSoon),
        );
        check(
            &TlsCertificate { not_after: now + 400 * DAY_S, ..good.clone() },
            "",
            Some(FlowStatus::TlsCertificateTooLong),
        );
        check(&TlsCertificate { self_signed: true, ..good }, "", Some(FlowStatus::TlsCertificateSelfSigned));
    }

    #[test]
    fn relays_of_tor_have_two_names_made_up_of_base32() {
        assert!(is_tor("www.q4cyamnc6mtokjur.com", "www.gfu7hbxpfp.net"));
        assert!(is_tor("www.abcdefgh.com", "www.t3i3ruxy.net"), "one of them shows a digit");
        for (issuer, subject) in [
            ("www.abcdefgh.com", "www.ijklmnop.net"),
            ("www.q4cyamnc6mtokjur.com", "www.q4cyamnc6mtokjur.com"),
            ("www.q4cyamnc6mtokjur.com", "www.gfu7.net"),
            ("www.q4cyamnc6mtokjurvdcltq.com", "www.gfu7hbxpfp.net"),
            ("www.q1cyamnc8mtokjur.com", "www.gfu7hbxpfp.net"),
            ("q4cyamnc6mtokjur.com", "gfu7hbxpfp.net"),
            ("www.site-2.com", "www.site-2.net"),
            ("", ""),
        ] {
            assert!(!is_tor(issuer, subject), "{issuer} {subject}");
        }
    }

    #[test]
    fn weak_suites() {
        for cipher in [0x0005, 0x000a, 0x0004, 0x0003, 0x0034, 0xc011, 0xc012, 0x0000] {
            assert!(is_weak(cipher), "{cipher:04x}");
        }
        for cipher in [0x002f, 0x0035, 0x009c, 0x1301, 0xc02f, 0xc013, 0xcca8, 0x0033] {
            assert!(!is_weak(cipher), "{cipher:04x}");
        }
    }
}
