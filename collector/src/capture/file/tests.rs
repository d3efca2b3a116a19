use std::path::Path;

use shared::model::Timestamp;

use super::open;
use crate::capture::{BATCH_PACKETS, Batch, CaptureError, LinkType, SourceState};

/// A packet as the reader gave it: time in ns, interface, link, length on the wire, bytes.
pub(super) type Seen = (i64, u32, u16, u32, Vec<u8>);

fn read(path: &Path) -> (Vec<Seen>, Result<(), CaptureError>) {
    let mut seen = Vec::new();
    let mut source = match open(path) {
        Ok(source) => source,
        Err(error) => return (seen, Err(error)),
    };
    let mut batch = Batch::default();
    let result = loop {
        let state = match source.next_batch(&mut batch) {
            Ok(state) => state,
            Err(error) => {
                assert!(batch.is_empty());
                assert_eq!(source.next_batch(&mut batch).unwrap(), SourceState::End, "over after an error");
                break Err(error);
            }
        };
        assert!(batch.len() <= BATCH_PACKETS);
        seen.extend(batch.iter().map(|(d, b)| (d.ts.ns(), d.interface, d.link.0, d.length, b.to_vec())));
        match state {
            SourceState::More => {}
            SourceState::End => break Ok(()),
            SourceState::Idle => panic!("a file is never idle"),
        }
    };
    assert_eq!(source.stats().received, seen.len() as u64);
    (seen, result)
}

pub(super) fn read_bytes(bytes: &[u8]) -> (Vec<Seen>, Result<(), CaptureError>) {
    crate::seeds::record("capture_file", "-", bytes);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read(file.path())
}

#[derive(Clone, Copy)]
pub(super) struct Order {
    big: bool,
}

