//! Classic pcap (draft-ietf-opsawg-pcap): one header, then records.

use shared::model::Timestamp;
use shared::model::time::NS_PER_S;

use super::window::{Shown, Window};
use super::{Endian, Problem, Step};
use crate::capture::{Batch, LinkType, MAX_CAPTURED};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;
/// Alexey Kuznetzov's variant adds interface number, protocol, packet type and padding.
const PATCHED_HEADER: usize = 24;

/// What the magic number tells.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    endian: Endian,
    fraction_ns: i64,
    record_header: usize,
}

/// Byte order, length of a fraction, and shape of the records.
pub(super) fn magic(bytes: [u8; 4]) -> Option<Layout> {
    let (endian, number) = match bytes[0] {
        0xa1 => (Endian::Big, u32::from_be_bytes(bytes)),
        _ => (Endian::Little, u32::from_le_bytes(bytes)),
    };
    let (fraction_ns, record_header) = match number {
        0xa1b2_c3d4 => (1000, RECORD_HEADER),
        0xa1b2_3c4d => (1, RECORD_HEADER),
        0xa1b2_cd34 => (1000, PATCHED_HEADER),
        _ => return None,
    };
    Some(Layout { endian, fraction_ns, record_header })
}

pub(super) struct Classic {
    layout: Layout,
    link: LinkType,
    /// Writers before version 2.3 exchanged the two lengths, and some of 2.3 still did.
    minor: u16,
}

impl Classic {
    pub(super) fn open(window: &mut Window, layout: Layout) -> Result<Self, Problem> {
        if window.ensure(FILE_HEADER)? < FILE_HEADER {
            return Err(Problem::Truncated { offset: 0, cause: "file header" });
        }
        let (header, endian) = (window.bytes(), layout.endian);
        let (major, minor) = (endian.u16(header, 4), endian.u16(header, 6));
        if major != 2 {
            return Err(Problem::NotACapture(format!("unknown pcap version {major}.{minor}")));
        }
        // The upper half of the field tells the length of frame check sequences, which decoding
        // cuts off by the IP length anyway.
        let link = LinkType(endian.u32(header, 20) as u16);
        window.consume(FILE_HEADER);
        Ok(Self { layout, link, minor })
    }

    pub(super) fn step(&mut self, window: &mut Window, batch: &mut Batch) -> Result<Step, Problem> {
        let Layout { endian, fraction_ns, record_header } = self.layout;
        let offset = window.offset();
        if window.bytes().len() < record_header {
            if !batch.is_empty() {
                return Ok(Step::Full);
            }
            match window.ensure(record_header)? {
                0 => return Ok(Step::End),
                n if n < record_header => {
                    return Err(Problem::Truncated { offset, cause: "packet record header" });
                }
                _ => {}
            }
        }
        let header = window.bytes();
        let seconds = i64::from(endian.u32(header, 0));
        let fraction = i64::from(endian.u32(header, 4));
        let (captured, length) = self.lengths(endian.u32(header, 8), endian.u32(header, 12));
        if captured > MAX_CAPTURED {
            let cause = format!("packet record of {captured} bytes, more than {MAX_CAPTURED}");
            return Err(Problem::Malformed { offset, cause });
        }
        let record = record_header + captured;
        if header.len() < record {
            if !batch.is_empty() {
                return Ok(Step::Full);
            }
            if window.ensure(record)? < record {
                return Err(Problem::Truncated { offset, cause: "packet record" });
            }
        }
        let ts = Timestamp::from_ns(seconds * NS_PER_S + fraction * fraction_ns);
        let packet = Shown { ts, link: self.link, interface: 0, length };
        window.show(&packet, record_header, captured, batch);
        window.consume(record);
        Ok(Step::Packet)
    }

    /// Bytes captured and on the wire.
    fn lengths(&self, first: u32, second: u32) -> (usize, u32) {
        match self.minor {
            ..3 => (second as usize, first),
            3 if first > second => (second as usize, first),
            _ => (first as usize, second),
        }
    }
}
