//! A fixed buffer that slides over a file and knows its offset.
//!
//! Packets are not copied out of it: a [`Batch`] holds the buffer while it shows packets in it, and
//! gives it back when it is cleared. A buffer that is still held is never written to.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use shared::model::Timestamp;

use super::Problem;
use super::compressed::{Compressed, Compression};
use crate::capture::{Batch, LinkType};

/// Room for the largest packet with its headers and options.
const SIZE: usize = 512 * 1024;

/// Bytes read at once: few enough to be in the second-level cache still when they are looked at.
const CHUNK: usize = 128 * 1024;

pub(super) struct Window {
    input: Input,
    buffer: Arc<Box<[u8]>>,
    start: usize,
    end: usize,
    offset: u64,
    at_end: bool,
}

enum Input {
    File(File),
    Compressed(Box<Compressed>),
}

impl Input {
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Problem> {
        match self {
            Self::Compressed(stream) => stream.read(into),
            Self::File(file) => loop {
                match file.read(into) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    result => return Ok(result?),
                }
            },
        }
    }
}

impl Window {
    pub(super) fn new(file: File) -> Self {
        Self::over(Input::File(file))
    }

    /// What the bytes from here on hold when they are decompressed.
    pub(super) fn decompressed(self, compression: Compression) -> Result<Self, Problem> {
        Ok(Self::over(Input::Compressed(Box::new(Compressed::new(self, compression)?))))
    }

    fn over(input: Input) -> Self {
        let buffer = Arc::new(vec![0; SIZE].into_boxed_slice());
        Self { input, buffer, start: 0, end: 0, offset: 0, at_end: false }
    }

    /// Offset of the first byte not consumed, in what is decompressed if anything is.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the file itself that were needed to come here.
    pub(super) fn file_offset(&self) -> u64 {
        match &self.input {
            Input::File(_) => self.offset,
            Input::Compressed(stream) => stream.file_offset(),
        }
    }

    /// How the file is compressed.
    pub(super) fn compression(&self) -> Option<Compression> {
        match &self.input {
            Input::File(_) => None,
            Input::Compressed(stream) => Some(stream.compression()),
        }
    }

    /// The bytes read and not consumed.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads until `wanted` bytes are held or the file ends; says how many are held.
    ///
    /// `wanted` is at most the buffer's size; more is never held.
    pub(super) fn ensure(&mut self, wanted: usize) -> Result<usize, Problem> {
        if self.end - self.start >= wanted || self.at_end {
            return Ok(self.end - self.start);
        }
        let held = self.start..self.end;
        if Arc::get_mut(&mut self.buffer).is_none() {
            // A batch shows packets in it still.
            let mut fresh = vec![0; SIZE].into_boxed_slice();
            if let (Some(to), Some(from)) = (fresh.get_mut(..held.len()), self.buffer.get(held.clone())) {
                to.copy_from_slice(from);
            }
            self.buffer = Arc::new(fresh);
        } else if let Some(buffer) = Arc::get_mut(&mut self.buffer) {
            buffer.copy_within(held.clone(), 0);
        }
        (self.start, self.end) = (0, held.len());
        let Some(buffer) = Arc::get_mut(&mut self.buffer) else { return Ok(self.end) };
        while self.end < wanted.min(SIZE) && !self.at_end {
            let to = (self.end + CHUNK).min(SIZE);
            match self.input.read(buffer.get_mut(self.end..to).unwrap_or_default())? {
                0 => self.at_end = true,
                n => self.end += n,
            }
        }
        Ok(self.end)
    }

    /// Drops `count` bytes that [`Window::bytes`] shows.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.end - self.start);
        self.start += count;
        self.offset += count as u64;
    }

    /// Drops `count` bytes whether read or not; says how many the file still had.
    pub(super) fn skip(&mut self, count: u64) -> Result<u64, Problem> {
        let mut left = count;
        while left > 0 {
            let held = self.ensure(left.min(CHUNK as u64) as usize)?;
            if held == 0 {
                break;
            }
            let step = left.min(held as u64);
            self.consume(step as usize);
            left -= step;
        }
        Ok(count - left)
    }

    /// Puts the packet into the batch whose bytes begin `from` bytes on and are `captured` long. The
    /// caller has made sure that they are held, and that all packets of the batch are of this window.
    pub(super) fn show(&self, packet: &Shown, from: usize, captured: usize, batch: &mut Batch) {
        if batch.is_empty() {
            batch.lend(&self.buffer);
        }
        let Shown { ts, link, interface, length } = *packet;
        batch.push_lent(ts, link, interface, length, self.start + from, captured);
    }
}

/// What a record says of its packet.
pub(super) struct Shown {
    pub(super) ts: Timestamp,
    pub(super) link: LinkType,
    pub(super) interface: u32,
    pub(super) length: u32,
}
