//! Live capture from the kernel's own packet ring (packet(7), TPACKET_V3), without libpcap's part.
//!
//! The kernel fills blocks and gives each to us when it is full, or [`BLOCK_TIMEOUT_MS`] after its
//! first packet. Reading a packet is then a few loads and one copy, and no system call; a wait is
//! one per block at most. An interface that goes down keeps its ring: the kernel joins it again
//! when the interface comes back.

pub mod frame;
pub mod ring;

use std::os::fd::{AsFd, BorrowedFd};

use shared::model::Timestamp;

use self::frame::Cursor;
use self::ring::{PacketSocket, Ring, Wait};
use super::link::Link;
use super::live::filter::{self, Filter};
use super::live::{BLOCK_TIMEOUT_MS, IDLE_WAIT_MS, LiveConfig, Shares};
use super::{
    BATCH_PACKETS, Batch, CaptureError, CaptureStats, LinkType, MAX_CAPTURED, PacketSource, Progress,
    SourceState,
};

/// Size of a block where the ring is large enough for several.
const BLOCK_BYTES: u32 = 1 << 20;
/// Smallest block: the kernel cuts packets that do not fit in one.
const MIN_BLOCK_BYTES: u32 = 128 * 1024;

/// Hardware types (`ARPHRD_`, `linux/if_arp.h`) whose frames begin with an Ethernet header.
const ETHERNET: [u16; 2] = [1, 772];
/// Hardware types whose frames begin with the IP header: raw IP, and devices without any such as
/// tun and WireGuard.
const RAW_IP: [u16; 2] = [519, 0xfffe];
/// Number of the loopback hardware type, on which every packet is seen going out and coming in.
const LOOPBACK: u16 = 772;

/// A source on a packet ring.
#[derive(Debug)]
pub struct AfPacketSource {
    name: String,
    device: Link,
    ring: Ring,
    link: LinkType,
    snaplen: usize,
    loopback: bool,
    /// A filter that the kernel cannot apply.
    filter: Option<Filter>,
    /// Packets before this time are no business of this source.
    since: Timestamp,
    /// The block to read next, and how far it has been read once it is ours.
    block: u32,
    cursor: Option<Cursor>,
    /// Room to put a tag back into a frame.
    restored: Vec<u8>,
    over: bool,
    stats: CaptureStats,
}

impl AfPacketSource {
    /// Opens the ring and starts to capture.
    ///
    /// # Errors
    /// [`CaptureError::NoSuchInterface`], [`CaptureError::NotPermitted`], [`CaptureError::Filter`],
    /// or [`CaptureError::Live`] with the cause.
    pub fn open(config: &LiveConfig) -> Result<Self, CaptureError> {
        let failed = |what: &str, error: &std::io::Error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                CaptureError::NotPermitted { name: config.name.clone(), cause: error.to_string() }
            }
            _ => CaptureError::Live { name: config.name.clone(), cause: format!("{what}: {error}") },
        };
        let device = Link::of(&config.name)?;
        let snaplen = config.snaplen.clamp(1, MAX_CAPTURED as u32);
        let socket = PacketSocket::new().map_err(|e| failed("packet socket", &e))?;
        // Deaf until the filter of this kind of link is known and attached.
        socket.attach(&filter::nothing()).map_err(|e| failed("capture filter", &e))?;
        if config.promiscuous {
            socket.promiscuous(device.index()).map_err(|e| failed("promiscuous mode", &e))?;
        }
        let (blocks, block_bytes) = geometry(config.buffer_bytes);
        let ring = socket
            .ring(blocks, block_bytes, BLOCK_TIMEOUT_MS)
            .map_err(|e| failed(&format!("ring of {blocks} blocks of {block_bytes} bytes"), &e))?;
        ring.socket().bind(device.index()).map_err(|e| failed("bind", &e))?;
        let hardware = ring.socket().hardware().map_err(|e| failed("hardware type", &e))?;
        let link = link_type(hardware).ok_or_else(|| CaptureError::Live {
            name: config.name.clone(),
            cause: format!("source af_packet does not know hardware type {hardware}; use libpcap"),
        })?;
        let filter = config.filter.as_deref().map(|text| Filter::compile(text, link)).transpose()?;
        let in_kernel = filter.as_ref().and_then(|filter| filter.in_kernel(snaplen));
        let program = in_kernel.as_deref().map_or_else(|| filter::everything(snaplen), <[_]>::to_vec);
        ring.socket().attach(&program).map_err(|e| failed("capture filter", &e))?;
        // The error of an interface that is down is told by `is_up`.
        let _ = ring::take_error(ring.fd());
        Ok(Self {
            name: config.name.clone(),
            device,
            ring,
            link,
            snaplen: snaplen as usize,
            loopback: hardware == LOOPBACK,
            filter: filter.filter(|_| in_kernel.is_none()),
            since: Timestamp::ZERO,
            block: 0,
            cursor: None,
            restored: Vec::new(),
            over: false,
            stats: CaptureStats::default(),
        })
    }

    /// Copies packets into `batch` until it is full or no block is ours.
    fn fill(&mut self, batch: &mut Batch) {
        while let Some(block) = self.ring.block(self.block) {
            let mut cursor = self.cursor.unwrap_or_else(|| Cursor::new(block));
            while batch.len() < BATCH_PACKETS {
                let Some(frame) = frame::next(block, &mut cursor) else { break };
                let frame = match frame {
                    Ok(frame) => frame,
                    Err(lost) => {
                        self.stats.dropped_own += u64::from(lost);
                        break;
                    }
                };
                if frame.ts < self.since || (self.loopback && frame.outgoing) {
                    continue;
                }
                let (bytes, length) = match frame.tag {
                    Some(tag) if self.link == LinkType::ETHERNET => {
                        frame.restore(tag, &mut self.restored);
                        (self.restored.as_slice(), frame.length.saturating_add(4))
                    }
                    _ => (frame.bytes, frame.length),
                };
                if self.filter.as_ref().is_some_and(|filter| !filter.accepts(bytes)) {
                    continue;
                }
                let bytes = bytes.get(..self.snaplen).unwrap_or(bytes);
                batch.push(frame.ts, self.link, 0, length, bytes);
            }
            if cursor.left() > 0 {
                self.cursor = Some(cursor);
                return;
            }
            self.cursor = None;
            self.ring.release(self.block);
            self.block = (self.block + 1) % self.ring.blocks();
            if batch.len() >= BATCH_PACKETS {
                return;
            }
        }
    }

    /// Waits a moment for the next block.
    fn wait(&mut self) -> Result<(), CaptureError> {
        let failed = |error: std::io::Error| CaptureError::Live {
            name: self.name.clone(),
            cause: format!("packet ring: {error}"),
        };
        match ring::wait(self.ring.fd(), IDLE_WAIT_MS).map_err(failed)? {
            Wait::Ready | Wait::Silent => Ok(()),
            Wait::Failed => match ring::take_error(self.ring.fd()).map_err(failed)? {
                // The interface went down or away. While it is there, under its name, the kernel
                // joins the socket to it again by itself.
                Some(error) if error.raw_os_error() != Some(libc::ENETDOWN) => Err(failed(error)),
                _ => self.device.is_up().map(drop),
            },
        }
    }
}

