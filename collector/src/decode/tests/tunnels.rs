//! Real frames of every encapsulation.

use std::net::IpAddr;

use super::*;
use TunnelKind::*;

/// The bytes of a frame in `frames.txt`, which says where they come from.
pub(super) fn frame(name: &str) -> Vec<u8> {
    let lines = include_str!("frames.txt").lines().filter_map(|line| line.split_once(' '));
    let (_, hex) = lines.into_iter().find(|(found, _)| *found == name).unwrap_or_else(|| panic!("{name}"));
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn outer<'a>(link: LinkType, frame: &'a [u8]) -> Packet<'a> {
    let mut decoder = Decoder::new(DecoderConfig { tunnels: Tunnels::Outer, ..DecoderConfig::default() });
    match decoder.decode(&desc(link, frame), frame) {
        Ok(Decoded::Packet(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

const INNER_MAC: Option<[u8; 6]> = Some([2, 0, 0, 0, 0, 10]);
const OUTER_MAC: Option<[u8; 6]> = Some([2, 0, 0, 0, 0, 1]);

#[test]
fn every_encapsulation_shows_its_innermost_packet() {
    let cases = [
        ("mpls_v4", Mpls, 200, [0, 0], OUTER_MAC),
        ("mpls_v6", Mpls, 201, [0, 0], OUTER_MAC),
        ("mpls_pw", Mpls, 202, [300, 0], INNER_MAC),
        ("mpls_pw_bare", Mpls, 203, [0, 0], INNER_MAC),
        ("pppoe_v4", Pppoe, 0x1234, [0, 0], OUTER_MAC),
        ("pppoe_v6_qinq", Pppoe, 0x1235, [100, 200], OUTER_MAC),
        ("pbb", Pbb, 0x10203, [0, 0], INNER_MAC),
        ("gre", Gre, 0, [0, 0], OUTER_MAC),
        ("gre_all", Gre, 77, [0, 0], OUTER_MAC),
        ("gre_teb", Gre, 78, [0, 0], INNER_MAC),
        ("gre_mpls", Mpls, 204, [0, 0], OUTER_MAC),
        ("gre_udp", Gre, 80, [0, 0], OUTER_MAC),
        ("pptp", Pptp, 55, [0, 0], OUTER_MAC),
        ("erspan1", Erspan, 0, [0, 0], INNER_MAC),
        ("erspan2", Erspan, 123, [300, 0], INNER_MAC),
        ("erspan3", Erspan, 124, [0, 0], INNER_MAC),
        ("erspan3_sub", Erspan, 125, [0, 0], INNER_MAC),
        ("vxlan", Vxlan, 4242, [0, 0], INNER_MAC),
        ("vxlan6_vlan", Vxlan, 4243, [300, 0], INNER_MAC),
        ("vxlan_gpe", Vxlan, 4244, [0, 0], OUTER_MAC),
        ("geneve", Geneve, 5151, [0, 0], INNER_MAC),
        ("geneve_opt", Geneve, 5152, [0, 0], OUTER_MAC),
        ("gtpu", GtpU, 0xdead_beef, [0, 0], OUTER_MAC),
        ("gtpu_ext", GtpU, 0xdead_bef0, [0, 0], OUTER_MAC),
        ("ipip", IpInIp, 0, [0, 0], OUTER_MAC),
        ("6in4", IpInIp, 0, [0, 0], OUTER_MAC),
        ("4in6", IpInIp, 0, [0, 0], OUTER_MAC),
        ("6in6", IpInIp, 0, [0, 0], OUTER_MAC),
        ("etherip", EtherIp, 0, [0, 0], INNER_MAC),
        ("teredo", Teredo, 0, [0, 0], OUTER_MAC),
        ("teredo_auth", Teredo, 0, [0, 0], OUTER_MAC),
        ("l2tp", L2tp, 0x0003_0004, [0, 0], OUTER_MAC),
        ("l2tp_all", L2tp, 0x0003_0005, [0, 0], OUTER_MAC),
        ("mpls_udp", Mpls, 205, [0, 0], OUTER_MAC),
        ("nested", IpInIp, 0, [0, 0], INNER_MAC),
    ];
    for (name, kind, id, vlans, src_mac) in cases {
        let bytes = frame(name);
        let packet = packet(LinkType::ETHERNET, &bytes);
        assert_eq!(packet.tunnel, Some(Tunnel { kind, id }), "{name}");
        assert_eq!((packet.src_port, packet.dst_port, packet.l4), (4000, 5000, L4::UDP), "{name}");
        assert_eq!((packet.payload, packet.payload_len), (&b"inside"[..], 6), "{name}");
        let ends = match (packet.src.is_ipv4(), kind) {
            (true, _) => (ip("10.9.0.1"), ip("10.9.0.2")),
            (false, Teredo) => (ip("2001:0:c000:204::1"), ip("2001:db8::9")),
            (false, _) => (ip("fd09::1"), ip("fd09::2")),
        };
        assert_eq!((packet.src, packet.dst), ends, "{name}");
        assert_eq!(packet.tos, if kind == Teredo { 0 } else { 0xb8 }, "{name}");
        assert_eq!((packet.ttl, packet.flaw), (33, None), "{name}");
        assert_eq!([packet.vlan, packet.inner_vlan], vlans, "{name}");
        assert_eq!(packet.src_mac, src_mac, "{name}");
        assert_eq!(packet.length as usize, bytes.len(), "{name}: bytes count once, on the wire");
    }
}

#[test]
fn the_outer_packet_stands_where_it_is_asked_for() {
    for (name, l4, kind) in [
        ("gre_teb", 47, None),
        ("vxlan", 17, None),
        ("6in4", 41, None),
        ("gtpu", 17, None),
        ("etherip", 97, None),
        ("nested", 47, None),
        // These lie below the first IP header.
        ("mpls_v4", 17, Some(Mpls)),
        ("pppoe_v4", 17, Some(Pppoe)),
    ] {
        let bytes = frame(name);
        let packet = outer(LinkType::ETHERNET, &bytes);
        assert_eq!((packet.l4, packet.tunnel.map(|tunnel| tunnel.kind)), (L4(l4), kind), "{name}");
        assert_eq!((packet.length as usize, packet.flaw), (bytes.len(), None), "{name}");
        if kind.is_none() {
            let ends = [ip("192.0.2.1"), ip("2001:db8::1")];
            assert!(ends.contains(&packet.src), "{name}: {}", packet.src);
        }
    }
}

#[test]
fn other_link_types_carry_real_packets() {
    for (name, link, macs) in [
        ("wifi_to_ds", LinkType::IEEE802_11, true),
        ("radiotap_qos", LinkType::RADIOTAP, true),
        ("ppi", LinkType::PPI, true),
        ("frelay", LinkType::FRELAY, false),
        ("ppp_hdlc", LinkType::PPP_HDLC, false),
        ("mpls_link", LinkType::MPLS, false),
    ] {
        let bytes = frame(name);
        let packet = packet(link, &bytes);
        assert_eq!(
            (packet.src, packet.dst_port, packet.payload),
            (ip("10.9.0.1"), 5000, &b"inside"[..]),
            "{name}"
        );
        let ends = (packet.src_mac, packet.dst_mac);
        assert_eq!(ends, if macs { (INNER_MAC, Some([2, 0, 0, 0, 0, 11])) } else { (None, None) }, "{name}");
    }
    assert_not_ip(LinkType::RADIOTAP, &frame("radiotap_wep"), 0);
}

#[test]
fn link_headers_written_by_the_book_carry_packets_too() {
    let (ip4, ip6) = (v4(17, 0, &udp(b"hi")), v6(17, &udp(b"hi")));
    let snap = [0xaa, 0xaa, 3, 0, 0, 0, 8, 0];
    let ethernet4 = ethernet(&[8, 0], &ip4);
    let attribute = |little: bool, kind: u16, value: &[u8]| {
        let order = |n: u16| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut bytes = [&order(value.len() as u16 + 4)[..], &order(kind), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    let nflog = |little| {
        [&[2, 0, 0, 5][..], &attribute(little, 10, b"web\0\0"), &attribute(little, 9, &ip4)].concat()
    };
    let mut pktap = vec![0; 108];
    (pktap[0], pktap[8]) = (108, 1);
    let mut aggregate = vec![0x88, 1, 0, 0];
    aggregate.extend([2; 18]);
    aggregate.extend([0, 0, 0x80, 0]);
    aggregate.extend([3; 14]);
    for (link, header, body) in [
        (LinkType::PPP_ETHER, vec![0x11, 0, 0, 7, 0, ip6.len() as u8 + 2, 0, 0x57], &ip6),
        (LinkType::PPP_WITH_DIR, vec![1, 0xff, 3, 0, 0x21], &ip4),
        (LinkType::C_HDLC_WITH_DIR, vec![0, 0x0f, 0, 8, 0], &ip4),
        (LinkType::DLT_RAW_OPENBSD, vec![], &ip6),
        (LinkType::ATM_RFC1483, snap.to_vec(), &ip4),
        (LinkType::IP_OVER_FC, [&[0; 16][..], &snap].concat(), &ip4),
        (LinkType::FDDI, [&[0; 13][..], &snap].concat(), &ip4),
        (LinkType::FIREWIRE, [&[0; 16][..], &[0x86, 0xdd]].concat(), &ip6),
        (LinkType::ENC, [&[2, 0, 0, 0][..], &[0; 8]].concat(), &ip4),
        (LinkType::FRELAY, vec![0x18, 0x41, 3, 0, 0x80, 0, 0, 0, 8, 0], &ip4),
        (LinkType::FRELAY, vec![0x18, 0x41, 8, 0], &ip4),
        (LinkType::NETANALYZER, vec![0; 4], &ethernet4),
        (LinkType::PRISM, [&[0; 144][..], &aggregate, &snap].concat(), &ip4),
        (LinkType::AVS, [&[0, 0, 0, 0, 0, 0, 0, 64][..], &[0; 56], &aggregate, &snap].concat(), &ip4),
        (LinkType::PKTAP, pktap, &ethernet4),
        (LinkType::NFLOG, vec![], &nflog(true)),
        (LinkType::NFLOG, vec![], &nflog(false)),
        (LinkType::ETHERNET, ethernet(&[0, 40, 6, 6, 3], &[]), &ip4),
    ] {
        let bytes = [&header[..], body].concat();
        let packet = packet(link, &bytes);
        assert_eq!((packet.dst_port, packet.payload, packet.payload_len), (53, &b"hi"[..], 2), "{link:?}");
    }
    assert_not_ip(LinkType::NFLOG, &nflog(true)[..16], 0);
}

#[test]
fn a_port_alone_makes_no_tunnel() {
    let sent = |src: u16, dst: u16, payload: &[u8]| {
        let mut datagram = udp(payload);
        datagram[..2].copy_from_slice(&src.to_be_bytes());
        datagram[2..4].copy_from_slice(&dst.to_be_bytes());
        v4(17, 0, &datagram)
    };
    let inner = v4(17, 0, &udp(b"in"));
    let mut cut_off = inner.clone();
    cut_off[2..4].copy_from_slice(&200_u16.to_be_bytes());
    let ether = |body: &[u8]| [&[8, 0, 0, 0, 0, 0, 9, 0][..], &ethernet(&[8, 0], body)].concat();
    let arp = [&[8, 0, 0, 0, 0, 0, 9, 0][..], &ethernet(&[8, 6], &[0; 28])].concat();
    assert_eq!(packet(LinkType::RAW, &sent(5, 4789, &ether(&inner))).tunnel.unwrap().id, 9);
    // A whole header of the tunnel's own, and then no packet.
    for (dst, payload, flaw) in [
        (4789, ether(&cut_off), DecodeError::VxlanBadInner),
        (4789, ether(&inner[..19]), DecodeError::VxlanBadInner),
        (2152, [&[0x30, 255, 1, 0, 0, 0, 0, 1][..], &inner].concat(), DecodeError::GtpUBadLength),
        (
            2152,
            [&[0x34, 255, 0, 44, 0, 0, 0, 1, 0, 0, 0, 0x85, 0][..], &inner].concat(),
            DecodeError::GtpUBadLength,
        ),
    ] {
        let frame = sent(5, dst, &payload);
        let whole = packet(LinkType::RAW, &frame);
        assert_eq!((whole.dst_port, whole.tunnel, whole.flaw), (dst, None, Some(flaw)), "{payload:02x?}");
        // Of a frame that was not captured whole nothing can be said.
        let length = frame.len() as u32;
        let cut = &frame[..frame.len() - inner.len().min(payload.len() - 8)];
        let desc = PacketDesc { length, ..desc(LinkType::RAW, cut) };
        let Ok(Decoded::Packet(packet)) = decode(&desc, cut) else { panic!("{payload:02x?}") };
        assert_eq!((packet.tunnel, packet.flaw), (None, None), "{payload:02x?}");
    }
    // Echo request, L2TP control, and so on.
    for (src, dst, payload) in [
        (5, 4789, arp),
        (5, 4789, [&[0; 8][..], &ether(&inner)[8..]].concat()),
        (5, 4789, vec![8, 0, 0]),
        (4789, 5, ether(&inner)),
        (5, 6081, [&[0x40, 0, 8, 0, 0, 0, 0, 0][..], &inner].concat()),
        (5, 6081, [&[0, 0x80, 8, 0, 0, 0, 0, 0][..], &inner].concat()),
        (5, 6081, [&[0x3f, 0, 8, 0, 0, 0, 0, 0][..], &inner].concat()),
        (2152, 2152, vec![0x32, 1, 0, 4, 0, 0, 0, 0, 0, 9, 0, 0]),
        (2152, 2152, [&[0x50, 255, 0, 30, 0, 0, 0, 1][..], &inner].concat()),
        (2152, 2152, inner.clone()),
        (3544, 9, inner.clone()),
        (3544, 9, v6(17, &udp(b"in"))),
        (3544, 9, vec![0, 1, 255, 255]),
        (1701, 1701, [&[0xc8, 2, 0, 38, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0x21][..], &inner].concat()),
        (1701, 1701, [&[0, 3, 0, 1, 0, 1, 0, 0x21][..], &inner].concat()),
        (1701, 1701, vec![0, 2, 0, 1, 0, 1, 0xc0, 0x21, 1, 1, 0, 4]),
        (5, 4754, [&[0, 2, 8, 0][..], &inner].concat()),
        (5, 6635, vec![0; 20]),
        (5, 8472, vec![0xff; 60]),
    ] {
        let frame = sent(src, dst, &payload);
        let packet = packet(LinkType::RAW, &frame);
        assert_eq!((packet.tunnel, packet.flaw), (None, None), "{src} {dst} {payload:02x?}");
        assert_eq!((packet.src_port, packet.dst_port), (src, dst));
        assert_eq!(packet.payload, payload);
    }
}

#[test]
fn the_kernels_own_frames_are_opened() {
    for (name, id, payload, src, dst) in [
        ("kernel_vxlan", 4242, &b"hello4"[..], "10.9.0.1", "10.9.0.2"),
        ("kernel_vxlan6", 4243, &b"hello6"[..], "fd09::1", "fd09::2"),
    ] {
        let bytes = frame(name);
        let packet = packet(LinkType::ETHERNET, &bytes);
        assert_eq!(packet.tunnel, Some(Tunnel { kind: Vxlan, id }));
        assert_eq!((packet.src, packet.dst, packet.dst_port), (ip(src), ip(dst), 5300));
        assert_eq!(packet.payload, payload);
    }
}

#[test]
fn non_ip_in_a_tunnel_is_the_tunnels_own_traffic() {
    // GRE keep-alive, ARP in a bridge, LCP in PPTP, a PPTP acknowledgement, source routes.
    for body in [
        vec![0, 0, 0, 0],
        [&[0, 0, 0x65, 0x58][..], &ethernet(&[8, 6], &[0; 28])].concat(),
        vec![0x30, 1, 0x88, 0x0b, 0, 4, 0, 1, 0, 0, 0, 1, 0xc0, 0x21, 1, 1],
        vec![0x20, 0x81, 0x88, 0x0b, 0, 0, 0, 1, 0, 0, 0, 1],
        vec![0x40, 0, 8, 0, 0, 0, 0, 0],
    ] {
        let frame = v4(47, 0, &body);
        let packet = packet(LinkType::RAW, &frame);
        assert_eq!((packet.l4, packet.tunnel, packet.flaw), (L4(47), None, None), "{body:02x?}");
    }
    assert_not_ip(
        LinkType::ETHERNET,
        &ethernet(&[0x88, 0x64], &[0x11, 0, 0, 1, 0, 6, 0xc0, 0x21, 1, 1, 0, 4]),
        0x8864,
    );
    assert_not_ip(LinkType::ETHERNET, &ethernet(&[0x88, 0x63], &[0x11, 9, 0, 0, 0, 0]), 0x8863);
    assert_not_ip(LinkType::ETHERNET, &ethernet(&[0x88, 0x47], &[0, 1, 0x11, 64, 0x10, 0, 0, 0x21]), 0);
}

#[test]
fn jumbo_frames_and_jumbograms_are_whole() {
    let jumbo = ethernet(&[8, 0], &v4(17, 0, &udp(&[7; 8900])));
    assert_eq!(packet(LinkType::ETHERNET, &jumbo).payload_len, 8900);
    // RFC 2675: the length stands in a hop-by-hop option, and the wire tells it all the same.
    let mut body = vec![17, 0, 0xc2, 4, 0, 1, 0x11, 0x80, 0x9c, 0x40, 0, 53, 0, 0, 0, 0];
    body.resize(16 + 70_000, 1);
    let mut bytes = v6(0, &[]);
    bytes.extend(&body);
    let jumbogram = packet(LinkType::RAW, &bytes);
    assert_eq!((jumbogram.payload_len, jumbogram.dst_port, jumbogram.flaw), (70_000, 53, None));
}
