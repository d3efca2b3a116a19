mod captures;
mod fragments;
mod hostile;
mod shapes;
mod tunnels;

use shared::model::flow::TCP_SYN;

use super::*;
use crate::capture::LinkType;

fn desc(link: LinkType, frame: &[u8]) -> PacketDesc {
    let length = frame.len() as u32;
    PacketDesc { ts: Timestamp::from_ns(7), offset: 0, captured: length, length, link, interface: 0 }
}

fn decode<'a>(desc: &PacketDesc, frame: &'a [u8]) -> Result<Decoded<'a>, DecodeError> {
    record(desc.link, frame);
    Decoder::new(DecoderConfig::default()).decode(desc, frame)
}

/// Leaves a seed for the fuzz target `decode`.
fn record(link: LinkType, frame: &[u8]) {
    let length = (frame.len() as u16).to_be_bytes();
    let input = [&link.0.to_be_bytes()[..], &[0], &length, frame].concat();
    crate::seeds::record("decode", "-", &input);
}

fn packet(link: LinkType, frame: &[u8]) -> Packet<'_> {
    match decode(&desc(link, frame), frame) {
        Ok(Decoded::Packet(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

fn error(link: LinkType, frame: &[u8]) -> DecodeError {
    decode(&desc(link, frame), frame).unwrap_err()
}

fn v4(protocol: u8, flags: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x45, 0];
    bytes.extend((20 + body.len() as u16).to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend(flags.to_be_bytes());
    bytes.extend([64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend_from_slice(body);
    bytes
}

fn v6(next: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend([next, 63]);
    bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    bytes.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    bytes.extend_from_slice(body);
    bytes
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0, 53];
    bytes.extend((8 + payload.len() as u16).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend_from_slice(payload);
    bytes
}

fn tcp(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0, 80, 0, 0, 0, 5, 0, 0, 0, 9, 0x60, TCP_SYN, 1, 0, 0, 0, 0, 0];
    // One option of four bytes.
    bytes.extend([2, 4, 5, 0xb4]);
    bytes.extend_from_slice(payload);
    bytes
}

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];

fn ethernet(header: &[u8], body: &[u8]) -> Vec<u8> {
    [&MACS[..], header, body].concat()
}

#[test]
fn every_link_type_carries_ip() {
    let ip4 = v4(17, 0, &udp(b"hi"));
    let ip6 = v6(17, &udp(b"hi"));
    let sll = [&[0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 8, 0][..], &ip4].concat();
    let sll2 = [&[0x86, 0xdd, 0, 0, 0, 0, 0, 2, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0][..], &ip6].concat();
    let frames: Vec<(LinkType, Vec<u8>)> = vec![
        (LinkType::ETHERNET, ethernet(&[8, 0], &ip4)),
        (LinkType::ETHERNET, ethernet(&[0x86, 0xdd], &ip6)),
        (LinkType::ETHERNET, ethernet(&[0, 48, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &ip4)),
        (LinkType::LINUX_SLL, sll),
        (LinkType::LINUX_SLL2, sll2),
        (LinkType::RAW, ip4.clone()),
        (LinkType::DLT_RAW, ip6.clone()),
        (LinkType::IPV4, ip4.clone()),
        (LinkType::IPV6, ip6.clone()),
        (LinkType::NULL, [&[2, 0, 0, 0][..], &ip4].concat()),
        (LinkType::NULL, [&[0, 0, 0, 30][..], &ip6].concat()),
        (LinkType::LOOP, [&[0, 0, 0, 24][..], &ip6].concat()),
        (LinkType::PPP, [&[0xff, 3, 0, 0x21][..], &ip4].concat()),
        (LinkType::PPP, [&[0x57][..], &ip6].concat()),
        (LinkType::C_HDLC, [&[0x0f, 0, 8, 0][..], &ip4].concat()),
    ];
    for (link, frame) in frames {
        let packet = packet(link, &frame);
        assert_eq!((packet.src_port, packet.dst_port, packet.payload), (40_000, 53, &b"hi"[..]), "{link:?}");
        assert_eq!((packet.payload_len, packet.length as usize), (2, frame.len()));
        assert_eq!(packet.ttl, if packet.src.is_ipv4() { 64 } else { 63 });
        let macs = (packet.src_mac.is_some(), packet.dst_mac.is_some());
        match link {
            LinkType::ETHERNET => assert_eq!(macs, (true, true)),
            LinkType::LINUX_SLL | LinkType::LINUX_SLL2 => {
                assert_eq!(packet.src_mac, Some([2, 0, 0, 0, 0, 1]));
            }
            _ => assert_eq!(macs, (false, false)),
        }
    }
}

#[test]
fn the_outermost_vlan_counts_and_priority_tags_do_not() {
    let ip = v4(17, 0, &udp(b"hi"));
    let vlan = |header: &[u8]| packet(LinkType::ETHERNET, &ethernet(header, &ip)).vlan;
    assert_eq!(vlan(&[8, 0]), 0);
    assert_eq!(vlan(&[0x81, 0, 0xe0, 7, 8, 0]), 7);
    assert_eq!(vlan(&[0x88, 0xa8, 0, 100, 0x81, 0, 0, 7, 8, 0]), 100);
    assert_eq!(vlan(&[0x81, 0, 0x20, 0, 0x81, 0, 0, 9, 8, 0]), 9);
    // What marked a provider's tag before 802.1ad.
    for mark in [0x91, 0x92, 0x93] {
        let frame = ethernet(&[mark, 0, 0, 100, 0x81, 0, 0, 7, 8, 0], &ip);
        let packet = packet(LinkType::ETHERNET, &frame);
        assert_eq!((packet.vlan, packet.inner_vlan), (100, 7), "{mark:02x}");
    }
}

#[test]
fn padding_is_not_payload_and_a_short_snaplen_does_not_shorten_the_wire() {
    let frame = ethernet(&[8, 0], &[v4(6, 0, &tcp(b"abc")), vec![0; 9]].concat());
    let whole = packet(LinkType::ETHERNET, &frame);
    assert_eq!((whole.payload, whole.payload_len), (&b"abc"[..], 3));
    let header = TcpHeader { seq: 5, ack: 9, flags: TCP_SYN, window: 256 };
    assert_eq!(whole.tcp, Some(header));

    let long = ethernet(&[8, 0], &v4(6, 0, &tcp(&[b'x'; 1000])));
    let cut = &long[..14 + 20 + 24 + 10];
    let info = PacketDesc { length: long.len() as u32, ..desc(LinkType::ETHERNET, cut) };
    match decode(&info, cut).unwrap() {
        Decoded::Packet(packet) => {
            assert_eq!((packet.payload.len(), packet.payload_len), (10, 1000));
            assert_eq!(packet.length as usize, long.len());
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_total_length_of_zero_is_told_by_the_wire() {
    let mut ip = v4(6, 0, &tcp(b"offloaded"));
    ip[2..4].copy_from_slice(&[0, 0]);
    let frame = ethernet(&[8, 0], &ip);
    let packet = packet(LinkType::ETHERNET, &frame);
    assert_eq!((packet.payload, packet.payload_len), (&b"offloaded"[..], 9));
}

#[test]
fn fragments_have_ports_in_the_first_only() {
    let first = v4(17, 0x2000, &[&udp(b"")[..4], &[5, 0, 0, 0], b"data"].concat());
    let first = packet(LinkType::RAW, &first);
    assert_eq!((first.fragment, first.dst_port, first.payload), (Fragment::First, 53, &b"data"[..]));
    let later = v4(17, 185, b"12345678");
    let later = packet(LinkType::RAW, &later);
    assert_eq!((later.fragment, later.dst_port, later.payload_len), (Fragment::Later, 0, 8));
    assert!(later.payload.is_empty());
    let later = v6(44, &[&[6, 0, 5, 0xc8, 0, 0, 0, 1][..], b"12345678"].concat());
    let later = packet(LinkType::RAW, &later);
    assert_eq!((later.fragment, later.l4, later.payload_len), (Fragment::Later, L4::TCP, 8));
}

#[test]
fn ipv6_extension_headers_are_passed() {
    let mut body = vec![43, 0, 0, 0, 0, 0, 0, 0];
    body.extend([51, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.extend([44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    body.extend([60, 0, 0, 0, 0, 0, 0, 1]);
    body.extend([17, 0, 0, 0, 0, 0, 0, 0]);
    body.extend(udp(b"deep"));
    let frame = v6(0, &body);
    let packet = packet(LinkType::RAW, &frame);
    assert_eq!((packet.l4, packet.dst_port, packet.payload), (L4::UDP, 53, &b"deep"[..]));
    assert_eq!((packet.fragment, packet.payload_len), (Fragment::None, 4));
}

#[test]
fn icmp_and_other_protocols() {
    let icmp = v4(1, 0, &[3, 1, 0, 0, 0, 0, 0, 0, b'x']);
    let icmp = packet(LinkType::RAW, &icmp);
    assert_eq!((icmp.icmp, icmp.src_port, icmp.payload), (Some((3, 1)), 0, &b"x"[..]));
    let ospf = v4(89, 0, b"hello");
    let ospf = packet(LinkType::RAW, &ospf);
    assert_eq!((ospf.l4, ospf.dst_port, ospf.payload_len), (L4(89), 0, 5));
    let sctp = v4(132, 0, &[0, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0]);
    let sctp = packet(LinkType::RAW, &sctp);
    assert_eq!((sctp.src_port, sctp.dst_port, sctp.payload_len), (5, 6, 0));
}

fn assert_not_ip(link: LinkType, frame: &[u8], ethertype: u16) {
    assert_eq!(decode(&desc(link, frame), frame), Ok(Decoded::NotIp(ethertype)));
}

#[test]
fn what_is_no_ip_is_fine() {
    assert_not_ip(LinkType::ETHERNET, &ethernet(&[8, 6], &[0; 28]), 0x0806);
    assert_not_ip(LinkType::ETHERNET, &ethernet(&[0x81, 0, 0, 5, 0x88, 0xcc], &[]), 0x88cc);
    assert_not_ip(LinkType::ETHERNET, &ethernet(&[0, 38, 0x42, 0x42, 3], &[0; 35]), 0);
    assert_not_ip(LinkType::NULL, &[7, 0, 0, 0, 1], 0);
    assert_not_ip(LinkType::PPP, &[0xc0, 0x21, 1], 0);
}
