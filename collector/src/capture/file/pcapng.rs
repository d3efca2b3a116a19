//! pcapng (draft-ietf-opsawg-pcapng): sections of blocks, several interfaces, own clocks.

use shared::model::Timestamp;
use shared::model::time::NS_PER_S;

use super::window::{Shown, Window};
use super::{Endian, Problem, Step};
use crate::capture::{Batch, LinkType, MAX_CAPTURED};

/// Type of the section header block; reads the same in both byte orders.
pub(super) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
/// Obsolete, but old captures have it.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

const OPT_END: u16 = 0;
const OPT_TSRESOL: u16 = 9;
const OPT_TSOFFSET: u16 = 14;

/// Type and length.
const BLOCK_HEADER: usize = 8;
/// Smallest block: type, length, length again.
const BLOCK_MIN: usize = 12;
/// A packet block with its headers and a generous share of options; fits the window.
const BLOCK_MAX: usize = MAX_CAPTURED + 128 * 1024;
/// Interfaces a section may describe; each costs memory.
const MAX_INTERFACES: usize = 65_536;

#[derive(Clone, Copy)]
struct Interface {
    link: LinkType,
    snaplen: u32,
    resolution: Resolution,
    offset_s: i64,
}

/// Length of one tick of an interface's clock (option `if_tsresol`).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Resolution {
    /// 10^-n s.
    Decimal(u8),
    /// 2^-n s.
    Binary(u8),
}

impl Resolution {
    fn ns(self, ticks: u64) -> i64 {
        let ticks = i128::from(ticks);
        let ns = match self {
            Self::Decimal(n @ 0..=9) => ticks * 10_i128.pow(u32::from(9 - n)),
            Self::Decimal(n) => 10_i128.checked_pow(u32::from(n - 9)).map_or(0, |unit| ticks / unit),
            Self::Binary(n) => (ticks * i128::from(NS_PER_S)).checked_shr(u32::from(n)).unwrap_or(0),
        };
        i64::try_from(ns).unwrap_or(i64::MAX)
    }
}

pub(super) struct PcapNg {
    endian: Endian,
    interfaces: Vec<Interface>,
    /// Simple packet blocks carry no time; they take the time of the packet before.
    last: Timestamp,
}

impl PcapNg {
    pub(super) fn open(window: &mut Window) -> Result<Self, Problem> {
        let mut reader = Self { endian: Endian::Little, interfaces: Vec::new(), last: Timestamp::ZERO };
        let offset = window.offset();
        reader.section(window).map_err(|problem| match problem {
            Problem::Malformed { offset: at, cause } if at == offset => Problem::NotACapture(cause),
            other => other,
        })?;
        Ok(reader)
    }

    pub(super) fn step(&mut self, window: &mut Window, batch: &mut Batch) -> Result<Step, Problem> {
        let offset = window.offset();
        if window.bytes().len() < BLOCK_MIN {
            if !batch.is_empty() {
                return Ok(Step::Full);
            }
            match window.ensure(BLOCK_MIN)? {
                0 => return Ok(Step::End),
                n if n < BLOCK_MIN => {
                    return Err(Problem::Truncated { offset, cause: "block header" });
                }
                _ => {}
            }
        }
        let kind = self.endian.u32(window.bytes(), 0);
        if kind == SECTION {
            // Its length cannot be read before its byte order.
            if !batch.is_empty() {
                return Ok(Step::Full);
            }
            self.section(window)?;
            return Ok(Step::Skipped);
        }
        let length = checked_length(self.endian.u32(window.bytes(), 4), offset)?;
        if window.bytes().len() < length && !batch.is_empty() {
            return Ok(Step::Full);
        }
        if !matches!(kind, INTERFACE | PACKET | SIMPLE_PACKET | ENHANCED_PACKET) {
            return self.skip(window, offset, length);
        }
        let body = block_body(window, self.endian, length)?;
        let malformed = |cause| Problem::Malformed { offset, cause };
        let step = if kind == INTERFACE {
            self.interface(body).map_err(malformed)?;
            Step::Skipped
        } else {
            let (packet, from, captured) = self.packet(kind, body).map_err(malformed)?;
            window.show(&packet, BLOCK_HEADER + from, captured, batch);
            Step::Packet
        };
        window.consume(length);
        Ok(step)
    }

    /// Passes over a block of any size without holding it.
    fn skip(&mut self, window: &mut Window, offset: u64, length: usize) -> Result<Step, Problem> {
        let cut = Problem::Truncated { offset, cause: "block" };
        let before_trailer = length as u64 - 4;
        if window.skip(before_trailer)? < before_trailer || window.ensure(4)? < 4 {
            return Err(cut);
        }
        check_trailer(self.endian.u32(window.bytes(), 0), length, offset)?;
        window.consume(4);
        Ok(Step::Skipped)
    }

    fn section(&mut self, window: &mut Window) -> Result<(), Problem> {
        const FIXED: usize = 28;
        let offset = window.offset();
        let malformed = |cause: String| Problem::Malformed { offset, cause };
        if window.ensure(FIXED)? < FIXED {
            return Err(Problem::Truncated { offset, cause: "section header" });
        }
        let bytes = window.bytes();
        let endian = match Endian::Big.u32(bytes, 8) {
            0x1a2b_3c4d => Endian::Big,
            0x4d3c_2b1a => Endian::Little,
            other => {
                return Err(malformed(format!("section with unknown byte-order mark {other:08x}")));
            }
        };
        let length = checked_length(endian.u32(bytes, 4), offset)?;
        if length < FIXED {
            return Err(malformed(format!("section header of only {length} bytes")));
        }
        let major = endian.u16(bytes, 12);
        if major != 1 {
            return Err(malformed(format!("section of unknown version {major}.{}", endian.u16(bytes, 14))));
        }
        block_body(window, endian, length)?;
        window.consume(length);
        self.endian = endian;
        self.interfaces.clear();
        Ok(())
    }

