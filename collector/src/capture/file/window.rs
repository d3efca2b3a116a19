//! A fixed buffer that slides over a file and knows its offset.

use std::fs::File;
use std::io::{ErrorKind, Read, Result};

/// Room for the largest packet with its headers and options, and for long reads.
const SIZE: usize = 1024 * 1024;

pub(super) struct Window {
    file: File,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    offset: u64,
    at_end: bool,
}

impl Window {
    pub(super) fn new(file: File) -> Self {
        Self { file, buffer: vec![0; SIZE].into_boxed_slice(), start: 0, end: 0, offset: 0, at_end: false }
    }

    /// File offset of the first byte not consumed.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes read and not consumed.
    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Reads until `wanted` bytes are held or the file ends; says how many are held.
    ///
    /// `wanted` is at most the buffer's size; more is never held.
    pub(super) fn ensure(&mut self, wanted: usize) -> Result<usize> {
        if self.end - self.start >= wanted || self.at_end {
            return Ok(self.end - self.start);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < wanted.min(SIZE) && !self.at_end {
            match self.file.read(self.buffer.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => self.at_end = true,
                Ok(n) => self.end += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
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
    pub(super) fn skip(&mut self, count: u64) -> Result<u64> {
        let mut left = count;
        while left > 0 {
            let held = self.ensure(left.min(SIZE as u64) as usize)?;
            if held == 0 {
                break;
            }
            let step = left.min(held as u64);
            self.consume(step as usize);
            left -= step;
        }
        Ok(count - left)
    }
}
