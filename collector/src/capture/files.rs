//! Several capture files as one stream ordered by time.
//!
//! The next packet comes from the file whose next packet is the earliest; of equal times, from the
//! file that begins earlier, then from the one named first: the pieces of a long capture fit together
//! in whatever order they are named. Within a file the order stays as it is, so that a packet that is
//! out of order in its file is so here, too.
//!
//! Only files whose time has come and is not over are open: each is opened once at the start to learn
//! the time of its first packet, and again when the stream gets there. A damaged file ends where it
//! is damaged and the others go on; its error is told at the very end.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shared::model::Timestamp;

use super::file::{self, input};
use super::{BATCH_PACKETS, Batch, CaptureError, CaptureStats, PacketSource, Progress, SourceState};

/// Files open at the same time at most. An open file costs about 0.2 MiB; compressed, twice that and
/// the decoder's window.
const MAX_OPEN: usize = 256;

/// Opens capture files to be read as one. Each is looked into now, so that a wrong one is told before
/// anything is read.
///
/// # Errors
/// [`CaptureError`] of the first file that cannot be opened.
pub fn open(paths: &[PathBuf]) -> Result<Box<dyn PacketSource>, CaptureError> {
    match paths {
        [one] => file::open(one),
        many => Ok(Box::new(Merged::open(many, MAX_OPEN)?)),
    }
}

/// Says whether the files can be opened; those that can be read only once are left alone.
///
/// # Errors
/// [`CaptureError`] of the first file that cannot be opened.
pub fn check(paths: &[PathBuf]) -> Result<(), CaptureError> {
    if paths.iter().filter(|path| input::is_stdin(path)).count() > 1 {
        return Err(CaptureError::StandardInputTwice);
    }
    let mut checkable = paths.iter().filter(|path| !input::can_be_read_only_once(path));
    checkable.try_for_each(|path| file::open(path).map(drop))
}

/// When a file is due: the time of its next packet, then of its first, then its place among the
/// arguments.
type Due = (Timestamp, Timestamp, usize);

/// A file between its first packet and its end.
struct Open {
    source: Box<dyn PacketSource>,
    /// Time of the first packet, and place among the arguments.
    rank: (Timestamp, usize),
    batch: Batch,
    /// Packets of the batch that are gone.
    taken: usize,
}

impl Open {
    fn new(path: &Path, place: usize) -> Result<Box<Self>, CaptureError> {
        let rank = (Timestamp::ZERO, place);
        Ok(Box::new(Self { source: file::open(path)?, rank, batch: Batch::default(), taken: 0 }))
    }

    /// Gets the next packets; false at the file's end.
    fn fill(&mut self) -> Result<bool, CaptureError> {
        self.taken = 0;
        loop {
            let state = self.source.next_batch(&mut self.batch)?;
            if !self.batch.is_empty() || matches!(state, SourceState::End) {
                return Ok(!self.batch.is_empty());
            }
        }
    }

    /// When the next packet held is due; `None` when all are taken.
    fn due(&self) -> Option<Due> {
        let next = self.batch.descs().get(self.taken)?;
        Some((next.ts, self.rank.0, self.rank.1))
    }

    /// How many of the packets held come before another file's.
    fn run(&self, other: Option<Due>) -> usize {
        let held = self.batch.descs().get(self.taken..).unwrap_or_default();
        let Some(other) = other else { return held.len() };
        held.iter().take_while(|desc| (desc.ts, self.rank.0, self.rank.1) < other).count()
    }
}

struct Merged {
    name: String,
    limit: usize,
    waiting: BTreeMap<Due, PathBuf>,
    open: BTreeMap<Due, Box<Open>>,
    /// A file whose packets the caller has: it is read on when the caller is back.
    lender: Option<Box<Open>>,
    failure: Option<CaptureError>,
    received: u64,
    /// Bytes of the files that are over.
    bytes_read: u64,
    bytes_total: Option<u64>,
}

