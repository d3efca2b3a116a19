use super::hello::{EXT_ALPN, EXT_SERVER_NAME, EXT_SUPPORTED_VERSIONS, TLS_1_3};
use super::*;
use crate::l7::Verdict;
use crate::l7::tests::{Run, tcp};

fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
}

fn record_of(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn sni(name: &[u8]) -> Vec<u8> {
    let length = name.len() as u16;
    let list = [&(length + 3).to_be_bytes()[..], &[0], &length.to_be_bytes(), name].concat();
    extension(EXT_SERVER_NAME, &list)
}

fn client(extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0x13, 0x01, 0xc0, 0x2f, 1, 0]);
    let extensions = extensions.concat();
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    record_of(HANDSHAKE, &message(CLIENT_HELLO, &body))
}

fn server(version: u16, cipher: u16, extensions: &[Vec<u8>]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([9; 32]);
    body.push(0);
    body.extend(cipher.to_be_bytes());
    body.push(0);
    if !extensions.is_empty() {
        let extensions = extensions.concat();
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
    }
    record_of(HANDSHAKE, &message(SERVER_HELLO, &body))
}

/// A hello as browsers send it, with a key share that does not fit one segment.
fn browser() -> Vec<u8> {
    client(&[
        extension(0x2a2a, &[]),
        extension(51, &[0; 1800]),
        extension(EXT_SUPPORTED_VERSIONS, &[6, 0x8a, 0x8a, 3, 4, 3, 3]),
        extension(EXT_ALPN, b"\0\x0c\x02h2\x08http/1.1"),
        sni(b"WWW.Example.org"),
    ])
}

fn check_browser(run: &Run) {
    let tls = run.info.tls.clone().unwrap();
    assert_eq!((&*tls.sni, &*tls.alpn, tls.version), ("www.example.org", "h2", TLS_1_3));
    assert_eq!(run.status, 0);
}

#[test]
fn hellos_tell_name_protocol_version_and_cipher() {
    let mut run = Run::new(tcp(50_000, 4433));
    assert_eq!(run.client(&browser()), Verdict::Decided("TLS"));
    check_browser(&run);
    let hello = server(TLS_1_2, 0x1301, &[extension(EXT_SUPPORTED_VERSIONS, &[3, 4])]);
    assert_eq!(run.server(&hello), Verdict::Done);
    let tls = run.info.tls.unwrap();
    assert_eq!((tls.version, tls.cipher), (TLS_1_3, 0x1301));
    assert_eq!(run.status, 0);
}

#[test]
fn a_hello_may_be_split_anywhere() {
    let hello = browser();
    for cut in 2..hello.len() {
        let mut run = Run::new(tcp(50_000, 4433));
        run.client(&hello[..cut]);
        run.client(&hello[cut..]);
        check_browser(&run);
    }
}

#[test]
fn a_hello_may_be_split_over_records_and_segments() {
    let hello = browser();
    let body = &hello[5..];
    let records: Vec<u8> = body.chunks(400).flat_map(|part| record_of(HANDSHAKE, part)).collect();
    let mut run = Run::new(tcp(50_000, 4433));
    for segment in records.chunks(536) {
        run.client(segment);
    }
    check_browser(&run);
}

#[test]
fn old_versions_and_missing_names_set_their_bits() {
    let mut run = Run::new(tcp(50_000, 4433));
    run.client(&client(&[]));
    assert_eq!(run.status, FlowStatus::TlsMissingSni.bit());
    run.server(&server(0x0301, 0x002f, &[]));
    assert_eq!(run.status, FlowStatus::TlsMissingSni.bit() | FlowStatus::ObsoleteTls.bit());
    let tls = run.info.tls.unwrap();
    assert_eq!((tls.version, tls.cipher), (0x0301, 0x002f));
}

#[test]
fn a_literal_address_as_name_is_remarkable() {
    let mut run = Run::new(tcp(50_000, 4433));
    run.client(&client(&[sni(b"192.0.2.1")]));
    assert_eq!(run.status, FlowStatus::NumericHost.bit());
}

#[test]
fn the_middle_of_a_connection_is_known_by_its_records() {
    let data = [record_of(APPLICATION_DATA, &[5; 40]), record_of(APPLICATION_DATA, &[6; 9])].concat();
    assert_eq!(Run::new(tcp(50_000, 4433)).server(&data), Verdict::Decided("TLS"));
    assert_eq!(Run::new(tcp(50_000, 4433)).server(&data[..57]), Verdict::Undecided);
    assert_eq!(Run::new(tcp(50_000, 443)).server(&data[..57]), Verdict::Decided("TLS"));
}

#[test]
fn a_hello_that_contradicts_itself_is_malformed() {
    let mut hello = browser();
    let last = hello.len() - 16;
    hello[last] = 0xff;
    let mut run = Run::new(tcp(50_000, 443));
    run.client(&hello);
    assert_ne!(run.status & FlowStatus::MalformedPacket.bit(), 0);
}

#[test]
fn a_hello_in_ssl2_form_is_known() {
    let mut hello = vec![0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 16];
    hello.extend([1; 0x15 + 16]);
    let mut run = Run::new(tcp(50_000, 4433));
    assert_eq!(run.client(&hello), Verdict::Decided("TLS"));
    assert_eq!(run.info.tls.unwrap().version, 0x0301);
}

