//! Malformed frames: each shape has its kind, and none is lost.

use super::*;

#[test]
fn every_bad_shape_has_its_kind() {
    let raw = LinkType::RAW;
    let changed = |mut bytes: Vec<u8>, at: usize, value: u8| {
        bytes[at] = value;
        bytes
    };
    let (ip4, ip6) = (v4(6, 0, &tcp(b"")), v6(17, &udp(b"")));
    let extensions = [60_u8, 0, 0, 0, 0, 0, 0, 0].repeat(9);
    let cases: Vec<(LinkType, Vec<u8>, DecodeError)> = vec![
        (LinkType(147), vec![0; 60], DecodeError::UnsupportedLink),
        (LinkType::ETHERNET, MACS.to_vec(), DecodeError::EthernetTooShort),
        (LinkType::ETHERNET, ethernet(&[0x81, 0, 0, 1, 8], &[]), DecodeError::VlanTooShort),
        (LinkType::LINUX_SLL, vec![0; 15], DecodeError::LinkTooShort),
        (LinkType::LINUX_SLL2, vec![0; 19], DecodeError::LinkTooShort),
        (LinkType::NULL, vec![2, 0, 0], DecodeError::LinkTooShort),
        (raw, vec![], DecodeError::LinkTooShort),
        (raw, ip4[..19].to_vec(), DecodeError::Ipv4TooShort),
        (raw, changed(ip4.clone(), 0, 0x4f)[..40].to_vec(), DecodeError::Ipv4TooShort),
        (raw, changed(ip4.clone(), 0, 0x55), DecodeError::Ipv4BadVersion),
        (LinkType::IPV4, ip6.clone(), DecodeError::Ipv4BadVersion),
        (raw, changed(ip4.clone(), 0, 0x44), DecodeError::Ipv4BadHeaderLength),
        (raw, changed(ip4.clone(), 3, 19), DecodeError::Ipv4BadTotalLength),
        (raw, ip6[..39].to_vec(), DecodeError::Ipv6TooShort),
        (LinkType::IPV6, ip4.clone(), DecodeError::Ipv6BadVersion),
        (raw, v6(0, &[17, 1, 0, 0, 0, 0, 0, 0]), DecodeError::Ipv6ExtensionTooShort),
        (raw, v6(60, &extensions), DecodeError::Ipv6TooManyExtensions),
        (raw, v4(6, 0, &tcp(b"")[..19]), DecodeError::TcpTooShort),
        (raw, changed(ip4.clone(), 32, 0x40), DecodeError::TcpBadOffset),
        (raw, changed(ip4.clone(), 32, 0xf0), DecodeError::TcpBadOffset),
        (raw, v4(17, 0, &[0; 7]), DecodeError::UdpTooShort),
        (raw, changed(v4(17, 0, &udp(b"")), 25, 7), DecodeError::UdpBadLength),
        (raw, changed(v4(17, 0, &udp(b"")), 25, 9), DecodeError::UdpBadLength),
        (raw, v4(1, 0, &[8, 0, 0]), DecodeError::IcmpTooShort),
        (raw, v4(132, 0, &[0; 11]), DecodeError::SctpTooShort),
    ];
    let ip_in_ip = (0..7).fold(v4(17, 0, &udp(b"")), |inner, _| v4(4, 0, &inner));
    let mpls = |labels: usize| ethernet(&[0x88, 0x47], &[0, 1, 0x10, 64].repeat(labels));
    let radiotap = [0, 0, 9, 0, 2, 0, 0, 0, 0x50, 8, 0];
    let within = |port: u16, inside: &[u8]| {
        v4(
            17,
            0,
            &[
                &[0xc3, 0x50][..],
                &port.to_be_bytes(),
                &(8 + inside.len() as u16).to_be_bytes(),
                &[0, 0],
                inside,
            ]
            .concat(),
        )
    };
    // IPv6 with a Teredo address that is longer than its datagram.
    let teredo = [&[0x60, 0, 0, 0, 0, 200, 59, 64, 0x20, 1, 0, 0][..], &[0; 28]].concat();
    let flawed: Vec<(LinkType, Vec<u8>, DecodeError)> = vec![
        (raw, ip4[..40].to_vec(), DecodeError::Ipv4LengthBeyondFrame),
        (raw, changed(ip6.clone(), 5, 9), DecodeError::Ipv6LengthBeyondFrame),
        (raw, v4(47, 0, &[0, 0, 8]), DecodeError::GreTooShort),
        (raw, v4(47, 0, &[0x30, 0, 8, 0, 0, 0, 0, 0, 0]), DecodeError::GreTooShort),
        (raw, v4(47, 0, &[0x30, 1, 0x88, 0x0b, 0, 1, 0, 1]), DecodeError::GreTooShort),
        (raw, v4(47, 0, &[0, 2, 8, 0]), DecodeError::GreBadVersion),
        (raw, v4(47, 0, &[0x10, 0, 0x88, 0xbe, 0, 0, 0, 0, 0x10, 0, 0, 1]), DecodeError::ErspanTooShort),
        (raw, v4(97, 0, &[0x30]), DecodeError::EtherIpTooShort),
        (raw, v4(97, 0, &[0x20; 40]), DecodeError::EtherIpBadVersion),
        (raw, ip_in_ip, DecodeError::TunnelTooDeep),
        (
            raw,
            within(4789, &[&[8, 0, 0, 0, 0, 0, 5, 0][..], &ethernet(&[8, 0], &[0x55; 30])].concat()),
            DecodeError::VxlanBadInner,
        ),
        (
            raw,
            within(6081, &[&[0, 0, 8, 0, 0, 0, 5, 0][..], &[0x45; 12]].concat()),
            DecodeError::GeneveBadInner,
        ),
        (raw, within(2152, &[0x30, 255, 0, 9, 0, 0, 0, 1, 0x45]), DecodeError::GtpUBadLength),
        (raw, within(2152, &[0x34, 255, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0x85, 0]), DecodeError::GtpUBadLength),
        (raw, within(2152, &[0x30, 255, 0, 1, 0, 0, 0, 1, 0x45]), DecodeError::GtpUBadInner),
        (raw, within(1701, &[0, 2, 0, 3, 0, 4, 0xff, 3, 0, 0x21, 0x45]), DecodeError::L2tpBadInner),
        (raw, within(3544, &teredo), DecodeError::TeredoBadInner),
    ];
    let cases: Vec<(LinkType, Vec<u8>, DecodeError)> = cases
        .into_iter()
        .chain([
            (LinkType::PPI, vec![0, 0, 7, 0, 1, 0, 0, 0], DecodeError::LinkBadHeader),
            (LinkType::PPI, vec![0, 0, 8, 0, 192, 0, 0, 0], DecodeError::UnsupportedLink),
            (LinkType::NFLOG, vec![2, 0, 0, 0, 3, 0, 1, 0], DecodeError::LinkBadHeader),
            (LinkType::RADIOTAP, radiotap.to_vec(), DecodeError::WirelessBadChecksum),
            (
                LinkType::ETHERNET,
                ethernet(&[0x81, 0], &[0, 1, 0x81, 0].repeat(13)),
                DecodeError::LinkTooManyHeaders,
            ),
            (LinkType::ETHERNET, mpls(2), DecodeError::MplsTooShort),
            (LinkType::ETHERNET, mpls(16), DecodeError::MplsTooManyLabels),
            (LinkType::ETHERNET, ethernet(&[0x88, 0x64], &[0x11, 0, 0, 1, 0]), DecodeError::PppoeTooShort),
            (
                LinkType::ETHERNET,
                ethernet(&[0x88, 0x64], &[0x21, 0, 0, 1, 0, 0]),
                DecodeError::PppoeBadVersion,
            ),
            (
                LinkType::ETHERNET,
                ethernet(&[0x88, 0x64], &[0x11, 0, 0, 1, 0, 9, 0, 0x21]),
                DecodeError::PppoeBadLength,
            ),
        ])
        .collect();
    let mut seen: Vec<DecodeError> = cases.iter().chain(&flawed).map(|(.., kind)| *kind).collect();
    for (link, frame, kind) in cases {
        assert_eq!(error(link, &frame), kind, "{frame:02x?}");
    }
    for (link, frame, kind) in flawed {
        assert_eq!(packet(link, &frame).flaw, Some(kind), "{frame:02x?}");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), DecodeError::ALL.len(), "a kind without example");
}

