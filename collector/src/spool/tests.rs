//! Order, room and damage.

use super::*;

fn record(number: usize) -> Record {
    let payload = Bytes::from(vec![number as u8; 100]);
    Record { kind: 3, subject: format!("dl.v1.s.{number}"), id: format!("s/n/{number}"), payload }
}

fn ids(spool: &mut Spool, max: usize) -> Vec<String> {
    let (records, place) = spool.peek(max, usize::MAX).unwrap();
    spool.forget(place).unwrap();
    records.into_iter().map(|record| record.id).collect()
}

fn all(spool: &mut Spool) -> Vec<String> {
    let mut all = Vec::new();
    while !spool.is_empty() {
        all.extend(ids(spool, 7));
    }
    all
}

fn named(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| record(number).id).collect()
}

#[test]
fn records_come_back_in_order_also_to_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, found) = Spool::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(found, Found::default());
    for number in 0..20 {
        assert_eq!(spool.push(&record(number)).unwrap(), 0);
    }
    let (first, place) = spool.peek(2, usize::MAX).unwrap();
    assert_eq!(first, [record(0), record(1)]);
    spool.forget(place).unwrap();
    assert_eq!(spool.records(), 18);
    drop(spool);
    let (mut spool, found) = Spool::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(found, Found { records: 20, damaged: 0 }, "from the start of the segment");
    spool.push(&record(20)).unwrap();
    assert_eq!(all(&mut spool), named(0..21));
    assert_eq!((spool.bytes(), fs::read_dir(dir.path()).unwrap().count()), (0, 0), "nothing is left");
    spool.push(&record(21)).unwrap();
    assert_eq!(all(&mut spool), named(21..22));
}

#[test]
fn it_never_takes_more_than_its_room_and_counts_what_it_drops() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(dir.path(), 16_000).unwrap();
    let mut dropped = 0;
    for number in 0..500 {
        dropped += spool.push(&record(number)).unwrap();
        assert!(spool.bytes() <= 16_000);
    }
    let on_disk: u64 = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(on_disk, spool.bytes());
    assert_eq!(dropped + spool.records(), 500);
    let (peeked, place) = spool.peek(3, usize::MAX).unwrap();
    assert_eq!(peeked[0].id, record(dropped as usize).id);
    // The segment that was peeked into goes: what was read of it says nothing of the next one.
    let before = spool.records();
    let mut more = 0;
    for number in 500..540 {
        more += spool.push(&record(number)).unwrap();
    }
    spool.forget(place).unwrap();
    assert_eq!(spool.records(), before + 40 - more);
    assert_eq!(all(&mut spool), named((dropped + more) as usize..540));
}

#[test]
fn damage_is_found_and_ends_its_segment_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(dir.path(), 32_000).unwrap();
    for number in 0..60 {
        spool.push(&record(number)).unwrap();
    }
    let whole = spool.segments.iter().map(|segment| segment.records as usize).collect::<Vec<_>>();
    assert!(whole.len() > 3);
    drop(spool);
    // A flipped bit in the second record of the second segment, and a torn end of the last one.
    let path = |number: u64| dir.path().join(format!("{number:012}.spool"));
    let mut bytes = fs::read(path(2)).unwrap();
    let one = size(&record(10)) as usize;
    bytes[one + 30] ^= 4;
    fs::write(path(2), &bytes).unwrap();
    let last = path(whole.len() as u64);
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 5]).unwrap();
    let (mut spool, found) = Spool::open(dir.path(), 32_000).unwrap();
    assert_eq!(found.damaged, 2);
    let kept = all(&mut spool);
    let start = |segment: usize| whole[..segment].iter().sum::<usize>();
    let mut expected = named(0..start(1));
    expected.extend(named(start(1)..start(1) + 1));
    expected.extend(named(start(2)..59));
    assert_eq!(kept, expected);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_to_their_end(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("000000000001.spool"), &bytes).unwrap();
        let (mut spool, _) = Spool::open(dir.path(), 1000).unwrap();
        spool.push(&record(1)).unwrap();
        assert_eq!(all(&mut spool).last().unwrap(), &record(1).id);
    }
}
