use proptest::prelude::*;
use ring::aead::Aad;

use super::*;
use crate::l7::Verdict;
use crate::l7::tests::{Run, hex, udp};

/// First datagrams of aioquic 1.7 as a client of quic.example.org: version 1 offering h3, version 2
/// offering doq, and a hello of two datagrams that offers many protocols.
fn recorded(label: &str) -> Vec<Vec<u8>> {
    let lines = include_str!("tests/aioquic.txt").lines();
    lines.filter_map(|line| line.strip_prefix(label)?.strip_prefix(' ')).map(hex).collect()
}

fn check(run: &Run, alpn: &str) {
    let tls = run.info.tls.clone().unwrap();
    assert_eq!((&*tls.sni, &*tls.alpn, tls.version), ("quic.example.org", alpn, 0x0304));
    assert!(tls.ja4.starts_with("q13d"), "{}", tls.ja4);
}

#[test]
fn a_hello_is_read_out_of_its_packet() {
    let mut run = Run::new(udp(50_000, 443));
    assert_eq!(run.client(&recorded("v1")[0]), Verdict::Decided("QUIC"));
    check(&run, "h3");
    assert_eq!(run.server(&[0x40; 30]), Verdict::Done);
}

#[test]
fn dns_over_quic_has_its_own_name() {
    let mut run = Run::new(udp(50_000, 443));
    assert_eq!(run.client(&recorded("v2")[0]), Verdict::Decided("DoH_DoT"));
    check(&run, "doq");
    let mut run = Run::new(udp(50_000, 853));
    assert_eq!(run.client(&recorded("v1")[0]), Verdict::Decided("DoH_DoT"));
}

#[test]
fn a_hello_of_two_datagrams_comes_in_any_order_and_more_than_once() {
    let [first, second] = recorded("long").try_into().unwrap();
    for order in [vec![&first, &second], vec![&second, &first], vec![&first, &first, &second]] {
        let mut run = Run::new(udp(50_000, 443));
        assert_eq!(run.client(order[0]), Verdict::Decided("QUIC"));
        for datagram in &order[1..order.len() - 1] {
            assert_eq!(run.client(datagram), Verdict::Reading);
        }
        assert_eq!(run.client(order[order.len() - 1]), Verdict::Done);
        check(&run, "h3");
    }
}

#[test]
fn a_cut_packet_stays_closed() {
    let whole = &recorded("v1")[0];
    let length = header::long(whole).unwrap().bytes.len();
    for cut in 0..whole.len() {
        let mut run = Run::new(udp(50_000, 443));
        run.client(&whole[..cut]);
        assert_eq!(run.info.tls.is_some(), cut >= length, "{cut}");
    }
}

#[test]
fn first_datagrams_are_known_by_version_and_size() {
    let whole = &recorded("v1")[0];
    assert_eq!(Run::new(udp(50_000, 4433)).client(whole), Verdict::Decided("QUIC"));
    assert_eq!(Run::new(udp(50_000, 4433)).client(&whole[..100]), Verdict::Undecided);
    let mut long_id = whole.clone();
    long_id[5] = 21;
    assert_eq!(Run::new(udp(50_000, 443)).client(&long_id), Verdict::Undecided);
}

#[test]
fn versions_are_negotiated() {
    let offer = hex("80 00000000 08 0102030405060708 08 1112131415161718 00000001 6b3343cf 1a2a3a4a");
    assert_eq!(Run::new(udp(50_000, 4433)).server(&offer), Verdict::Decided("QUIC"));
    assert_eq!(Run::new(udp(50_000, 4433)).server(&offer[..offer.len() - 1]), Verdict::Undecided);
    let mut forced = recorded("v1")[0].clone();
    forced[1..5].copy_from_slice(&hex("1a2a3a4a"));
    assert_eq!(Run::new(udp(50_000, 4433)).client(&forced), Verdict::Decided("QUIC"));
}

