//! Flow records in a file: a magic word, then [`FlowBatch`]es, each after its length.
//!
//! ```text
//! "FHFLOWS1" ( u32 little endian: length, that many bytes of flowhook.v1.FlowBatch )*
//! ```
//!
//! A file whose writer was stopped in the middle is read up to its last whole batch.

use std::io::{ErrorKind, Read, Write};

use super::flow_batch::{FlowBatch, WrittenBatch};

/// First bytes of such a file.
pub const MAGIC: &[u8; 8] = b"FHFLOWS1";

/// Largest batch accepted.
const MAX_BATCH: u32 = 64 * 1024 * 1024;

/// Why a file of flows cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FlowFileError {
    /// The system refused.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file begins with something else.
    #[error("not a file of flows: it does not begin with FHFLOWS1")]
    NotFlows,
    /// A batch is cut off or makes no sense.
    #[error("damaged at byte {offset}: {cause}")]
    Damaged {
        /// Where the batch begins.
        offset: u64,
        /// What is wrong with it.
        cause: String,
    },
}

/// Writes batches.
pub struct FlowFileWriter<W: Write> {
    to: W,
}

impl<W: Write> FlowFileWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// What the writer says.
    pub fn new(mut to: W) -> Result<Self, FlowFileError> {
        to.write_all(MAGIC)?;
        Ok(Self { to })
    }

    /// Appends a batch.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&mut self, batch: &WrittenBatch) -> Result<(), FlowFileError> {
        let (head, columns) = batch.parts();
        let length = u32::try_from(head.len() + columns.len()).map_err(std::io::Error::other)?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(&head)?;
        self.to.write_all(columns)?;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> Result<(), FlowFileError> {
        Ok(self.to.flush()?)
    }
}

/// Reads batches, one after the other.
pub struct FlowFileReader<R: Read> {
    from: R,
    offset: u64,
}

impl<R: Read> FlowFileReader<R> {
    /// Opens a file.
    ///
    /// # Errors
    /// [`FlowFileError::NotFlows`], or what the reader says.
    pub fn new(mut from: R) -> Result<Self, FlowFileError> {
        let mut magic = [0; 8];
        match from.read_exact(&mut magic) {
            Ok(()) if magic == *MAGIC => Ok(Self { from, offset: 8 }),
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(error.into()),
            _ => Err(FlowFileError::NotFlows),
        }
    }

    /// The next batch; `None` at the end.
    ///
    /// # Errors
    /// [`FlowFileError::Damaged`] when the file ends inside a batch or a batch cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<FlowBatch>, FlowFileError> {
        let mut length = Vec::new();
        let damaged = |cause: String| FlowFileError::Damaged { offset: self.offset, cause };
        self.from.by_ref().take(4).read_to_end(&mut length)?;
        let length = match *length.as_slice() {
            [] => return Ok(None),
            [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
            _ => return Err(damaged("it ends inside a length".to_owned())),
        };
        if length > MAX_BATCH {
            return Err(damaged(format!("a batch of {length} bytes")));
        }
        let mut bytes = Vec::new();
        self.from.by_ref().take(length.into()).read_to_end(&mut bytes)?;
        if bytes.len() < length as usize {
            return Err(damaged(format!("it ends {} bytes into a batch of {length}", bytes.len())));
        }
        let batch = FlowBatch::decode(&bytes).map_err(|error| damaged(error.to_string()))?;
        self.offset += 4 + u64::from(length);
        Ok(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::delta::Producer;

    fn batch(sequence: u64) -> FlowBatch {
        let producer = Producer { site: "s".into(), node: "n".into(), sequence, ..Producer::default() };
        FlowBatch { producer, flows: Vec::new() }
    }

    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = FlowFileWriter::new(&mut bytes).unwrap();
        writer.write(&batch(1).into()).unwrap();
        writer.write(&batch(2).into()).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = file();
        let mut reader = FlowFileReader::new(&bytes[..]).unwrap();
        let mut read = || reader.next_batch().unwrap().map(|batch| batch.producer.sequence);
        assert_eq!([read(), read(), read()], [Some(1), Some(2), None]);
    }

    #[test]
    fn a_cut_file_gives_its_whole_batches_and_then_an_error() {
        let bytes = file();
        let second = 8 + 4 + u64::from(u32::from_le_bytes(bytes[8..12].try_into().unwrap()));
        for end in second as usize + 1..bytes.len() {
            let mut reader = FlowFileReader::new(&bytes[..end]).unwrap();
            assert_eq!(reader.next_batch().unwrap().unwrap().producer.sequence, 1);
            let error = reader.next_batch().unwrap_err();
            assert!(matches!(error, FlowFileError::Damaged { offset, .. } if offset == second), "{error}");
        }
        assert!(matches!(FlowFileReader::new(&bytes[..7]), Err(FlowFileError::NotFlows)));
    }
}
