//! A copy of a capture without its long pauses.
//!
//! Some captures were joined from pieces recorded years apart, and the classifier knows no timeouts. So
//! that the same packets make the same flows here, no pause is longer than a second.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, ensure};
use collector::capture::{Batch, SourceState, file};

const LONGEST_PAUSE_US: u64 = 1_000_000;

/// When the copy begins, in microseconds of Unix time.
const START_US: u64 = 1_700_000_000_000_000;

/// Copies `from` to `to` in the classic capture format.
pub fn squeeze(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut source = file::open(from)?;
    let mut out = BufWriter::new(File::create(to).with_context(|| format!("cannot write {}", to.display()))?);
    let mut batch = Batch::default();
    let (mut before, mut at_us, mut link) = (None, START_US, None);
    loop {
        let state = source.next_batch(&mut batch).with_context(|| from.display().to_string())?;
        for (desc, bytes) in batch.iter() {
            if link.is_none() {
                link = Some(desc.link);
                out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
                out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
                out.write_all(&262_144_u32.to_le_bytes())?;
                out.write_all(&u32::from(desc.link.0).to_le_bytes())?;
            }
            ensure!(link == Some(desc.link), "{}: several kinds of links", from.display());
            let pause_us = before.map_or(0, |before| desc.ts.since(before).max(0) as u64 / 1000);
            before = Some(desc.ts);
            at_us += pause_us.min(LONGEST_PAUSE_US);
            out.write_all(&((at_us / 1_000_000) as u32).to_le_bytes())?;
            out.write_all(&((at_us % 1_000_000) as u32).to_le_bytes())?;
            out.write_all(&desc.captured.to_le_bytes())?;
            out.write_all(&desc.length.to_le_bytes())?;
            out.write_all(bytes)?;
        }
        if state == SourceState::End {
            break;
        }
    }
    out.flush()?;
    Ok(())
}