/// Layout after the "QUIC Wire Layout" document: public header, hash, a stream frame with the hello.
fn google(version: &[u8; 4]) -> Vec<u8> {
    let mut packet = vec![0x0d, 1, 2, 3, 4, 5, 6, 7, 8];
    packet.extend(version);
    packet.push(1);
    packet.extend([0xaa; 12]);
    packet.extend([0xa0, 1, 0, 4]);
    packet.extend(b"CHLO\x03\0\0\0");
    for (tag, end) in [(b"PAD\0", 10_u32), (b"SNI\0", 25), (b"UAID", 34)] {
        packet.extend(tag);
        packet.extend(end.to_le_bytes());
    }
    packet.extend([b'-'; 10]);
    packet.extend(b"www.example.comChrome/50");
    packet
}

#[test]
fn googles_hello_is_in_the_clear() {
    for version in [b"Q024", b"Q043"] {
        let mut run = Run::new(udp(50_000, 8443));
        assert_eq!(run.client(&google(version)), Verdict::Decided("QUIC"));
        let tls = run.info.tls.unwrap();
        assert_eq!((&*tls.sni, &*tls.user_agent), ("www.example.com", "Chrome/50"));
    }
    let mut long = vec![0xc3];
    long.extend(b"Q046\x50\x01\x02\x03\x04\x05\x06\x07\x08\0\0\0\x01");
    long.extend(&google(b"Q043")[14..]);
    let mut run = Run::new(udp(50_000, 443));
    assert_eq!(run.client(&long), Verdict::Decided("QUIC"));
    assert_eq!(&*run.info.tls.unwrap().sni, "www.example.com");
    assert_eq!(Run::new(udp(50_000, 443)).client(&google(b"R024")), Verdict::Undecided);
}

/// An Initial packet of a client, encrypted with the library that decrypts it in the code under test.
fn seal(version: u32, id: &[u8], number: u8, frames: &[u8]) -> Vec<u8> {
    let version = Version(version);
    let keys = initial::tests::keys(version, id);
    let mut packet = vec![0xc0 | version.initial_type() << 4];
    packet.extend(version.0.to_be_bytes());
    packet.push(id.len() as u8);
    packet.extend(id);
    packet.extend([0, 0]);
    packet.extend((0x4000 | (1 + frames.len() as u16 + 16)).to_be_bytes());
    let at = packet.len();
    packet.push(number);
    let mut nonce = keys.iv();
    nonce[11] ^= number;
    let mut body = frames.to_vec();
    keys.seal(nonce, Aad::from(&packet), &mut body);
    packet.extend(body);
    let mask = keys.mask(&packet[at + 4..at + 20]);
    packet[0] ^= mask[0] & 0x0f;
    packet[at] ^= mask[1];
    packet
}

fn crypto(at: usize, piece: &[u8]) -> Vec<u8> {
    numbered(6, at, piece)
}

fn numbered(kind: u8, at: usize, piece: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((0x4000 | at as u16).to_be_bytes());
    frame.extend((0x4000 | piece.len() as u16).to_be_bytes());
    frame.extend(piece);
    frame
}