    fn interface(&mut self, body: &[u8]) -> Result<(), String> {
        if body.len() < 8 {
            return Err("interface block too short".to_owned());
        }
        if self.interfaces.len() >= MAX_INTERFACES {
            return Err(format!("more than {MAX_INTERFACES} interfaces in one section"));
        }
        let mut interface = Interface {
            link: LinkType(self.endian.u16(body, 0)),
            snaplen: self.endian.u32(body, 4),
            resolution: Resolution::Decimal(6),
            offset_s: 0,
        };
        let mut options = body.get(8..).unwrap_or_default();
        while options.len() >= 4 {
            let (code, length) = (self.endian.u16(options, 0), usize::from(self.endian.u16(options, 2)));
            if code == OPT_END {
                break;
            }
            let Some(value) = options.get(4..4 + length) else {
                return Err("interface block with an option beyond its end".to_owned());
            };
            match (code, value) {
                (OPT_TSRESOL, &[n]) if n & 0x80 != 0 => interface.resolution = Resolution::Binary(n & 0x7f),
                (OPT_TSRESOL, &[n]) => interface.resolution = Resolution::Decimal(n),
                (OPT_TSOFFSET, value) if value.len() == 8 => {
                    let (first, second) = (self.endian.u32(value, 0), self.endian.u32(value, 4));
                    let (high, low) = match self.endian {
                        Endian::Big => (first, second),
                        Endian::Little => (second, first),
                    };
                    interface.offset_s = (u64::from(high) << 32 | u64::from(low)).cast_signed();
                }
                _ => {}
            }
            options = options.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
        self.interfaces.push(interface);
        Ok(())
    }

    /// The packet of a block, where in the body it begins, and how many bytes were captured.
    fn packet(&mut self, kind: u32, body: &[u8]) -> Result<(Shown, usize, usize), String> {
        let e = self.endian;
        let fixed = if kind == SIMPLE_PACKET { 4 } else { 20 };
        if body.len() < fixed {
            return Err("packet block too short".to_owned());
        }
        let number = match kind {
            ENHANCED_PACKET => e.u32(body, 0),
            PACKET => u32::from(e.u16(body, 0)),
            _ => 0,
        };
        let Some(interface) = self.interfaces.get(number as usize) else {
            return Err(format!("packet block of undescribed interface {number}"));
        };
        let (captured, length) = if kind == SIMPLE_PACKET {
            let length = e.u32(body, 0);
            (if interface.snaplen == 0 { length } else { length.min(interface.snaplen) }, length)
        } else {
            let ticks = u64::from(e.u32(body, 4)) << 32 | u64::from(e.u32(body, 8));
            self.last = Timestamp::from_secs(interface.offset_s).plus_ns(interface.resolution.ns(ticks));
            (e.u32(body, 12), e.u32(body, 16))
        };
        let captured = captured as usize;
        if captured > MAX_CAPTURED {
            return Err(format!("packet block with {captured} bytes, more than {MAX_CAPTURED}"));
        }
        if body.len() < fixed + captured {
            return Err("packet block shorter than the packet in it".to_owned());
        }
        let packet = Shown { ts: self.last, link: interface.link, interface: number, length };
        Ok((packet, fixed, captured))
    }
}

fn checked_length(length: u32, offset: u64) -> Result<usize, Problem> {
    if (length as usize) < BLOCK_MIN || !length.is_multiple_of(4) {
        return Err(Problem::Malformed { offset, cause: format!("block with impossible length {length}") });
    }
    Ok(length as usize)
}

fn check_trailer(trailer: u32, length: usize, offset: u64) -> Result<(), Problem> {
    if trailer as usize == length {
        return Ok(());
    }
    let cause = format!("block whose lengths differ ({length} and {trailer})");
    Err(Problem::Malformed { offset, cause })
}

/// What lies between the two lengths of the block at the window's start.
fn block_body(window: &mut Window, endian: Endian, length: usize) -> Result<&[u8], Problem> {
    let offset = window.offset();
    if length > BLOCK_MAX {
        let cause = format!("block of {length} bytes, more than {BLOCK_MAX}");
        return Err(Problem::Malformed { offset, cause });
    }
    if window.ensure(length)? < length {
        return Err(Problem::Truncated { offset, cause: "block" });
    }
    check_trailer(endian.u32(window.bytes(), length - 4), length, offset)?;
    Ok(window.bytes().get(BLOCK_HEADER..length - 4).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::Resolution;

    #[test]
    fn every_resolution_gives_nanoseconds() {
        assert_eq!(Resolution::Decimal(6).ns(1_500_000), 1_500_000_000);
        assert_eq!(Resolution::Decimal(0).ns(2), 2_000_000_000);
        assert_eq!(Resolution::Decimal(9).ns(7), 7);
        assert_eq!(Resolution::Decimal(12).ns(7_999), 7);
        assert_eq!(Resolution::Decimal(127).ns(u64::MAX), 0);
        assert_eq!(Resolution::Binary(10).ns(512), 500_000_000);
        assert_eq!(Resolution::Binary(127).ns(u64::MAX), 0);
        assert_eq!(Resolution::Decimal(0).ns(u64::MAX), i64::MAX);
    }
}
