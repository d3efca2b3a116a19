//! What a block of the ring holds: packets with their headers. Pure.
//!
//! The layout is version 3 of `linux/if_packet.h`. The kernel writes it, so nothing of it is
//! expected to be wrong; what does not fit in the block is counted and skipped all the same.

use shared::model::Timestamp;
use shared::model::time::NS_PER_S;

/// Packets in the block.
const BLOCK_PACKETS: usize = 12;
/// Where the first packet begins.
const BLOCK_FIRST: usize = 16;
/// The address of where the packet came from follows its header of 48 bytes.
const ADDRESS: usize = 48;
/// The kind of packet within that address.
const ADDRESS_KIND: usize = ADDRESS + 10;

/// `tp_vlan_tci` holds a tag.
const VLAN_VALID: u32 = 1 << 4;
/// `tp_vlan_tpid` holds the tag's EtherType.
const VLAN_TPID_VALID: u32 = 1 << 6;
/// EtherType of a tag where the kernel does not say.
const DOT1Q: u16 = 0x8100;
/// Bytes of both addresses of an Ethernet frame, after which a tag stands.
const ADDRESSES: usize = 12;
/// `sll_pkttype` of a packet that this machine sends.
const OUTGOING: u8 = 4;

/// How far a block has been read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// Where the next packet begins.
    offset: usize,
    /// Packets left.
    left: u32,
}

impl Cursor {
    /// At the first packet of a block.
    pub fn new(block: &[u8]) -> Self {
        let left = u32_at(block, BLOCK_PACKETS).unwrap_or(0);
        Self { offset: u32_at(block, BLOCK_FIRST).unwrap_or(0) as usize, left }
    }

    /// Packets left.
    pub fn left(self) -> u32 {
        self.left
    }
}

/// One packet in a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frame<'a> {
    /// Time of capture.
    pub ts: Timestamp,
    /// Bytes on the wire, without a tag that the kernel took out.
    pub length: u32,
    /// The captured bytes, without that tag.
    pub bytes: &'a [u8],
    /// The tag that the kernel took out: EtherType and tag control information.
    pub tag: Option<(u16, u16)>,
    /// This machine sends it.
    pub outgoing: bool,
}

impl Frame<'_> {
    /// Writes the frame into `out` as it was on the wire, tag included.
    pub fn restore(&self, (tpid, tci): (u16, u16), out: &mut Vec<u8>) {
        out.clear();
        let (addresses, rest) = self.bytes.split_at(ADDRESSES.min(self.bytes.len()));
        out.extend_from_slice(addresses);
        if addresses.len() == ADDRESSES {
            out.extend_from_slice(&tpid.to_be_bytes());
            out.extend_from_slice(&tci.to_be_bytes());
            out.extend_from_slice(rest);
        }
    }
}

/// Takes the next packet from a block: `None` at its end, `Err` when the rest of the block makes no
/// sense, with the number of packets lost thereby.
pub fn next<'a>(block: &'a [u8], cursor: &mut Cursor) -> Option<Result<Frame<'a>, u32>> {
    if cursor.left == 0 {
        return None;
    }
    let frame = frame(block, cursor.offset);
    match frame {
        Some((frame, step)) => {
            cursor.left -= 1;
            cursor.offset += step;
            Some(Ok(frame))
        }
        None => Some(Err(std::mem::take(&mut cursor.left))),
    }
}