impl AsFd for AfPacketSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.fd()
    }
}

impl Shares for AfPacketSource {
    fn forget_before(&mut self, since: Timestamp) {
        self.since = since;
    }
}

impl PacketSource for AfPacketSource {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError> {
        batch.clear();
        if self.over {
            return Ok(SourceState::End);
        }
        self.fill(batch);
        if batch.is_empty() {
            if let Err(error) = self.wait() {
                self.over = true;
                return Err(error);
            }
            self.fill(batch);
        }
        Ok(if batch.is_empty() { SourceState::Idle } else { SourceState::More })
    }

    fn stats(&mut self) -> CaptureStats {
        // A failing call leaves the last counters standing.
        if let Ok(counters) = self.ring.socket().counters() {
            self.stats.received += u64::from(counters.packets);
            self.stats.dropped_kernel += u64::from(counters.drops);
        }
        self.stats.dropped_interface = self.stats.dropped_interface.max(self.device.dropped());
        self.stats
    }

    fn is_up(&mut self) -> Result<bool, CaptureError> {
        self.device.is_up().inspect_err(|_| self.over = true)
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_live(&self) -> bool {
        true
    }

    fn progress(&self) -> Option<Progress> {
        None
    }
}

/// Number and size of the blocks of a ring of about `bytes` bytes, two blocks at least.
fn geometry(bytes: u32) -> (u32, u32) {
    let mut block = BLOCK_BYTES;
    while block > MIN_BLOCK_BYTES && bytes / block < 8 {
        block /= 2;
    }
    ((bytes / block).max(2), block)
}

fn link_type(hardware: u16) -> Option<LinkType> {
    if ETHERNET.contains(&hardware) {
        Some(LinkType::ETHERNET)
    } else if RAW_IP.contains(&hardware) {
        Some(LinkType::RAW)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_has_large_blocks_and_never_less_than_two() {
        assert_eq!(geometry(64 << 20), (64, 1 << 20));
        assert_eq!(geometry(1 << 20), (8, 128 * 1024));
        assert_eq!(geometry(0), (2, 128 * 1024));
        assert_eq!(geometry(u32::MAX), (4095, 1 << 20));
    }

    #[test]
    fn links_are_known_by_their_hardware() {
        assert_eq!(link_type(1), Some(LinkType::ETHERNET));
        assert_eq!(link_type(772), Some(LinkType::ETHERNET));
        assert_eq!(link_type(0xfffe), Some(LinkType::RAW));
        assert_eq!(link_type(801), None, "radio without its header's format");
    }
}