impl Merged {
    fn open(paths: &[PathBuf], limit: usize) -> Result<Self, CaptureError> {
        check(paths)?;
        let name = match paths {
            [first, rest @ ..] => format!("{} and {} more", first.display(), rest.len()),
            [] => String::new(),
        };
        let mut merged = Self {
            name,
            limit,
            waiting: BTreeMap::new(),
            open: BTreeMap::new(),
            lender: None,
            failure: None,
            received: 0,
            bytes_read: 0,
            bytes_total: Some(0),
        };
        for (place, path) in paths.iter().enumerate() {
            let file = Open::new(path, place)?;
            let total = file.source.progress().and_then(|progress| progress.bytes_total);
            merged.bytes_total = merged.bytes_total.zip(total).map(|(sum, total)| sum + total);
            let Some((mut due, mut file)) = merged.filled(file) else { continue };
            due.1 = due.0;
            file.rank.0 = due.0;
            if !input::can_be_read_only_once(path) {
                merged.waiting.insert(due, path.clone());
            } else if merged.open.len() < limit {
                merged.open.insert(due, file);
            } else {
                return Err(CaptureError::TooManyFiles { limit });
            }
        }
        Ok(merged)
    }

    /// The file with its next packets and when they are due; `None` when it is over, which is then
    /// accounted for.
    fn filled(&mut self, mut file: Box<Open>) -> Option<(Due, Box<Open>)> {
        match file.fill() {
            Ok(true) => return file.due().map(|due| (due, file)),
            Ok(false) => {}
            Err(error) => self.fail(error),
        }
        self.bytes_read += bytes_read(&file);
        None
    }

    /// Reads a file on.
    fn go_on(&mut self, file: Box<Open>) {
        if let Some((due, file)) = self.filled(file) {
            self.open.insert(due, file);
        }
    }

    fn fail(&mut self, error: CaptureError) {
        if self.failure.is_none() {
            self.failure = Some(error);
        } else {
            // One alone can be told in the end.
            tracing::warn!(%error, "another capture file failed");
        }
    }

    /// Opens every file that is due no later than those that are open.
    fn open_due(&mut self) -> Result<(), CaptureError> {
        while let Some(entry) = self.waiting.first_entry() {
            let due = *entry.key();
            if self.open.first_key_value().is_some_and(|(first, _)| *first < due) {
                break;
            }
            if self.open.len() >= self.limit {
                return Err(CaptureError::TooManyFiles { limit: self.limit });
            }
            let path = entry.remove();
            match Open::new(&path, due.2) {
                Ok(mut file) => {
                    file.rank.0 = due.1;
                    self.go_on(file);
                }
                Err(error) => self.fail(error),
            }
        }
        Ok(())
    }

    /// When the earliest file is due, open or not.
    fn next_due(&self) -> Option<Due> {
        let (open, waiting) = (self.open.first_key_value(), self.waiting.first_key_value());
        open.map(|(due, _)| *due).into_iter().chain(waiting.map(|(due, _)| *due)).min()
    }

    /// Fills the batch as far as it goes.
    fn merge(&mut self, batch: &mut Batch) -> Result<(), CaptureError> {
        if let Some(lender) = self.lender.take() {
            self.go_on(lender);
        }
        while batch.len() < BATCH_PACKETS {
            self.open_due()?;
            let Some((_, mut file)) = self.open.pop_first() else { break };
            let run = file.run(self.next_due());
            if batch.is_empty() && run == file.batch.len() {
                std::mem::swap(batch, &mut file.batch);
                self.lender = Some(file);
                break;
            }
            let run = run.min(BATCH_PACKETS - batch.len());
            for (desc, bytes) in file.batch.iter().skip(file.taken).take(run) {
                batch.push(desc.ts, desc.link, desc.interface, desc.length, bytes);
            }
            file.taken += run;
            match file.due() {
                Some(due) => _ = self.open.insert(due, file),
                None => self.go_on(file),
            }
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.waiting.clear();
        self.open.clear();
    }
}

fn bytes_read(file: &Open) -> u64 {
    file.source.progress().map_or(0, |progress| progress.bytes_read)
}

impl PacketSource for Merged {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError> {
        batch.clear();
        if let Err(error) = self.merge(batch) {
            self.give_up();
            self.fail(error);
        }
        self.received += batch.len() as u64;
        match self.failure.take_if(|_| batch.is_empty()) {
            Some(error) => Err(error),
            None if batch.is_empty() => Ok(SourceState::End),
            None => Ok(SourceState::More),
        }
    }

    fn stats(&mut self) -> CaptureStats {
        CaptureStats { received: self.received, ..CaptureStats::default() }
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        false
    }

    fn progress(&self) -> Option<Progress> {
        let open = self.open.values().chain(&self.lender).map(|file| bytes_read(file)).sum::<u64>();
        let bytes_read = self.bytes_read + open;
        Some(Progress { bytes_read, bytes_total: self.bytes_total, packets: self.received })
    }
}
