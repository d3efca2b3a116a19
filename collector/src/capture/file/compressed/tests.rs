use std::io::Write;

use flate2::Compression as Level;
use flate2::write::GzEncoder;

use super::super::tests::{ORDERS, Seen, read_bytes};
use crate::capture::CaptureError;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;
const BOTH: [(Compress, &str); 2] = [(gzip, "gzip stream"), (zstd, "zstd stream")];

/// A capture of `count` packets of 1000 bytes that do not compress well.
fn capture(count: u32) -> Vec<u8> {
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(1000 + count as usize)
    .collect();
    let packets: Vec<_> = (0..count).map(|n| (n, 0, 1000, &noise[n as usize..n as usize + 1000])).collect();
    ORDERS[0].classic(0xa1b2_c3d4, 1, &packets).0
}

fn read_whole(bytes: &[u8]) -> Vec<Seen> {
    let (seen, result) = read_bytes(bytes);
    result.unwrap();
    seen
}

#[test]
fn a_compressed_capture_reads_like_the_plain_one() {
    let plain = capture(3000);
    let expected = read_whole(&plain);
    for (compress, _) in BOTH {
        assert!(read_whole(&compress(&plain)) == expected);
        // Several members or frames, cut anywhere, an empty one among them.
        let (a, b) = plain.split_at(1_234_567);
        assert!(read_whole(&[compress(a), compress(&[]), compress(b)].concat()) == expected);
    }
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any", &zstd(&plain)].concat();
    assert!(read_whole(&skippable) == expected);
}

#[test]
fn a_compressed_stream_cut_anywhere_delivers_what_is_whole_and_tells_where() {
    let plain = capture(400);
    let expected = read_whole(&plain);
    for (compress, name) in BOTH {
        let whole = compress(&plain);
        let mut last = 0;
        for cut in (4..whole.len()).step_by(whole.len() / 60).chain([whole.len() - 1]) {
            let (seen, result) = read_bytes(&whole[..cut]);
            assert!(seen[..] == expected[..seen.len()] && seen.len() >= last, "{name} cut at {cut}");
            last = seen.len();
            match result {
                Err(CaptureError::Truncated { offset, cause, .. }) => {
                    assert_eq!((offset, cause.as_str()), (cut as u64, name));
                }
                other => panic!("{name} cut at {cut}: {other:?}"),
            }
        }
        assert_eq!(last, 400, "only the checksum was missing");
    }
}

#[test]
fn damage_in_a_compressed_stream_costs_no_packet_before_it() {
    let plain = capture(200);
    let expected = read_whole(&plain);
    for (compress, name) in BOTH {
        // The first member is whole, and so are its packets, though both are read at once. Of zstd
        // the damage is in the data, which only the checksum at the end tells.
        let (a, b) = plain.split_at(24 + 100 * 1016);
        let (first, mut second) = (compress(a), compress(b));
        let body = if name.starts_with("gzip") { 10 } else { second.len() / 2 };
        second[body] ^= 0x06;
        let (seen, result) = read_bytes(&[first.clone(), second].concat());
        assert!(seen.len() >= 100 && seen[..100] == expected[..100], "{name}: {}", seen.len());
        match result {
            Err(CaptureError::Malformed { offset, cause, .. }) => {
                assert!(offset >= first.len() as u64 && cause.starts_with(name), "{offset} {cause}");
            }
            other => panic!("{name}: {other:?}"),
        }
        let garbage = [first.clone(), b"neither gzip nor zstd".to_vec()].concat();
        let (seen, result) = read_bytes(&garbage);
        assert_eq!(seen.len(), 100);
        assert!(matches!(result, Err(CaptureError::Malformed { .. })), "{result:?}");
    }
}

#[test]
fn flipped_bits_are_noticed_or_harmless() {
    let plain = capture(3);
    for (compress, name) in BOTH {
        let whole = compress(&plain);
        let (mut noticed, mut flips) = (0, 0);
        for bit in (32..whole.len() * 8).step_by(13) {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let (_, result) = read_bytes(&flipped);
            noticed += usize::from(result.is_err());
            flips += 1;
        }
        // gzip's header has flags and a time that change nothing; a zstd frame has next to none.
        assert!(noticed > flips * 97 / 100, "{name}: {noticed} of {flips}");
    }
}

#[test]
fn damage_of_the_capture_itself_is_told_by_its_offset_in_what_is_decompressed() {
    let plain = capture(2);
    for (compress, name) in BOTH {
        let (seen, result) = read_bytes(&compress(&plain[..plain.len() - 1]));
        assert_eq!(seen.len(), 1);
        let error = result.unwrap_err();
        assert!(matches!(error, CaptureError::Truncated { offset: 1040, .. }));
        assert!(error.to_string().contains(&format!("in what {} holds", &name[..4])), "{error}");
        let (_, result) = read_bytes(&compress(b"no capture at all"));
        assert!(matches!(result, Err(CaptureError::NotACapture { .. })));
        let (_, result) = read_bytes(&compress(b""));
        assert!(matches!(result, Err(CaptureError::Empty { .. })));
        let twice = compress(&compress(&plain));
        assert!(matches!(read_bytes(&twice).1, Err(CaptureError::NotACapture { .. })));
    }
}

#[test]
fn what_swells_a_thousandfold_is_read_in_a_window() {
    // A pcapng block of 128 MiB of zeros that no reader knows, a thousandth of it compressed.
    let order = ORDERS[0];
    let length: u32 = (128 << 20) + 12;
    for (compress, _) in BOTH {
        let mib = compress(&vec![0; 1 << 20]);
        let head = [order.section(), order.interface(1, 0, &[]), order.u32(0x0bad).to_vec()].concat();
        let tail = [order.u32(length).to_vec(), order.enhanced(0, 1, 3, b"one")].concat();
        let mut file = compress(&[head, order.u32(length).to_vec()].concat());
        (0..128).for_each(|_| file.extend_from_slice(&mib));
        file.extend(compress(&tail));
        assert_eq!(read_whole(&file).len(), 1);
    }
}
