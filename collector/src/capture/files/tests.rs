use std::path::{Path, PathBuf};

use super::{MAX_OPEN, Merged, open};
use crate::capture::{BATCH_PACKETS, Batch, CaptureError, PacketSource, SourceState};

/// Writes a capture of link type `link` with a packet of one byte, `tag`, at each second of `times`.
fn write(folder: &Path, name: &str, link: u8, tag: u8, times: &[u32]) -> PathBuf {
    let mut file = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0];
    file.extend([link, 0, 0, 0]);
    for time in times {
        file.extend(time.to_le_bytes());
        file.extend([0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, tag]);
    }
    let path = folder.join(name);
    std::fs::write(&path, file).unwrap();
    path
}

/// Second, tag and link type of a packet.
type Seen = (i64, u8, u16);

/// Every packet, and how it ended.
fn read(source: &mut dyn PacketSource) -> (Vec<Seen>, Result<(), CaptureError>) {
    let (mut batch, mut seen) = (Batch::default(), Vec::new());
    let result = loop {
        let state = source.next_batch(&mut batch);
        assert!(batch.len() <= BATCH_PACKETS);
        seen.extend(batch.iter().map(|(desc, bytes)| (desc.ts.ns() / 1_000_000_000, bytes[0], desc.link.0)));
        match state {
            Ok(SourceState::More) => {}
            Ok(SourceState::End) => break Ok(()),
            Ok(SourceState::Idle) => panic!("a file is never idle"),
            Err(error) => break Err(error),
        }
    };
    assert_eq!(source.next_batch(&mut batch).unwrap(), SourceState::End, "over is over");
    assert_eq!(source.stats().received, seen.len() as u64);
    (seen, result)
}

/// What the files give as `time tag …`.
fn merged(paths: &[PathBuf]) -> String {
    let (seen, result) = read(&mut *open(paths).unwrap());
    result.unwrap();
    seen.iter().map(|(time, tag, _)| format!("{time}{} ", char::from(*tag))).collect()
}

#[test]
fn packets_of_overlapping_files_come_in_the_order_of_time() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a", 1, b'a', &[1, 4, 4, 9]);
    let b = write(dir.path(), "b", 101, b'b', &[2, 4, 5, 6]);
    let c = write(dir.path(), "c", 1, b'c', &[7, 8]);
    let expected = "1a 2b 4a 4a 4b 5b 6b 7c 8c 9a ";
    assert_eq!(merged(&[a.clone(), b.clone(), c.clone()]), expected);
    assert_eq!(merged(&[c.clone(), b.clone(), a.clone()]), expected);
    let (seen, _) = read(&mut *open(&[a, b, c]).unwrap());
    assert!(seen.iter().all(|(_, tag, link)| *link == if *tag == b'b' { 101 } else { 1 }));
}

#[test]
fn of_equal_times_the_file_that_begins_earlier_goes_first_then_the_one_named_first() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a", 1, b'a', &[1, 5, 5]);
    let b = write(dir.path(), "b", 1, b'b', &[5, 6]);
    let c = write(dir.path(), "c", 1, b'c', &[5, 6]);
    assert_eq!(merged(&[c.clone(), b.clone(), a.clone()]), "1a 5a 5a 5c 5b 6c 6b ");
    assert_eq!(merged(&[b, a, c]), "1a 5a 5a 5b 5c 6b 6c ");
}

#[test]
fn what_is_out_of_order_in_a_file_stays_so() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a", 1, b'a', &[3, 1, 7]);
    let b = write(dir.path(), "b", 1, b'b', &[2, 4]);
    assert_eq!(merged(&[a, b]), "2b 3a 1a 4b 7a ");
}

#[test]
fn long_files_are_merged_across_batches_and_windows() {
    let dir = tempfile::tempdir().unwrap();
    let times = |from: u32, step: usize| (from..from + 100_000).step_by(step).collect::<Vec<_>>();
    let paths = [
        write(dir.path(), "a", 1, b'a', &times(0, 2)),
        write(dir.path(), "b", 1, b'b', &times(1, 2)),
        write(dir.path(), "c", 1, b'c', &times(100_000, 1)),
        write(dir.path(), "empty", 1, b'e', &[]),
    ];
    let mut source = open(&paths).unwrap();
    let total: u64 = paths.iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(source.progress().unwrap().bytes_total, Some(total));
    let (seen, result) = read(&mut *source);
    result.unwrap();
    assert_eq!(seen.len(), 200_000);
    assert!(seen.iter().enumerate().all(|(at, (time, _, _))| *time == at as i64));
    assert_eq!(source.progress().unwrap().bytes_read, total);
}

#[test]
fn no_more_files_are_open_than_overlap_and_too_many_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = |n: u32, times: &[u32]| write(dir.path(), &n.to_string(), 1, b'x', times);
    let in_turn: Vec<_> = (0..8).map(|n| path(n, &[2 * n, 2 * n + 1])).collect();
    let (seen, result) = read(&mut Merged::open(&in_turn, 1).unwrap());
    result.unwrap();
    assert_eq!(seen.len(), 16);
    let overlapping: Vec<_> = (0..8).map(|n| path(n, &[n, 100])).collect();
    let (seen, result) = read(&mut Merged::open(&overlapping, 7).unwrap());
    assert_eq!(seen.len(), 7, "what came before was handed over");
    assert!(matches!(result, Err(CaptureError::TooManyFiles { limit: 7 })));
    let (seen, result) = read(&mut Merged::open(&overlapping, 8).unwrap());
    result.unwrap();
    assert_eq!(seen.len(), 16);
    const { assert!(MAX_OPEN < 1024, "below the usual limit of open files") };
}

#[test]
fn a_damaged_file_ends_alone_and_is_told_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a", 1, b'a', &[1, 3, 5]);
    let b = write(dir.path(), "b", 1, b'b', &[2, 4, 6]);
    let bytes = std::fs::read(&a).unwrap();
    std::fs::write(&a, &bytes[..bytes.len() - 1]).unwrap();
    let (seen, result) = read(&mut *open(&[a.clone(), b]).unwrap());
    assert_eq!(seen.len(), 5);
    match result {
        Err(CaptureError::Truncated { path, offset, .. }) => assert_eq!((path, offset), (a, 24 + 2 * 17)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_that_is_none_is_told_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let a = write(dir.path(), "a", 1, b'a', &[1]);
    let missing = dir.path().join("missing");
    assert!(matches!(open(&[a, missing]).err(), Some(CaptureError::NotFound { .. })));
    let twice = [PathBuf::from("-"), PathBuf::from("-")];
    assert!(matches!(open(&twice).err(), Some(CaptureError::StandardInputTwice)));
}
