//! Every fragment finds the flow of its datagram, in fixed memory.

use super::tunnels::{frame, ip};
use super::*;

fn take<'a>(decoder: &mut Decoder, second: f64, frame: &'a [u8]) -> Packet<'a> {
    let ts = Timestamp::from_ns((second * 1e9) as i64);
    match decoder.decode(&PacketDesc { ts, ..desc(LinkType::ETHERNET, frame) }, frame) {
        Ok(Decoded::Packet(packet)) => packet,
        other => panic!("{other:?}"),
    }
}

fn decoder() -> Decoder {
    Decoder::new(DecoderConfig::default())
}

/// One that lets later fragments wait, and what becomes of frames `name.number` in the order given.
fn patient(name: &str, order: &[usize]) -> (Decoder, Vec<Option<Packet<'static>>>) {
    let mut decoder = Decoder::new(DecoderConfig { patient: true, ..DecoderConfig::default() });
    let decode = |number: &usize| {
        let bytes = frame(&format!("{name}.{number}"));
        match decoder.decode(&desc(LinkType::ETHERNET, &bytes), &bytes) {
            Ok(Decoded::Packet(packet)) => Some(Packet { payload: &[], ..packet }),
            Ok(Decoded::Waits) => None,
            other => panic!("{other:?}"),
        }
    };
    let seen = order.iter().map(decode).collect();
    (decoder, seen)
}

#[test]
fn later_fragments_belong_to_the_flow_of_the_first() {
    for (name, count, tunnel, sum) in [
        ("frag_v4", 3, None, 160),
        ("frag_v6", 2, None, 160),
        ("frag_inner_ipip", 3, Some(Tunnel { kind: TunnelKind::IpInIp, id: 0 }), 160),
        ("frag_outer_gre", 4, Some(Tunnel { kind: TunnelKind::Gre, id: 77 }), 160),
        ("frag_outer_vxlan", 2, Some(Tunnel { kind: TunnelKind::Vxlan, id: 4242 }), 160),
    ] {
        let mut decoder = decoder();
        let mut payload = 0;
        for number in 0..count {
            let bytes = frame(&format!("{name}.{number}"));
            let packet = take(&mut decoder, 1.0, &bytes);
            let v6 = name == "frag_v6";
            assert_eq!(packet.src, ip(if v6 { "fd09::1" } else { "10.9.0.1" }), "{name}.{number}");
            let flow = (packet.l4, packet.src_port, packet.dst_port, packet.tunnel);
            assert_eq!(flow, (L4::UDP, 4000, 5000, tunnel), "{name}.{number}");
            assert_eq!(packet.vlan, if name == "frag_outer_vxlan" { 300 } else { 0 });
            assert_eq!((packet.length as usize, packet.flaw), (bytes.len(), None));
            payload += packet.payload_len;
        }
        assert_eq!(payload, sum, "{name}");
        let stats = decoder.stats();
        assert_eq!((stats.fragments, stats.fragments_orphaned), (count, 0), "{name}");
    }
}

#[test]
fn a_later_fragment_before_its_first_has_no_ports_and_is_counted() {
    let mut decoder = decoder();
    let late = frame("frag_v4.1");
    let early = take(&mut decoder, 1.0, &late);
    assert_eq!((early.fragment, early.l4, early.dst_port), (Fragment::Later, L4::UDP, 0));
    take(&mut decoder, 1.0, &frame("frag_v4.0"));
    assert_eq!(take(&mut decoder, 1.0, &late).dst_port, 5000);
    let stats = decoder.stats();
    assert_eq!((stats.fragments, stats.fragments_orphaned, stats.fragments_evicted), (3, 1, 0));
}

#[test]
fn later_fragments_that_overtook_their_first_are_counted_with_it() {
    for (name, order) in [
        ("frag_v4", &[2, 1, 0][..]),
        ("frag_v4", &[1, 0, 2]),
        ("frag_v6", &[1, 0]),
        ("frag_inner_ipip", &[2, 0, 1]),
        ("frag_outer_gre", &[3, 1, 0, 2]),
        ("frag_outer_vxlan", &[1, 0]),
    ] {
        let (mut decoder, seen) = patient(name, order);
        let first = order.iter().position(|number| *number == 0).unwrap();
        assert!(seen[..first].iter().all(Option::is_none), "{name} {order:?}");
        let seen: Vec<_> = seen.into_iter().flatten().collect();
        assert_eq!(usize::from(seen[0].overtaking.packets), first, "{name} {order:?}");
        assert!(seen.iter().all(|packet| (packet.src_port, packet.dst_port) == (4000, 5000)), "{name}");
        let payload: u32 = seen.iter().map(|packet| packet.payload_len + packet.overtaking.payload).sum();
        let bytes: u32 = seen.iter().map(|packet| packet.length + packet.overtaking.bytes).sum();
        let wire: usize = order.iter().map(|number| frame(&format!("{name}.{number}")).len()).sum();
        assert_eq!((payload, bytes as usize), (160, wire), "{name} {order:?}");
        decoder.sweep(Timestamp::from_secs(100), true);
        assert_eq!((decoder.take_overdue(), decoder.stats().fragments_orphaned), (None, 0), "{name}");
    }
}

#[test]
fn fragments_whose_first_never_comes_are_given_out_without_ports() {
    let (mut decoder, seen) = patient("frag_v4", &[2, 1]);
    assert!(seen.iter().all(Option::is_none));
    let since = desc(LinkType::ETHERNET, &[]).ts;
    decoder.sweep(since.plus_ns(1_999_999_999), false);
    assert_eq!(decoder.take_overdue(), None, "not yet");
    decoder.sweep(since.plus_secs(2), false);
    let packet = decoder.take_overdue().unwrap();
    assert_eq!((packet.length, packet.overtaking.packets, packet.dst_port), (0, 2, 0));
    assert_eq!((packet.src, packet.l4, packet.fragment), (ip("10.9.0.1"), L4::UDP, Fragment::Later));
    assert_eq!((decoder.take_overdue(), decoder.stats().fragments_orphaned), (None, 2));
}

