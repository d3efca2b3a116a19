//! Capture files: classic pcap and pcapng, read in one pass through a fixed buffer.

mod classic;
mod pcapng;
#[cfg(test)]
mod tests;
mod window;

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use self::classic::Classic;
use self::pcapng::PcapNg;
use self::window::Window;
use super::{BATCH_PACKETS, Batch, CaptureError, CaptureStats, PacketSource, Progress, SourceState};

/// Opens a capture file or named pipe; the format is found by its first bytes.
///
/// # Errors
///
/// Every [`CaptureError`] about files; [`CaptureError::Truncated`] when the file ends inside its
/// own header.
pub fn open(path: &Path) -> Result<Box<dyn PacketSource>, CaptureError> {
    let file = File::open(path).map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => CaptureError::NotFound { path: path.to_owned() },
        _ => CaptureError::Unreadable { path: path.to_owned(), cause },
    })?;
    let meta = file.metadata().map_err(|cause| CaptureError::Unreadable { path: path.to_owned(), cause })?;
    if meta.is_dir() {
        return Err(CaptureError::IsDirectory { path: path.to_owned() });
    }
    let bytes_total = meta.is_file().then_some(meta.len());
    let mut window = Window::new(file);
    let format = recognise(&mut window).map_err(|problem| problem.at(path))?;
    let name = path.display().to_string();
    Ok(Box::new(FileSource { path: path.to_owned(), name, bytes_total, window, format, received: 0 }))
}

/// What a reader makes of the next bytes.
enum Step {
    /// One packet was put into the batch.
    Packet,
    /// Something else was read.
    Skipped,
    /// The file ends where a record may end.
    End,
}

/// A [`CaptureError`] that does not know its file yet.
#[derive(Debug)]
enum Problem {
    Empty,
    NotACapture(String),
    Truncated { offset: u64, cause: &'static str },
    Malformed { offset: u64, cause: String },
    Io(std::io::Error),
}

impl From<std::io::Error> for Problem {
    fn from(cause: std::io::Error) -> Self {
        Self::Io(cause)
    }
}

impl Problem {
    fn at(self, path: &Path) -> CaptureError {
        let path = path.to_owned();
        match self {
            Self::Empty => CaptureError::Empty { path },
            Self::NotACapture(cause) => CaptureError::NotACapture { path, cause },
            Self::Truncated { offset, cause } => {
                CaptureError::Truncated { path, offset, cause: cause.to_owned() }
            }
            Self::Malformed { offset, cause } => CaptureError::Malformed { path, offset, cause },
            Self::Io(cause) => CaptureError::Unreadable { path, cause },
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Endian {
    Little,
    Big,
}

impl Endian {
    /// Reads 16 bits at `at`; 0 beyond the end, which callers rule out by length.
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let raw = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        match self {
            Self::Little => u16::from_le_bytes(raw),
            Self::Big => u16::from_be_bytes(raw),
        }
    }

    /// Reads 32 bits at `at`; 0 beyond the end, which callers rule out by length.
    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let raw = bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
        match self {
            Self::Little => u32::from_le_bytes(raw),
            Self::Big => u32::from_be_bytes(raw),
        }
    }
}

enum Format {
    Classic(Classic),
    PcapNg(PcapNg),
    /// Ended, by its end or by an error.
    Over,
    /// An error that waits until the packets before it are delivered.
    Broken(Problem),
}

fn recognise(window: &mut Window) -> Result<Format, Problem> {
    let held = window.ensure(4)?;
    let Some(magic) = window.bytes().first_chunk::<4>().copied() else {
        return Err(match held {
            0 => Problem::Empty,
            n => Problem::NotACapture(format!("only {n} bytes long")),
        });
    };
    if let Some((endian, nano)) = classic::magic(magic) {
        return Classic::open(window, endian, nano).map(Format::Classic);
    }
    if magic == pcapng::SECTION_HEADER {
        return PcapNg::open(window).map(Format::PcapNg);
    }
    Err(Problem::NotACapture(match magic {
        [0x1f, 0x8b, ..] => "it is compressed by gzip; decompress it first".to_owned(),
        [0x28, 0xb5, 0x2f, 0xfd] => "it is compressed by zstd; decompress it first".to_owned(),
        _ => format!("it starts with the bytes {:08x}", u32::from_be_bytes(magic)),
    }))
}

struct FileSource {
    path: PathBuf,
    name: String,
    bytes_total: Option<u64>,
    window: Window,
    format: Format,
    received: u64,
}

impl FileSource {
    fn step(&mut self, batch: &mut Batch) -> Result<Step, Problem> {
        match &mut self.format {
            Format::Classic(reader) => reader.step(&mut self.window, batch),
            Format::PcapNg(reader) => reader.step(&mut self.window, batch),
            Format::Over => Ok(Step::End),
            Format::Broken(_) => match std::mem::replace(&mut self.format, Format::Over) {
                Format::Broken(problem) => Err(problem),
                _ => Ok(Step::End),
            },
        }
    }
}

impl PacketSource for FileSource {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError> {
        batch.clear();
        while batch.len() < BATCH_PACKETS {
            match self.step(batch) {
                Ok(Step::Packet) => self.received += 1,
                Ok(Step::Skipped) => {}
                Ok(Step::End) => {
                    self.format = Format::Over;
                    return Ok(SourceState::End);
                }
                Err(problem) if batch.is_empty() => {
                    self.format = Format::Over;
                    return Err(problem.at(&self.path));
                }
                Err(problem) => {
                    self.format = Format::Broken(problem);
                    break;
                }
            }
        }
        Ok(SourceState::More)
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
        Some(Progress { bytes_read: self.window.offset(), bytes_total: self.bytes_total })
    }
}
