//! The classic capture format: little endian, microseconds, Ethernet.

use std::io::{self, Write};

/// When every trace begins, in microseconds of Unix time.
pub const START_US: u64 = 1_700_000_000_000_000;

/// Counts what was written.
#[derive(Clone, Copy, Default)]
pub struct Written {
    pub packets: u64,
    /// Bytes on the wire.
    pub bytes: u64,
}

/// Writes packets.
pub struct Pcap<W> {
    out: W,
    written: Written,
}

impl<W: Write> Pcap<W> {
    /// Writes the file's header.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
        out.write_all(&262_144_u32.to_le_bytes())?;
        out.write_all(&1_u32.to_le_bytes())?;
        Ok(Self { out, written: Written::default() })
    }

    /// Writes a packet captured whole, `at_us` microseconds after the start.
    pub fn packet(&mut self, at_us: u64, frame: &[u8]) -> io::Result<()> {
        self.cut_packet(at_us, frame, frame.len() as u32)
    }

    /// Writes a packet of `length` bytes on the wire of which `frame` was captured.
    pub fn cut_packet(&mut self, at_us: u64, frame: &[u8], length: u32) -> io::Result<()> {
        let time = START_US + at_us;
        let mut header = [0; 16];
        header[..4].copy_from_slice(&((time / 1_000_000) as u32).to_le_bytes());
        header[4..8].copy_from_slice(&((time % 1_000_000) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        header[12..].copy_from_slice(&length.to_le_bytes());
        self.out.write_all(&header)?;
        self.out.write_all(frame)?;
        self.written.packets += 1;
        self.written.bytes += u64::from(length);
        Ok(())
    }

    /// Packets written so far.
    pub fn packets(&self) -> u64 {
        self.written.packets
    }

    /// Writes out what is buffered.
    pub fn finish(mut self) -> io::Result<Written> {
        self.out.flush()?;
        Ok(self.written)
    }
}
