//! Capture files: classic pcap and pcapng, plain or compressed, read in one pass through a fixed
//! buffer.

mod classic;
mod compressed;
pub(super) mod input;
mod pcapng;
#[cfg(test)]
mod tests;
mod window;

use std::path::{Path, PathBuf};

use self::classic::Classic;
use self::compressed::Compression;
use self::pcapng::PcapNg;
use self::window::Window;
use super::{BATCH_PACKETS, Batch, CaptureError, CaptureStats, PacketSource, Progress, SourceState};

/// Opens a capture file, named pipe or standard input (`-`, once in the life of a process). Format
/// and compression are found by the first bytes, not by the name.
///
/// # Errors
///
/// Every [`CaptureError`] about files; [`CaptureError::Truncated`] when the file ends inside its
/// own header.
pub fn open(path: &Path) -> Result<Box<dyn PacketSource>, CaptureError> {
    let (file, bytes_total) = input::open(path)?;
    let name = if input::is_stdin(path) { PathBuf::from("standard input") } else { path.to_owned() };
    let (window, format) =
        recognise(Window::new(file)).map_err(|(problem, inside)| problem.at(&name, inside))?;
    let text = name.display().to_string();
    Ok(Box::new(FileSource { path: name, name: text, bytes_total, window, format, received: 0 }))
}

/// What a reader makes of the next bytes.
enum Step {
    /// One packet was put into the batch.
    Packet,
    /// Something else was read.
    Skipped,
    /// What comes next is not held whole, and reading more has to wait until the batch is taken.
    Full,
    /// The file ends where a record may end.
    End,
}

/// A [`CaptureError`] that does not know its file yet.
#[derive(Debug)]
enum Problem {
    Empty,
    NotACapture(String),
    Truncated {
        offset: u64,
        cause: &'static str,
    },
    Malformed {
        offset: u64,
        cause: String,
    },
    /// The compressed stream ends early.
    StreamCut {
        offset: u64,
        compression: Compression,
    },
    /// The compressed stream cannot be decompressed.
    StreamBad {
        offset: u64,
        compression: Compression,
        cause: String,
    },
    Io(std::io::Error),
}

impl From<std::io::Error> for Problem {
    fn from(cause: std::io::Error) -> Self {
        Self::Io(cause)
    }
}

impl Problem {
    /// The problem of this file; `inside` what is compressed.
    fn at(self, path: &Path, inside: Option<Compression>) -> CaptureError {
        let path = path.to_owned();
        let what = |cause: String| match inside {
            None => cause,
            Some(compression) => format!("{cause} in what {} holds", compression.name()),
        };
        match self {
            Self::Empty => CaptureError::Empty { path },
            Self::NotACapture(cause) => CaptureError::NotACapture { path, cause: what(cause) },
            Self::Truncated { offset, cause } => {
                CaptureError::Truncated { path, offset, cause: what(cause.to_owned()) }
            }
            Self::Malformed { offset, cause } => CaptureError::Malformed { path, offset, cause: what(cause) },
            Self::StreamCut { offset, compression } => {
                CaptureError::Truncated { path, offset, cause: format!("{} stream", compression.name()) }
            }
            Self::StreamBad { offset, compression, cause } => {
                let cause = format!("{} stream: {cause}", compression.name());
                CaptureError::Malformed { path, offset, cause }
            }
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

/// A window and what it holds; or what is wrong with it, and how it is compressed.
type Recognised = Result<(Window, Format), (Problem, Option<Compression>)>;

fn recognise(mut window: Window) -> Recognised {
    let magic = magic(&mut window).map_err(|problem| (problem, None))?;
    let compression = Compression::of(magic);
    let Some(compression) = compression else {
        let format = format(&mut window, magic).map_err(|problem| (problem, None))?;
        return Ok((window, format));
    };
    let inside = |problem| (problem, Some(compression));
    let mut window = window.decompressed(compression).map_err(inside)?;
    let magic = self::magic(&mut window).map_err(inside)?;
    let format = format(&mut window, magic).map_err(inside)?;
    Ok((window, format))
}

fn magic(window: &mut Window) -> Result<[u8; 4], Problem> {
    let held = window.ensure(4)?;
    window.bytes().first_chunk::<4>().copied().ok_or(match held {
        0 => Problem::Empty,
        n => Problem::NotACapture(format!("only {n} bytes long")),
    })
}

fn format(window: &mut Window, magic: [u8; 4]) -> Result<Format, Problem> {
    if let Some(layout) = classic::magic(magic) {
        return Classic::open(window, layout).map(Format::Classic);
    }
    if magic == pcapng::SECTION_HEADER {
        return PcapNg::open(window).map(Format::PcapNg);
    }
    let packed = match magic {
        [0xfd, b'7', b'z', b'X'] => "xz",
        [b'B', b'Z', b'h', _] => "bzip2",
        [0x04, 0x22, 0x4d, 0x18] => "lz4",
        [b'P', b'K', 3, 4] => "zip",
        _ => {
            let cause = format!("it starts with the bytes {:08x}", u32::from_be_bytes(magic));
            return Err(Problem::NotACapture(cause));
        }
    };
    Err(Problem::NotACapture(format!("it is compressed by {packed}; decompress it and pipe it in")))
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
                Ok(Step::Full) => break,
                Ok(Step::End) => {
                    self.format = Format::Over;
                    return Ok(SourceState::End);
                }
                Err(problem) if batch.is_empty() => {
                    self.format = Format::Over;
                    return Err(problem.at(&self.path, self.window.compression()));
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
        let bytes_read = self.window.file_offset();
        Some(Progress { bytes_read, bytes_total: self.bytes_total, packets: self.received })
    }
}
