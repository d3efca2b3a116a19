//! Classic pcap (draft-ietf-opsawg-pcap): one header, then records.

use shared::model::Timestamp;
use shared::model::time::NS_PER_S;

use super::window::Window;
use super::{Endian, Problem, Step};
use crate::capture::{Batch, LinkType, MAX_CAPTURED};

const FILE_HEADER: usize = 24;
const RECORD_HEADER: usize = 16;

/// Byte order, and whether fractions are nanoseconds.
pub(super) fn magic(bytes: [u8; 4]) -> Option<(Endian, bool)> {
    match bytes {
        [0xa1, 0xb2, 0xc3, 0xd4] => Some((Endian::Big, false)),
        [0xd4, 0xc3, 0xb2, 0xa1] => Some((Endian::Little, false)),
        [0xa1, 0xb2, 0x3c, 0x4d] => Some((Endian::Big, true)),
        [0x4d, 0x3c, 0xb2, 0xa1] => Some((Endian::Little, true)),
        _ => None,
    }
}

pub(super) struct Classic {
    endian: Endian,
    fraction_ns: i64,
    link: LinkType,
}

impl Classic {
    pub(super) fn open(window: &mut Window, endian: Endian, nano: bool) -> Result<Self, Problem> {
        if window.ensure(FILE_HEADER)? < FILE_HEADER {
            return Err(Problem::Truncated { offset: 0, cause: "file header" });
        }
        let header = window.bytes();
        let (major, minor) = (endian.u16(header, 4), endian.u16(header, 6));
        if major != 2 {
            return Err(Problem::NotACapture(format!("unknown pcap version {major}.{minor}")));
        }
        // The upper half of the field tells the length of frame check sequences, which decoding
        // cuts off by the IP length anyway.
        let link = LinkType(endian.u32(header, 20) as u16);
        window.consume(FILE_HEADER);
        Ok(Self { endian, fraction_ns: if nano { 1 } else { 1000 }, link })
    }

    pub(super) fn step(&mut self, window: &mut Window, batch: &mut Batch) -> Result<Step, Problem> {
        let offset = window.offset();
        match window.ensure(RECORD_HEADER)? {
            0 => return Ok(Step::End),
            n if n < RECORD_HEADER => {
                return Err(Problem::Truncated { offset, cause: "packet record header" });
            }
            _ => {}
        }
        let header = window.bytes();
        let seconds = i64::from(self.endian.u32(header, 0));
        let fraction = i64::from(self.endian.u32(header, 4));
        let captured = self.endian.u32(header, 8) as usize;
        let length = self.endian.u32(header, 12);
        if captured > MAX_CAPTURED {
            let cause = format!("packet record of {captured} bytes, more than {MAX_CAPTURED}");
            return Err(Problem::Malformed { offset, cause });
        }
        let record = RECORD_HEADER + captured;
        if window.ensure(record)? < record {
            return Err(Problem::Truncated { offset, cause: "packet record" });
        }
        let ts = Timestamp::from_ns(seconds * NS_PER_S + fraction * self.fraction_ns);
        batch.push(ts, self.link, 0, length, window.bytes().get(RECORD_HEADER..record).unwrap_or_default());
        window.consume(record);
        Ok(Step::Packet)
    }
}
