//! gzip and zstd under a capture, decompressed as it is read: whatever a file swells to, a window of
//! it is held at a time.
//!
//! Both decoders are driven by hand and not through their readers, because those lose what they had
//! decoded when they come upon damage in the same call, and with it the packets before the damage.

#[cfg(test)]
mod tests;

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::Problem;
use super::window::Window;

/// How a file is compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// Recognises a compressed file by its first four bytes.
    pub(super) fn of(magic: [u8; 4]) -> Option<Self> {
        match magic {
            [0x1f, 0x8b, _, _] => Some(Self::Gzip),
            // A frame, or a skippable one as parallel and seekable writers put first.
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Some(Self::Zstd),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The least that a zstd frame begins with.
const ZSTD_START: usize = 5;

/// gzip's window: the largest, 32 KiB.
const GZIP_WINDOW_BITS: u8 = 15;

/// A compressed file and its decoder.
pub(super) struct Compressed {
    raw: Window,
    decoder: Kind,
}

enum Kind {
    /// The decoder of the present member; none between two.
    Gzip(Option<Box<Decompress>>),
    Zstd {
        decoder: Decoder<'static>,
        /// Bytes that the decoder asks for next; 0 between two frames.
        wants: usize,
        /// The output was filled: there may be more to give before it takes any input.
        full: bool,
    },
}

impl Compressed {
    pub(super) fn new(raw: Window, compression: Compression) -> Result<Self, Problem> {
        let decoder = match compression {
            Compression::Gzip => Kind::Gzip(None),
            Compression::Zstd => Kind::Zstd { decoder: Decoder::new()?, wants: 0, full: false },
        };
        Ok(Self { raw, decoder })
    }

    pub(super) fn compression(&self) -> Compression {
        match self.decoder {
            Kind::Gzip(_) => Compression::Gzip,
            Kind::Zstd { .. } => Compression::Zstd,
        }
    }

    /// Compressed bytes taken.
    pub(super) fn file_offset(&self) -> u64 {
        self.raw.file_offset()
    }

    /// Decompresses at least one byte into `out`, which is not empty; 0 at the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, Problem> {
        let raw = &mut self.raw;
        match &mut self.decoder {
            Kind::Gzip(member) => gunzip(raw, member, out),
            Kind::Zstd { decoder, wants, full } => unzstd(raw, decoder, wants, full, out),
        }
    }
}

fn cut(raw: &Window, compression: Compression) -> Problem {
    Problem::StreamCut { offset: raw.offset(), compression }
}

fn bad(raw: &Window, compression: Compression, cause: String) -> Problem {
    Problem::StreamBad { offset: raw.offset(), compression, cause }
}

/// A file is one member or several, one after the other (RFC 1952 §2.2).
fn gunzip(raw: &mut Window, member: &mut Option<Box<Decompress>>, out: &mut [u8]) -> Result<usize, Problem> {
    loop {
        if raw.ensure(1)? == 0 {
            return if member.is_none() { Ok(0) } else { Err(cut(raw, Compression::Gzip)) };
        }
        let decoder = member.get_or_insert_with(|| Box::new(Decompress::new_gzip(GZIP_WINDOW_BITS)));
        let (read, written) = (decoder.total_in(), decoder.total_out());
        let result = decoder.decompress(raw.bytes(), out, FlushDecompress::None);
        let (read, written) = (decoder.total_in() - read, decoder.total_out() - written);
        raw.consume(read as usize);
        match result {
            Ok(Status::StreamEnd) => *member = None,
            Ok(_) if read == 0 && written == 0 => {
                return Err(bad(raw, Compression::Gzip, "invalid data".to_owned()));
            }
            Ok(Status::Ok | Status::BufError) => {}
            // The next call meets the damage again, and has nothing before it.
            Err(_) if written > 0 => {}
            Err(error) => {
                let cause = error.message().unwrap_or("invalid data").to_owned();
                return Err(bad(raw, Compression::Gzip, cause));
            }
        }
        if written > 0 {
            return Ok(written as usize);
        }
    }
}

/// A file is one frame or several (RFC 8878 §3). The decoder gets just what it asks for, which ends
/// with a block: a block that is damaged then costs none of the ones before it.
fn unzstd(
    raw: &mut Window,
    decoder: &mut Decoder<'_>,
    wants: &mut usize,
    full: &mut bool,
    out: &mut [u8],
) -> Result<usize, Problem> {
    loop {
        let held = if *full { 0 } else { raw.ensure(1)? };
        if held == 0 && !*full {
            return if *wants == 0 { Ok(0) } else { Err(cut(raw, Compression::Zstd)) };
        }
        let give = if *wants == 0 { ZSTD_START } else { *wants }.min(held);
        let mut input = InBuffer::around(raw.bytes().get(..give).unwrap_or_default());
        let mut output = OutBuffer::around(&mut *out);
        let result = decoder.run(&mut input, &mut output);
        let (read, written) = (input.pos(), output.pos());
        raw.consume(read);
        *wants = result.map_err(|error| bad(raw, Compression::Zstd, error.to_string()))?;
        *full = written == out.len();
        if written > 0 {
            return Ok(written);
        }
    }
}
