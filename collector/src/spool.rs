//! Messages on disk while the bus is away: segments of records, each with its checksum.
//!
//! Records are read in the order in which they were written. A segment whose records are all safe is
//! deleted; when there is no room, the oldest segment is dropped and its records are counted. What a
//! process leaves behind is found by the next one, which begins at the start of the oldest segment: what
//! had been sent of it is sent again, and whoever gets it knows its id.
//!
//! A record is the length of its body and the body's CRC-32, both little-endian, then the body: kind,
//! subject and id with their lengths, and the payload. A record that does not fit its checksum ends its
//! segment: what comes after it cannot be found.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

/// Bytes of a segment at most; of a small spool a sixteenth.
const SEGMENT: u64 = 8 << 20;

/// Bytes of length and checksum before a body.
const HEAD: u64 = 8;

/// A body in bytes at most: larger lengths are damage.
const MAX_BODY: u32 = 4 << 20;

/// A message on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Kind of message, for whoever wrote it.
    pub kind: u8,
    /// Where it goes.
    pub subject: String,
    /// Its id.
    pub id: String,
    /// Its content.
    pub payload: Bytes,
}

/// A place behind records that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    segment: u64,
    offset: u64,
    records: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    records: u64,
}

/// What a spool found when it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Records that can be read.
    pub records: u64,
    /// Segments that end in something that is no record.
    pub damaged: u64,
}

/// A folder of segments.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    segments: VecDeque<Segment>,
    /// The last segment, when this process writes it.
    writer: Option<File>,
    /// Where the next record to read begins in the first segment, and how many were read before it.
    offset: u64,
    read: u64,
}

impl Spool {
    /// Opens or makes a spool of `max_bytes` at most.
    ///
    /// # Errors
    /// The folder cannot be used.
    pub fn open(dir: &Path, max_bytes: u64) -> io::Result<(Self, Found)> {
        fs::create_dir_all(dir)?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".spool")).map(str::parse::<u64>);
            numbers.extend(number.and_then(Result::ok));
        }
        numbers.sort_unstable();
        let mut spool = Self {
            dir: dir.to_owned(),
            max_bytes,
            segment_bytes: SEGMENT.min(max_bytes / 16).max(1),
            segments: VecDeque::new(),
            writer: None,
            offset: 0,
            read: 0,
        };
        let mut found = Found::default();
        for number in numbers {
            let mut file = File::open(spool.path(number))?;
            let (mut bytes, mut records) = (0, 0);
            while let Some(record) = read_record(&mut file)? {
                match record {
                    Ok(record) => {
                        bytes += size(&record);
                        records += 1;
                    }
                    Err(Damaged) => {
                        found.damaged += 1;
                        break;
                    }
                }
            }
            found.records += records;
            spool.segments.push_back(Segment { number, bytes, records });
        }
        spool.forget_read()?;
        Ok((spool, found))
    }

    /// True when nothing is to be read.
    pub fn is_empty(&self) -> bool {
        self.records() == 0
    }

    /// Records that are to be read.
    pub fn records(&self) -> u64 {
        self.segments.iter().map(|segment| segment.records).sum::<u64>() - self.read
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Bytes on disk at most.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// A place that says nothing.
    pub fn nowhere(&self) -> Place {
        Place { segment: 0, offset: 0, records: 0 }
    }

    /// True when a record has no room unless older ones go.
    pub fn is_full(&self, record: &Record) -> bool {
        self.bytes() + size(record) > self.max_bytes
    }

    /// Writes a record; drops the oldest segments when there is no room, and gives how many records
    /// went with them.
    ///
    /// # Errors
    /// The disk does not take it; nothing of it is kept.
    pub fn push(&mut self, record: &Record) -> io::Result<u64> {
        let mut dropped = 0;
        while self.is_full(record) && !self.segments.is_empty() {
            dropped += self.drop_first()?;
        }
        let bytes = encode(record);
        let full = self.segments.back().is_some_and(|last| last.bytes >= self.segment_bytes);
        if full {
            self.sync();
            self.writer = None;
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            None => {
                let number = self.segments.back().map_or(1, |last| last.number + 1);
                let file = OpenOptions::new().create_new(true).append(true).open(self.path(number))?;
                self.segments.push_back(Segment { number, bytes: 0, records: 0 });
                self.writer.insert(file)
            }
        };
        let Some(last) = self.segments.back_mut() else { return Ok(dropped) };
        if let Err(error) = writer.write_all(&bytes) {
            // What was written of it would end the segment: the next record begins another one.
            let _ = writer.set_len(last.bytes);
            self.writer = None;
            return Err(error);
        }
        last.bytes += bytes.len() as u64;
        last.records += 1;
        Ok(dropped)
    }

    /// Waits until what was written is on the disk.
    pub fn sync(&self) {
        if let Some(writer) = &self.writer
            && let Err(error) = writer.sync_data()
        {
            tracing::warn!(%error, dir = %self.dir.display(), "spool not on disk yet");
        }
    }

    /// The next records, `max` and about `max_bytes` at most, and the place behind them. They stay until
    /// [`Spool::forget`].
    ///
    /// # Errors
    /// The disk does not give them.
    pub fn peek(&mut self, max: usize, max_bytes: usize) -> io::Result<(Vec<Record>, Place)> {
        let mut records = Vec::new();
        let Some(first) = self.segments.front() else {
            return Ok((records, self.nowhere()));
        };
        let (number, left) = (first.number, first.records - self.read);
        let mut file = File::open(self.path(number))?;
        let mut offset = file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = 0;
        while records.len() < max && (records.len() as u64) < left && bytes < max_bytes {
            // What is damaged was found when the spool was opened.
            let Some(Ok(record)) = read_record(&mut file)? else { break };
            offset += size(&record);
            bytes += record.payload.len();
            records.push(record);
        }
        let place = Place { segment: number, offset, records: self.read + records.len() as u64 };
        Ok((records, place))
    }

    /// Everything before a place is safe elsewhere. A place in a segment that was dropped meanwhile says
    /// nothing.
    ///
    /// # Errors
    /// A segment cannot be deleted.
    pub fn forget(&mut self, before: Place) -> io::Result<()> {
        if self.segments.front().is_some_and(|first| first.number == before.segment) {
            (self.offset, self.read) = (before.offset, before.records);
        }
        self.forget_read()
    }

    /// Deletes segments that have been read.
    fn forget_read(&mut self) -> io::Result<()> {
        while self.segments.front().is_some_and(|first| self.read >= first.records) {
            self.drop_first()?;
        }
        Ok(())
    }

    /// Deletes the first segment; gives how many of its records had not been read.
    fn drop_first(&mut self) -> io::Result<u64> {
        let Some(first) = self.segments.front() else { return Ok(0) };
        let (number, unread) = (first.number, first.records - self.read.min(first.records));
        fs::remove_file(self.path(number))?;
        if self.segments.len() == 1 {
            self.writer = None;
        }
        self.segments.pop_front();
        (self.offset, self.read) = (0, 0);
        Ok(unread)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:012}.spool"))
    }
}