impl Order {
    fn u16(self, n: u16) -> [u8; 2] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }
    pub(super) fn u32(self, n: u32) -> [u8; 4] {
        if self.big { n.to_be_bytes() } else { n.to_le_bytes() }
    }

    pub(super) fn classic(
        self,
        magic: u32,
        link: u32,
        packets: &[(u32, u32, u32, &[u8])],
    ) -> (Vec<u8>, Vec<u64>) {
        let mut file = self.u32(magic).to_vec();
        file.extend([self.u16(2), self.u16(4)].concat());
        file.extend([self.u32(0), self.u32(0), self.u32(65_535), self.u32(link)].concat());
        let mut starts = Vec::new();
        for (seconds, fraction, length, bytes) in packets {
            starts.push(file.len() as u64);
            let header = [*seconds, *fraction, bytes.len() as u32, *length];
            header.iter().for_each(|n| file.extend(self.u32(*n)));
            file.extend_from_slice(bytes);
        }
        starts.push(file.len() as u64);
        (file, starts)
    }

    pub(super) fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padded = body.len().next_multiple_of(4);
        let length = self.u32(padded as u32 + 12);
        let mut block = [&self.u32(kind)[..], &length, body].concat();
        block.resize(8 + padded, 0);
        block.extend(length);
        block
    }

    pub(super) fn section(self) -> Vec<u8> {
        let body = [&self.u32(0x1a2b_3c4d)[..], &self.u16(1), &self.u16(0), &[0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn interface(self, link: u16, snaplen: u32, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&self.u16(link)[..], &[0, 0], &self.u32(snaplen)].concat();
        for (code, value) in options {
            body.extend([self.u16(*code), self.u16(value.len() as u16)].concat());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        if !options.is_empty() {
            body.extend([0; 4]);
        }
        self.block(1, &body)
    }

    pub(super) fn enhanced(self, interface: u32, ticks: u64, length: u32, bytes: &[u8]) -> Vec<u8> {
        let fields = [interface, (ticks >> 32) as u32, ticks as u32, bytes.len() as u32, length];
        let mut body: Vec<u8> = fields.iter().flat_map(|n| self.u32(*n)).collect();
        body.extend_from_slice(bytes);
        self.block(6, &body)
    }
}

pub(super) const ORDERS: [Order; 2] = [Order { big: false }, Order { big: true }];

#[test]
fn classic_files_of_both_orders_and_both_resolutions() {
    for order in ORDERS {
        for (magic, ns) in [(0xa1b2_c3d4, 1_000_000_007_000), (0xa1b2_3c4d, 1_000_000_000_007)] {
            let (file, _) = order.classic(magic, 101, &[(1000, 7, 1500, b"one"), (1001, 0, 0, b"")]);
            let (seen, result) = read_bytes(&file);
            result.unwrap();
            assert_eq!(seen[0], (ns, 0, 101, 1500, b"one".to_vec()));
            assert_eq!(seen[1], (1_001_000_000_000, 0, 101, 0, Vec::new()));
        }
    }
}

#[test]
fn the_upper_half_of_the_link_field_is_not_the_link() {
    let (file, _) = ORDERS[0].classic(0xa1b2_c3d4, 0x2400_0001, &[(1, 0, 3, b"one")]);
    assert_eq!(read_bytes(&file).0[0].2, LinkType::ETHERNET.0);
}

#[test]
fn pcapng_with_several_interfaces_clocks_and_sections() {
    for order in ORDERS {
        let offset = if order.big { 5_i64.to_be_bytes() } else { 5_i64.to_le_bytes() };
        let obsolete = {
            let mut body = [order.u16(1), order.u16(0)].concat();
            [0_u32, 3, 2, 2].iter().for_each(|n| body.extend(order.u32(*n)));
            body.extend(b"ob");
            order.block(2, &body)
        };
        let simple = order.block(3, &[&order.u32(9)[..], b"simp"].concat());
        let other = ORDERS[usize::from(!order.big)];
        let file = [
            order.section(),
            order.interface(1, 4, &[]),
            order.block(0xbad, b"custom"),
            order.interface(113, 0, &[(2, b"eth0"), (9, &[9]), (14, &offset)]),
            order.enhanced(0, 2_000_001, 60, b"first"),
            order.enhanced(1, 3_000_000_004, 6, b"second"),
            simple,
            obsolete,
            other.section(),
            other.interface(101, 0, &[(9, &[0x8a])]),
            other.enhanced(0, 1536, 5, b"third"),
        ];
        let (seen, result) = read_bytes(&file.concat());
        result.unwrap();
        let expected: [Seen; 5] = [
            (2_000_001_000, 0, 1, 60, b"first".to_vec()),
            (8_000_000_004, 1, 113, 6, b"second".to_vec()),
            (8_000_000_004, 0, 1, 9, b"simp".to_vec()),
            (5_000_000_003, 1, 113, 2, b"ob".to_vec()),
            (1_500_000_000, 0, 101, 5, b"third".to_vec()),
        ];
        assert_eq!(seen, expected);
    }
}

/// Cuts `file` at every offset; `starts` are the offsets of its packets' records and its end.
fn check_every_cut(file: &[u8], header: usize, starts: &[u64], records: &[u64]) {
    for cut in 1..file.len() {
        let (seen, result) = read_bytes(&file[..cut]);
        let whole = starts.windows(2).filter(|w| w[1] <= cut as u64).count();
        assert_eq!(seen.len(), whole, "cut at {cut}");
        match result {
            Ok(()) => assert!(cut >= header && records.contains(&(cut as u64)), "cut at {cut} unnoticed"),
            Err(CaptureError::NotACapture { .. }) => assert!(cut < 4),
            Err(CaptureError::Truncated { offset, .. }) => {
                let begin = records.iter().copied().filter(|r| *r <= cut as u64).max().unwrap_or(0);
                assert_eq!(offset, if cut < header { 0 } else { begin }, "cut at {cut}");
            }
            Err(other) => panic!("cut at {cut}: {other}"),
        }
    }
}

#[test]
fn a_classic_file_cut_anywhere_delivers_what_is_whole_and_tells_where() {
    let (file, starts) =
        ORDERS[0].classic(0xa1b2_c3d4, 1, &[(1, 0, 3, b"one"), (2, 0, 0, b""), (3, 0, 9, b"three")]);
    check_every_cut(&file, 24, &starts, &starts);
}

#[test]
fn a_pcapng_file_cut_anywhere_delivers_what_is_whole_and_tells_where() {
    let order = ORDERS[1];
    let blocks = [
        order.section(),
        order.interface(1, 0, &[(9, &[9])]),
        order.block(5, b"statistics"),
        order.enhanced(0, 1, 3, b"one"),
        order.enhanced(0, 2, 3, b"two"),
    ];
    let mut records = vec![0_u64];
    blocks.iter().for_each(|b| records.push(records.last().unwrap() + b.len() as u64));
    check_every_cut(&blocks.concat(), blocks[0].len(), &records[3..], &records);
}

#[test]
fn a_cut_long_after_the_first_batch_still_delivers_everything() {
    let packet = [0_u8; 700];
    let packets: Vec<(u32, u32, u32, &[u8])> = (0..4000).map(|n| (n, 0, 700, &packet[..])).collect();
    let (file, starts) = ORDERS[0].classic(0xa1b2_c3d4, 1, &packets);
    let (seen, result) = read_bytes(&file[..file.len() - 1]);
    assert_eq!(seen.len(), 3999);
    assert!(matches!(result, Err(CaptureError::Truncated { offset, .. }) if offset == starts[3999]));
}

#[test]
fn what_is_no_capture_is_refused_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing.pcap");
    assert!(matches!(open(&path).err(), Some(CaptureError::NotFound { path: p }) if p == path));
    assert!(matches!(open(folder.path()).err(), Some(CaptureError::IsDirectory { .. })));
    assert!(matches!(read_bytes(b"").1, Err(CaptureError::Empty { .. })));
    let cases: [(&[u8], &str); 5] = [
        (b"BZh91AY&SY", "bzip2"),
        (b"The quick brown fox jumps over the lazy dog", "54686520"),
        (b"abc", "3 bytes"),
        (
            &[0xd4, 0xc3, 0xb2, 0xa1, 9, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            "version 9.4",
        ),
        (
            &[
                0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 1, 2, 3, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                0,
            ],
            "mark",
        ),
    ];
    for (bytes, word) in cases {
        match read_bytes(bytes).1 {
            Err(CaptureError::NotACapture { cause, .. }) => assert!(cause.contains(word), "{cause}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn damage_is_found_at_its_offset_after_the_packets_before_it() {
    let order = ORDERS[0];
    let (mut file, starts) = order.classic(0xa1b2_c3d4, 1, &[(1, 0, 3, b"one"), (2, 0, 3, b"two")]);
    let at = starts[1] as usize + 8;
    file[at..at + 4].copy_from_slice(&order.u32(262_145));
    check_damage(&file, 1, starts[1], "262145");

    let head = [order.section(), order.interface(1, 0, &[]), order.enhanced(0, 1, 3, b"one")].concat();
    let start = head.len() as u64;
    let mut lengths_differ = order.enhanced(0, 1, 3, b"two");
    let last = lengths_differ.len() - 4;
    lengths_differ[last] += 4;
    let mut overrun = order.enhanced(0, 1, 3, b"two");
    overrun[20] = 200;
    let damaged: [(Vec<u8>, &str); 8] = [
        // An option of eight bytes of which four are there, and a body without room for the fixed fields.
        (order.block(1, &[&[1, 0, 0, 0][..], &[0; 4], &[9, 0, 8, 0, 6, 0, 0, 0]].concat()), "option beyond"),
        (order.block(1, &[1, 0, 0, 0]), "interface block too short"),
        (order.enhanced(7, 1, 3, b"two"), "undescribed interface 7"),
        (lengths_differ, "lengths differ"),
        (overrun, "shorter than the packet"),
        ([order.u32(6), order.u32(13), order.u32(0), order.u32(0)].concat(), "impossible length 13"),
        ([order.u32(6), order.u32(0x4000_0000), order.u32(0)].concat(), "1073741824"),
        (order.interface(1, 0, &[]).into_iter().take(8).chain([0; 4]).collect(), "lengths differ"),
    ];
    for (block, word) in damaged {
        let block = if block.len() < 16 { [block, vec![0; 64]].concat() } else { block };
        check_damage(&[head.clone(), block].concat(), 1, start, word);
    }
}

fn check_damage(file: &[u8], packets: usize, at: u64, word: &str) {
    let (seen, result) = read_bytes(file);
    assert_eq!(seen.len(), packets, "{word}");
    match result {
        Err(CaptureError::Malformed { offset, cause, .. }) => {
            assert_eq!(offset, at, "{cause}");
            assert!(cause.contains(word), "{cause}");
        }
        other => panic!("{word}: {other:?}"),
    }
}

#[test]
fn a_simple_packet_needs_an_interface_and_is_cut_to_its_snaplen() {
    let order = ORDERS[0];
    let simple = order.block(3, &[&order.u32(9)[..], b"123456789"].concat());
    check_damage(&[order.section(), simple.clone()].concat(), 0, 28, "undescribed interface 0");
    for (snaplen, expected) in [(0, &b"123456789"[..]), (4, b"1234"), (99, b"123456789")] {
        let file = [order.section(), order.interface(1, snaplen, &[]), simple.clone()].concat();
        let (seen, result) = read_bytes(&file);
        result.unwrap();
        assert_eq!((seen[0].3, &seen[0].4[..]), (9, expected));
    }
}

#[test]
fn a_large_unknown_block_is_passed_over() {
    let order = ORDERS[0];
    let file = [
        order.section(),
        order.interface(1, 0, &[]),
        order.block(10, &vec![7; 3 << 20]),
        order.enhanced(0, 1, 3, b"one"),
    ];
    let (seen, result) = read_bytes(&file.concat());
    result.unwrap();
    assert_eq!(seen.len(), 1);
}

#[test]
fn progress_reaches_the_size_of_the_file() {
    let (file, _) = ORDERS[0].classic(0xa1b2_c3d4, 1, &[(1, 0, 3, b"one")]);
    let temporary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(temporary.path(), &file).unwrap();
    let mut source = open(temporary.path()).unwrap();
    let mut batch = Batch::default();
    assert_eq!(source.progress().unwrap().bytes_read, 24);
    assert_eq!(source.next_batch(&mut batch).unwrap(), SourceState::More);
    assert_eq!(batch.iter().next().unwrap().0.ts, Timestamp::from_secs(1));
    assert_eq!(source.next_batch(&mut batch).unwrap(), SourceState::End);
    let progress = source.progress().unwrap();
    assert_eq!((progress.bytes_read, progress.bytes_total), (file.len() as u64, Some(file.len() as u64)));
    assert!(!source.is_live() && source.name().starts_with('/'));
}

#[test]
fn patched_records_and_exchanged_lengths_of_old_writers_are_read() {
    for order in ORDERS {
        let mut file = order.classic(0xa1b2_cd34, 1, &[]).0;
        for (second, bytes) in [(1, b"one"), (2, b"two")] {
            [second, 5, 3, 60, 7].iter().for_each(|n| file.extend(order.u32(*n)));
            file.extend([0; 4]);
            file.extend(bytes);
        }
        let (seen, result) = read_bytes(&file);
        result.unwrap();
        assert_eq!(seen[1], (2_000_005_000, 0, 1, 60, b"two".to_vec()));

        // Of version 2.2 the two lengths are always exchanged, of 2.3 where it shows, of 2.4 never.
        for (minor, expected) in [(2, Some(60)), (3, Some(60)), (4, None)] {
            let mut file = order.classic(0xa1b2_c3d4, 1, &[]).0;
            file[6..8].copy_from_slice(&order.u16(minor));
            [1, 0, 60, 3].iter().for_each(|n| file.extend(order.u32(*n)));
            file.extend(b"one");
            let (seen, _) = read_bytes(&file);
            assert_eq!(seen.first().map(|packet| packet.3), expected);
        }
    }
}

proptest::proptest! {
    #[test]
    fn random_bytes_behind_a_good_start_never_panic(
        start in 0_usize..3, bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
    ) {
        let order = ORDERS[start % 2];
        let head = match start {
            0 => order.classic(0xa1b2_c3d4, 1, &[]).0,
            1 => [order.section(), order.interface(1, 0, &[])].concat(),
            _ => order.section(),
        };
        let _ = read_bytes(&[head, bytes].concat());
    }
}
