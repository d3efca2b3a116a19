//! Random and damaged frames: no panic, nothing made up, nothing counted that was not there.

use proptest::prelude::*;

use super::*;

const LINKS: [u16; 31] = [
    0, 1, 9, 10, 12, 14, 50, 51, 100, 101, 104, 105, 107, 108, 109, 113, 119, 122, 127, 138, 163, 192, 204,
    205, 219, 228, 229, 239, 240, 258, 276,
];

fn both() -> [Decoder; 2] {
    [Tunnels::Inner, Tunnels::Outer]
        .map(|tunnels| Decoder::new(DecoderConfig { tunnels, max_fragments: 16, seed: 3, patient: true }))
}

/// What holds for every frame whatever is in it.
fn check(decoder: &mut Decoder, link: LinkType, frame: &[u8], cut_off: u32) {
    let info = PacketDesc { length: frame.len() as u32 + cut_off, ..desc(link, frame) };
    match decoder.decode(&info, frame) {
        Ok(Decoded::Packet(packet)) => {
            assert!(packet.payload.len() <= packet.payload_len as usize);
            assert!(packet.payload_len <= info.length);
            assert_eq!(packet.length, info.length);
            let (range, inside) = (frame.as_ptr_range(), packet.payload.as_ptr_range());
            assert!(packet.payload.is_empty() || (range.start <= inside.start && inside.end <= range.end));
            assert_eq!(packet.src.is_ipv4(), packet.dst.is_ipv4());
            assert!(packet.vlan != 0 || packet.inner_vlan == 0);
            assert!(packet.vlan < 4096 && packet.inner_vlan < 4096);
        }
        Ok(Decoded::NotIp(ethertype)) => assert!(!matches!(ethertype, 0x0800 | 0x86dd | 0xffff)),
        Ok(Decoded::Waits) => {}
        Err(error) => assert!(DecodeError::ALL.contains(&error)),
    }
    while let Some(packet) = decoder.take_overdue() {
        assert!(packet.overtaking.packets > 0 && packet.length == 0);
    }
}

/// All frames of the tunnel tests.
fn frames() -> Vec<Vec<u8>> {
    let lines = include_str!("frames.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| tunnels::frame(line.split_once(' ').unwrap().0)).collect()
}

#[test]
fn real_frames_may_end_anywhere() {
    for frame in frames() {
        for mut decoder in both() {
            for end in 0..=frame.len() {
                check(&mut decoder, LinkType::ETHERNET, &frame[..end], (frame.len() - end) as u32);
                check(&mut decoder, LinkType::ETHERNET, &frame[..end], 0);
            }
        }
    }
}

#[test]
fn real_frames_survive_every_changed_byte() {
    for frame in frames() {
        for mut decoder in both() {
            let mut changed = frame.clone();
            for at in 0..frame.len() {
                for value in [0, 1, 0x7f, 0x80, 0xff, frame[at] ^ 1, frame[at] ^ 0x10, frame[at] ^ 0x40] {
                    changed[at] = value;
                    check(&mut decoder, LinkType::ETHERNET, &changed, 0);
                }
                changed[at] = frame[at];
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn random_bytes_are_packets_or_kinds_of_errors(
        link in any::<u16>(), known in prop::sample::select(LINKS.to_vec()), take_known in 0..10,
        frame in prop::collection::vec(any::<u8>(), 0..200), cut_off in 0..2000_u32,
    ) {
        let link = LinkType(if take_known > 0 { known } else { link });
        for mut decoder in both() {
            check(&mut decoder, link, &frame, cut_off);
        }
    }

    #[test]
    fn damaged_packets_are_packets_or_kinds_of_errors(
        six in any::<bool>(), flags in any::<u16>(), cut in any::<prop::sample::Index>(),
        protocol in prop::sample::select(vec![0_u8, 1, 4, 6, 17, 41, 43, 44, 47, 51, 58, 60, 97, 132, 137]),
        port in prop::sample::select(vec![53_u16, 1701, 2152, 3544, 4754, 4789, 4790, 6081, 6635]),
        mut body in prop::collection::vec(any::<u8>(), 0..150),
    ) {
        if protocol == 17 && body.len() >= 8 {
            body[2..4].copy_from_slice(&port.to_be_bytes());
            let length = body.len() as u16;
            body[4..6].copy_from_slice(&length.to_be_bytes());
        }
        let frame = if six { v6(protocol, &body) } else { v4(protocol, flags, &body) };
        let frame = &frame[..cut.index(frame.len() + 1)];
        for mut decoder in both() {
            check(&mut decoder, LinkType::RAW, frame, 0);
        }
    }

    #[test]
    fn real_frames_with_several_changes_and_other_links(
        which in any::<prop::sample::Index>(), link in prop::sample::select(LINKS.to_vec()), ethernet in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let frames = frames();
        let mut frame = which.get(&frames).clone();
        for (at, value) in changes {
            let at = at.index(frame.len());
            frame[at] = value;
        }
        let link = if ethernet { LinkType::ETHERNET } else { LinkType(link) };
        for mut decoder in both() {
            check(&mut decoder, link, &frame, 0);
        }
    }
}
