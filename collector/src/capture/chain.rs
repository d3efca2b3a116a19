//! Several sources as one, one after the other.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::{Batch, CaptureError, CaptureStats, PacketSource, Progress, SourceState, file};

/// Capture files read one after the other. Each is opened when its turn comes.
struct Chain {
    current: Box<dyn PacketSource>,
    rest: VecDeque<PathBuf>,
    read_before: u64,
    total: Option<u64>,
}

/// Opens capture files to be read in the order given. All must exist; the first is opened now.
///
/// # Errors
/// [`CaptureError`] of the first file that cannot be opened.
pub fn open(paths: &[PathBuf]) -> Result<Box<dyn PacketSource>, CaptureError> {
    let mut total = Some(0);
    for path in paths {
        // Opens and closes each, so that a wrong one is told before anything is counted.
        file::open(path)?;
        total = total.zip(size(path)).map(|(a, b)| a + b);
    }
    let mut rest: VecDeque<PathBuf> = paths.iter().cloned().collect();
    let first = rest.pop_front().unwrap_or_default();
    Ok(Box::new(Chain { current: file::open(&first)?, rest, read_before: 0, total }))
}

fn size(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|meta| meta.len())
}

impl PacketSource for Chain {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError> {
        let state = self.current.next_batch(batch)?;
        if !matches!(state, SourceState::End) {
            return Ok(state);
        }
        let Some(next) = self.rest.pop_front() else {
            return Ok(SourceState::End);
        };
        self.read_before += self.current.progress().map_or(0, |p| p.bytes_read);
        self.current = file::open(&next)?;
        Ok(SourceState::More)
    }

    fn stats(&mut self) -> CaptureStats {
        self.current.stats()
    }

    fn name(&self) -> &str {
        self.current.name()
    }

    fn is_live(&self) -> bool {
        false
    }

    fn progress(&self) -> Option<Progress> {
        let here = self.current.progress().map_or(0, |p| p.bytes_read);
        Some(Progress { bytes_read: self.read_before + here, bytes_total: self.total })
    }
}