#[test]
fn every_kind_has_a_name_of_its_own() {
    let mut names: Vec<_> = DecodeError::ALL.iter().map(|kind| kind.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), DecodeError::ALL.len());
    assert_eq!(DecodeError::GreBadVersion.to_string(), "gre_bad_version");
}

#[test]
fn a_broken_packet_in_a_tunnel_leaves_the_outer_one_and_is_counted() {
    let cut = v4(6, 0, &tcp(b"")[..12]);
    let gre = v4(47, 0, &[&[0, 0, 8, 0][..], &cut].concat());
    let outer = packet(LinkType::RAW, &gre);
    assert_eq!((outer.l4, outer.flaw, outer.tunnel), (L4(47), Some(DecodeError::TcpTooShort), None));
    assert_eq!(outer.payload_len as usize, 4 + cut.len());

    // In two tunnels: the inner one that is whole stands.
    let nested = v4(4, 0, &gre);
    let middle = packet(LinkType::RAW, &nested);
    assert_eq!((middle.l4, middle.flaw), (L4(47), Some(DecodeError::TcpTooShort)));
    assert_eq!(middle.tunnel, Some(Tunnel { kind: TunnelKind::IpInIp, id: 0 }));
}

#[test]
fn a_length_beyond_the_frame_is_not_counted_as_payload() {
    let mut frame = v4(17, 0, &udp(b"1234"));
    frame[2..4].copy_from_slice(&1500_u16.to_be_bytes());
    frame[24..26].copy_from_slice(&1480_u16.to_be_bytes());
    let lying = packet(LinkType::RAW, &frame);
    assert_eq!((lying.payload, lying.payload_len), (&b"1234"[..], 4));
    assert_eq!(lying.flaw, Some(DecodeError::Ipv4LengthBeyondFrame));
}