/// Something that is no record.
struct Damaged;

fn size(record: &Record) -> u64 {
    HEAD + 1 + 4 + (record.subject.len() + record.id.len() + record.payload.len()) as u64
}

fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = vec![0; HEAD as usize];
    bytes.push(record.kind);
    for text in [&record.subject, &record.id] {
        // Subjects and ids are a few hundred bytes.
        let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
        bytes.extend(length.to_le_bytes());
        bytes.extend(&text.as_bytes()[..usize::from(length)]);
    }
    bytes.extend(&record.payload);
    let body = &bytes[HEAD as usize..];
    let (length, crc) = (u32::try_from(body.len()).unwrap_or(u32::MAX), crc32fast::hash(body));
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The next record; nothing at the end of the file.
fn read_record(file: &mut File) -> io::Result<Option<Result<Record, Damaged>>> {
    let mut head = [0; HEAD as usize];
    let got = read_up_to(file, &mut head)?;
    if got == 0 {
        return Ok(None);
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, crc) = (word(0), word(4));
    if got < head.len() || length > MAX_BODY {
        return Ok(Some(Err(Damaged)));
    }
    let mut body = vec![0; length as usize];
    let whole = read_up_to(file, &mut body)? == body.len() && crc32fast::hash(&body) == crc;
    Ok(Some(if whole { decode(body).ok_or(Damaged) } else { Err(Damaged) }))
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match file.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

fn decode(body: Vec<u8>) -> Option<Record> {
    let mut rest = Bytes::from(body);
    let mut take = |count: usize| (rest.len() >= count).then(|| rest.split_to(count));
    let kind = *take(1)?.first()?;
    let mut text = || {
        let length = take(2)?;
        let text = take(usize::from(u16::from_le_bytes([length[0], length[1]])))?;
        String::from_utf8(text.to_vec()).ok()
    };
    let (subject, id) = (text()?, text()?);
    Some(Record { kind, subject, id, payload: rest })
}

#[cfg(test)]
mod tests {
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
        let on_disk: u64 =
            fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
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
}