/// A hello with a server name behind a key share of `padding` bytes.
fn message(padding: usize) -> Vec<u8> {
    let extension = |kind: u16, value: &[u8]| {
        [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
    };
    let extensions = [
        extension(51, &vec![5; padding]),
        extension(0, b"\0\x13\0\0\x10quic.example.org"),
        extension(43, &[2, 3, 4]),
        extension(16, b"\0\x03\x02h3"),
    ]
    .concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    [&[1, 0][..], &(body.len() as u16).to_be_bytes(), &body].concat()
}

#[test]
fn every_version_opens() {
    let versions =
        [1, 0x6b33_43cf, 0x709a_50c4, 0xff00_0016, 0xff00_001b, 0xff00_001d, 0xff00_0022, 0xface_b002];
    for version in versions {
        let mut packet = seal(version, b"12345678", 0, &[crypto(0, &message(0)), vec![0; 900]].concat());
        // Coalesced with another packet, as clients with early data do.
        packet.extend([0x40; 200]);
        let mut run = Run::new(udp(50_000, 443));
        run.client(&packet);
        check(&run, "h3");
    }
}

/// Versions of Google's on the way to the standard: TLS in frames of their own numbers, TLS in the
/// standard's, and their own hello.
#[test]
fn googles_versions_with_encryption_open() {
    let version = |name: &[u8; 4]| u32::from_be_bytes(*name);
    for (name, kind) in [(b"T050", 8), (b"T051", 6)] {
        let packet =
            seal(version(name), b"12345678", 0, &[numbered(kind, 0, &message(0)), vec![0; 900]].concat());
        let mut run = Run::new(udp(50_000, 443));
        run.client(&packet);
        check(&run, "h3");
        let other = seal(
            version(name),
            b"12345678",
            0,
            &[numbered(14 - kind, 0, &message(0)), vec![0; 900]].concat(),
        );
        let mut run = Run::new(udp(50_000, 443));
        run.client(&other);
        assert_eq!(&*run.info.tls.unwrap_or_default().sni, "", "the other's number");
    }
    let hello = &google(b"Q043")[26..];
    let packet = seal(version(b"Q050"), b"12345678", 0, &[hello, &[0; 900]].concat());
    let mut run = Run::new(udp(50_000, 443));
    run.client(&packet);
    let tls = run.info.tls.unwrap();
    assert_eq!((&*tls.sni, &*tls.user_agent), ("www.example.com", "Chrome/50"));
}

#[test]
fn the_first_connection_id_makes_the_keys_also_after_it_changed() {
    let message = message(0);
    let first = seal(1, b"12345678", 0, &crypto(0, &message[..60]));
    let mut second = seal(1, b"12345678", 1, &crypto(60, &message[60..]));
    let mut run = Run::new(udp(50_000, 443));
    run.client(&first);
    run.client(&second);
    check(&run, "h3");
    // The id is protected with the packet: another one does not open it.
    second[6] ^= 1;
    let mut run = Run::new(udp(50_000, 443));
    run.client(&first);
    assert_eq!(run.client(&second), Verdict::Reading);
    assert_eq!(&*run.info.tls.unwrap_or_default().sni, "");
}

#[test]
fn what_is_kept_of_a_hello_without_end_is_bounded() {
    let mut run = Run::new(udp(50_000, 443));
    let packet = seal(1, b"12345678", 0, &[crypto(0, &message(0)[..50]), vec![0; 1000]].concat());
    let verdicts: Vec<_> = (0..20).map(|_| run.client(&packet)).collect();
    assert_eq!(verdicts.last(), Some(&Verdict::Done));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn frames_in_any_order_over_packets_and_datagrams_make_the_hello(
        padding in 0..1500_usize,
        seed in prop::collection::vec(any::<prop::sample::Index>(), 24),
        per_packet in 1..5_usize,
        per_datagram in 1..3_usize,
        again in any::<bool>(),
    ) {
        let message = message(padding);
        let size = message.len() / 8 + 1;
        let mut frames: Vec<Vec<u8>> =
            message.chunks(size).enumerate().map(|(n, piece)| crypto(n * size, piece)).collect();
        for (at, other) in seed.iter().enumerate().take(frames.len()) {
            let other = other.index(frames.len());
            frames.swap(at, other);
        }
        if again {
            // A copy, and a piece that overlaps two others.
            frames.insert(1, frames[0].clone());
            frames.push(crypto(size / 2, &message[size / 2..(2 * size).min(message.len())]));
        }
        let packets: Vec<Vec<u8>> = frames
            .chunks(per_packet)
            .enumerate()
            .map(|(n, frames)| seal(1, b"12345678", n as u8, &[&[1, 0, 0][..], &frames.concat()].concat()))
            .collect();
        let mut run = Run::new(udp(50_000, 443));
        for packets in packets.chunks(per_datagram) {
            run.client(&packets.concat());
        }
        check(&run, "h3");
    }

    #[test]
    fn damaged_datagrams_do_no_harm(at in 0..1200_usize, byte in any::<u8>(), cut in 0..1200_usize) {
        let mut datagram = recorded("v1")[0].clone();
        datagram[at] = byte;
        let mut run = Run::new(udp(50_000, 443));
        run.client(&datagram[..cut]);
        run.client(&datagram);
        run.client(&recorded("long")[1]);
    }
}