/// The packet at `offset`, and how far the next one is.
fn frame(block: &[u8], offset: usize) -> Option<(Frame<'_>, usize)> {
    let packet = block.get(offset..)?;
    let step = u32_at(packet, 0)? as usize;
    let ts = i64::from(u32_at(packet, 4)?) * NS_PER_S + i64::from(u32_at(packet, 8)?);
    let captured = u32_at(packet, 12)? as usize;
    let length = u32_at(packet, 16)?;
    let status = u32_at(packet, 20)?;
    let begin = usize::from(u16_at(packet, 24)?);
    let bytes = packet.get(begin..begin.checked_add(captured)?)?;
    let tci = u32_at(packet, 32)? as u16;
    let tpid = match u16_at(packet, 36)? {
        tpid if status & VLAN_TPID_VALID != 0 => tpid,
        _ => DOT1Q,
    };
    let tag = (status & VLAN_VALID != 0).then_some((tpid, tci));
    let outgoing = packet.get(ADDRESS_KIND) == Some(&OUTGOING);
    Some((Frame { ts: Timestamp::from_ns(ts), length, bytes, tag, outgoing }, step))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(two.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &[u8] = b"ddddddssssss\x08\x00payload";

    /// A block as the kernel lays it out, with packets given as (status, tci, tpid, kind).
    fn block(packets: &[(u32, u32, u16, u8)]) -> Vec<u8> {
        let mut block = vec![0; 48];
        block[12..16].copy_from_slice(&(packets.len() as u32).to_ne_bytes());
        block[16..20].copy_from_slice(&48_u32.to_ne_bytes());
        for (n, (status, tci, tpid, kind)) in packets.iter().enumerate() {
            let mut packet = vec![0; 128];
            for (at, value) in [(0, 128), (4, n as u32 + 1), (8, 5), (12, FRAME.len() as u32), (16, 100)] {
                packet[at..at + 4].copy_from_slice(&u32::to_ne_bytes(value));
            }
            packet[20..24].copy_from_slice(&status.to_ne_bytes());
            packet[24..26].copy_from_slice(&82_u16.to_ne_bytes());
            packet[32..36].copy_from_slice(&tci.to_ne_bytes());
            packet[36..38].copy_from_slice(&tpid.to_ne_bytes());
            packet[58] = *kind;
            packet[82..82 + FRAME.len()].copy_from_slice(FRAME);
            block.extend_from_slice(&packet);
        }
        block
    }

    #[test]
    fn packets_come_in_order_with_time_length_and_direction() {
        let block = block(&[(1, 0, 0, 0), (1, 0, 0, OUTGOING)]);
        let mut cursor = Cursor::new(&block);
        assert_eq!(cursor.left(), 2);
        let first = next(&block, &mut cursor).unwrap().unwrap();
        assert_eq!((first.ts.ns(), first.length, first.bytes), (1_000_000_005, 100, FRAME));
        assert!(first.tag.is_none() && !first.outgoing);
        assert!(next(&block, &mut cursor).unwrap().unwrap().outgoing);
        assert!(next(&block, &mut cursor).is_none());
    }

    #[test]
    fn a_tag_that_the_kernel_took_out_is_put_back() {
        let both = VLAN_VALID | VLAN_TPID_VALID;
        let block = block(&[(both, 0x2007, 0x88a8, 0), (VLAN_VALID, 7, 0, 0), (VLAN_TPID_VALID, 7, 9, 0)]);
        let mut cursor = Cursor::new(&block);
        let mut tag = || next(&block, &mut cursor).unwrap().unwrap().tag;
        assert_eq!([tag(), tag(), tag()], [Some((0x88a8, 0x2007)), Some((0x8100, 7)), None]);
        let frame = next(&block, &mut Cursor::new(&block)).unwrap().unwrap();
        let mut out = Vec::new();
        frame.restore((0x88a8, 0x2007), &mut out);
        assert_eq!(out, b"ddddddssssss\x88\xa8\x20\x07\x08\x00payload");
    }

    #[test]
    fn a_cut_frame_stays_cut() {
        let short = Frame { ts: Timestamp::ZERO, length: 60, bytes: b"dddddd", tag: None, outgoing: false };
        let mut out = vec![1, 2, 3];
        short.restore((0x8100, 7), &mut out);
        assert_eq!(out, b"dddddd");
    }

    #[test]
    fn a_damaged_block_is_left_with_its_losses_counted() {
        let whole = block(&[(1, 0, 0, 0), (1, 0, 0, 0), (1, 0, 0, 0)]);
        // Cut anywhere, the packets that are whole come out and the others are counted.
        for cut in 0..whole.len() {
            let cut_block = &whole[..cut];
            let mut cursor = Cursor::new(cut_block);
            let announced = cursor.left();
            let mut seen = 0;
            while let Some(frame) = next(cut_block, &mut cursor) {
                match frame {
                    Ok(frame) => {
                        assert_eq!(frame.bytes, FRAME);
                        seen += 1;
                    }
                    Err(lost) => assert_eq!(seen + lost, announced),
                }
            }
        }
        // A packet that leads nowhere: the next lies beyond the block.
        let mut wild = whole;
        wild[48..52].copy_from_slice(&u32::MAX.to_ne_bytes());
        let mut cursor = Cursor::new(&wild);
        assert!(next(&wild, &mut cursor).unwrap().is_ok());
        assert_eq!(next(&wild, &mut cursor), Some(Err(2)));
        assert_eq!(next(&wild, &mut cursor), None);
    }
}