#[test]
fn whoever_waits_takes_no_place_from_others_and_gives_his_to_a_first_fragment() {
    let config = DecoderConfig { max_fragments: 8, patient: true, ..DecoderConfig::default() };
    let mut decoder = Decoder::new(config);
    let numbered = |name: &str, id: u8| {
        let mut bytes = frame(name);
        bytes[14 + 5] = id;
        bytes
    };
    let feed = |decoder: &mut Decoder, name: &str, id: u8| {
        let bytes = numbered(name, id);
        let ts = Timestamp::from_ns(1_000_000_000 + i64::from(id));
        match decoder.decode(&PacketDesc { ts, ..desc(LinkType::ETHERNET, &bytes) }, &bytes) {
            Ok(Decoded::Packet(packet)) => Some(packet.dst_port),
            _ => None,
        }
    };
    for id in 0..8 {
        assert_eq!(feed(&mut decoder, "frag_v4.1", id), None);
    }
    assert_eq!(feed(&mut decoder, "frag_v4.1", 8), Some(0), "no place is left");
    assert_eq!(feed(&mut decoder, "frag_v4.0", 9), Some(5000));
    let (packet, stats) = (decoder.take_overdue().unwrap(), decoder.stats());
    assert_eq!((packet.overtaking.packets, decoder.take_overdue()), (1, None), "the oldest made room");
    assert_eq!((stats.fragments_evicted, decoder.stats().fragments_orphaned), (1, 2));
}

#[test]
fn a_datagram_is_forgotten_when_complete_and_after_thirty_seconds() {
    let mut decoder = decoder();
    let frames = [0, 1, 2].map(|number| frame(&format!("frag_v4.{number}")));
    // The last before the middle one: it is complete only then.
    for number in [0, 2, 1] {
        assert_eq!(take(&mut decoder, 1.0, &frames[number]).dst_port, 5000);
    }
    assert_eq!(take(&mut decoder, 1.0, &frames[1]).dst_port, 0);
    take(&mut decoder, 2.0, &frames[0]);
    assert_eq!(take(&mut decoder, 31.9, &frames[1]).dst_port, 5000);
    assert_eq!(take(&mut decoder, 32.0, &frames[2]).dst_port, 0);
}

#[test]
fn datagrams_differ_by_identification_vlan_and_protocol() {
    let mut decoder = decoder();
    let first = frame("frag_v4.0");
    let later = frame("frag_v4.1");
    take(&mut decoder, 1.0, &first);
    let changed = |at: usize, value: u8| {
        let mut bytes = later.clone();
        bytes[at] = value;
        bytes
    };
    // Identification, protocol, sender, receiver.
    for at in [14 + 5, 14 + 9, 14 + 15, 14 + 19] {
        assert_eq!(take(&mut decoder, 1.0, &changed(at, 0xee)).dst_port, 0, "{at}");
    }
    let tagged = [&later[..12], &[0x81, 0, 0, 5], &later[12..]].concat();
    assert_eq!(take(&mut decoder, 1.0, &tagged).dst_port, 0);
    assert_eq!(take(&mut decoder, 1.0, &later).dst_port, 5000);
    // Customers of one provider: their own tags tell them apart.
    let inside = |frame: &[u8], customer| {
        [&frame[..12], &[0x88, 0xa8, 0, 5, 0x81, 0, 0, customer], &frame[12..]].concat()
    };
    take(&mut decoder, 2.0, &inside(&first, 7));
    let packet = inside(&later, 8);
    assert_eq!(take(&mut decoder, 2.0, &packet).dst_port, 0);
    let packet = inside(&later, 7);
    let packet = take(&mut decoder, 2.0, &packet);
    assert_eq!((packet.vlan, packet.inner_vlan, packet.dst_port), (5, 7, 5000));
}

#[test]
fn the_table_is_bounded_and_gives_up_the_oldest() {
    let mut decoder = Decoder::new(DecoderConfig { max_fragments: 8, ..DecoderConfig::default() });
    let numbered = |name: &str, id: u8| {
        let mut bytes = frame(name);
        bytes[14 + 5] = id;
        bytes
    };
    for id in 0..10 {
        take(&mut decoder, f64::from(id), &numbered("frag_v4.0", id));
    }
    assert_eq!(decoder.stats().fragments_evicted, 2);
    let ports: Vec<u16> =
        (0..10).map(|id| take(&mut decoder, 10.0, &numbered("frag_v4.1", id)).dst_port).collect();
    assert_eq!(ports, [0, 0, 5000, 5000, 5000, 5000, 5000, 5000, 5000, 5000]);
    // What has expired makes room without being counted.
    take(&mut decoder, 60.0, &numbered("frag_v4.0", 99));
    assert_eq!(decoder.stats().fragments_evicted, 2);
}

#[test]
fn a_fragment_of_a_tunnel_is_the_tunnels_where_the_outer_packet_counts() {
    let mut decoder = Decoder::new(DecoderConfig { tunnels: Tunnels::Outer, ..DecoderConfig::default() });
    for number in 0..2 {
        let bytes = frame(&format!("frag_outer_vxlan.{number}"));
        let packet = take(&mut decoder, 1.0, &bytes);
        assert_eq!((packet.src, packet.dst_port), (ip("192.0.2.1"), 4789));
    }
    assert_eq!(decoder.stats().tunnelled, 0);
}