#[test]
fn remarkable_hellos_set_their_bits() {
    let alpn = |list: &[u8]| extension(EXT_ALPN, &[&(list.len() as u16).to_be_bytes()[..], list].concat());
    let web = || alpn(b"\x02h2");
    let cases: [(Vec<Vec<u8>>, u64); 10] = [
        (vec![sni(b"a.example"), web()], 0),
        (vec![sni(b"a.example")], FlowStatus::TlsNotCarryingHttps.bit()),
        (vec![sni(b"a.example"), alpn(b"\x02\x0a\x0a\x02h2")], 0),
        (vec![sni(b"a.example"), alpn(b"\x02h2\x05weird")], FlowStatus::TlsUncommonAlpn.bit()),
        (vec![sni(b"xn--e1afmkfd.example"), web()], FlowStatus::PunycodeName.bit()),
        (vec![sni(b"a b.example"), web()], FlowStatus::InvalidCharacters.bit()),
        (vec![sni(b"imap.example.org"), web()], FlowStatus::TlsAlpnSniMismatch.bit()),
        (vec![sni(b"a.example"), extension(0xffce, &[1; 40]), web()], FlowStatus::TlsSuspiciousEsni.bit()),
        (vec![sni(b"a.example"), web(), web()], FlowStatus::TlsSuspiciousExtension.bit()),
        (vec![extension(0xffce, &[1; 40]), web()], 0),
    ];
    for (number, (extensions, bits)) in cases.into_iter().enumerate() {
        let mut run = Run::new(tcp(50_000, 443));
        run.client(&client(&extensions));
        assert_eq!(run.status, bits, "case {number}");
    }
}

#[test]
fn weak_suites_and_fatal_alerts_set_their_bits() {
    let mut run = Run::new(tcp(50_000, 4433));
    run.client(&browser());
    run.server(&server(TLS_1_2, 0x0005, &[]));
    assert_eq!(run.status, FlowStatus::TlsWeakCipher.bit());
    let mut run = Run::new(tcp(50_000, 4433));
    run.client(&browser());
    assert_eq!(run.server(&record_of(ALERT, &[2, 40])), Verdict::Done);
    assert_eq!(run.status, FlowStatus::TlsFatalAlert.bit());
}

#[test]
fn ports_and_hellos_give_names() {
    for (port, name) in [
        (465, "SMTPS"),
        (993, "IMAPS"),
        (995, "POPS"),
        (990, "FTPS"),
        (636, "LDAPS"),
        (853, "DoH_DoT"),
        (8443, "TLS"),
    ] {
        assert_eq!(Run::new(tcp(50_000, port)).client(&browser()), Verdict::Decided(name));
    }
    let mut run = Run::new(tcp(50_000, 443));
    assert_eq!(run.client(&client(&[sni(b"dns.google")])), Verdict::Decided("DoH_DoT"));
    assert_eq!(run.server(&server(TLS_1_2, 0x1301, &[extension(43, &[3, 4])])), Verdict::Done);
    assert_eq!(Run::new(tcp(50_000, 443)).client(&client(&[sni(b"notdns.google")])), Verdict::Decided("TLS"));
}

/// A self-signed certificate made with OpenSSL 3.0: P-256, CN=site.example, alternative names
/// site.example, *.site.example and 192.0.2.7, valid from 2025-12-02 to 2026-03-02.
const CERTIFICATE_DER: &[u8] = include_bytes!("certificate/site.der");

fn flight() -> Vec<u8> {
    let length = |count: usize| (count as u32).to_be_bytes()[1..].to_vec();
    let list = [length(CERTIFICATE_DER.len()), CERTIFICATE_DER.to_vec()].concat();
    let body = [length(list.len()), list].concat();
    let certificate = record_of(HANDSHAKE, &message(CERTIFICATE, &body));
    let done = record_of(HANDSHAKE, &message(14, &[]));
    [server(TLS_1_2, 0xc02b, &[extension(EXT_ALPN, b"\0\x03\x02h2")]), certificate, done].concat()
}

fn check_certificate(run: &Run) {
    let tls = run.info.tls.clone().unwrap();
    let certificate = tls.certificate.unwrap();
    assert_eq!((&*tls.alpn_chosen, tls.cipher), ("h2", 0xc02b));
    assert_eq!(&*certificate.subject, "C=DE, O=Example, CN=site.example");
    assert_eq!(certificate.issuer, certificate.subject);
    let names: Vec<&str> = certificate.names.iter().map(|name| &**name).collect();
    assert_eq!(names, ["site.example", "*.site.example", "192.0.2.7"]);
    assert_eq!((certificate.not_before, certificate.not_after), (1_764_633_600, 1_772_409_600));
    assert_eq!(&*certificate.fingerprint, include_str!("certificate/site.sha1").trim());
    let wanted = FlowStatus::TlsCertificateSelfSigned.bit() | FlowStatus::TlsCertificateMismatch.bit();
    assert_eq!(run.status, wanted);
}

#[test]
fn a_certificate_is_read_however_it_is_split() {
    let flight = flight();
    for cut in 2..flight.len() {
        let mut run = Run::new(tcp(50_000, 4433));
        run.client(&browser());
        run.server(&flight[..cut]);
        run.server(&flight[cut..]);
        check_certificate(&run);
    }
    for size in [100, 300, 1460] {
        let mut run = Run::new(tcp(50_000, 4433));
        run.client(&browser());
        for segment in flight.chunks(size) {
            run.server(segment);
        }
        check_certificate(&run);
    }
}

#[test]
fn messages_may_share_a_record_or_be_spread_over_many() {
    let flight = flight();
    let mut messages = Vec::new();
    let mut rest = &flight[..];
    while let Some((_, body, length)) = record(rest) {
        messages.extend_from_slice(body);
        rest = &rest[5 + length..];
    }
    for size in [1, 7, 50, 10_000] {
        let records: Vec<u8> = messages.chunks(size).flat_map(|part| record_of(HANDSHAKE, part)).collect();
        let mut run = Run::new(tcp(50_000, 4433));
        run.client(&browser());
        run.server(&records);
        check_certificate(&run);
    }
}
