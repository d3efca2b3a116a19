//! Where packets come from: files and live interfaces behind one trait.
//!
//! A source hands its packets over in a [`Batch`] that the caller owns and reuses: a copy of them, or
//! a share of the buffer in which they were read, so that nothing downstream borrows from the source.

pub mod af_packet;
mod error;
pub mod file;
pub mod files;
pub mod link;
pub mod live;

use std::sync::Arc;

use shared::model::Timestamp;

pub use error::CaptureError;

/// Packets a source puts into one batch at most.
pub const BATCH_PACKETS: usize = 256;

/// Largest captured packet in bytes that a source accepts (libpcap's `MAXIMUM_SNAPLEN`).
pub const MAX_CAPTURED: usize = 256 * 1024;

/// Link-layer header type by its `LINKTYPE_` number (tcpdump.org/linktypes.html).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkType(pub u16);

impl LinkType {
    /// BSD loopback: address family in the byte order of the capturing machine.
    pub const NULL: Self = Self(0);
    /// Ethernet.
    pub const ETHERNET: Self = Self(1);
    /// PPP, with or without HDLC framing.
    pub const PPP: Self = Self(9);
    /// Raw IP as the `DLT_RAW` number that some writers store.
    pub const DLT_RAW: Self = Self(12);
    /// Raw IP, version by the first nibble.
    pub const RAW: Self = Self(101);
    /// Cisco PPP with HDLC framing.
    pub const C_HDLC: Self = Self(104);
    /// OpenBSD loopback: address family in network byte order.
    pub const LOOP: Self = Self(108);
    /// Linux cooked capture, version 1.
    pub const LINUX_SLL: Self = Self(113);
    /// Raw IPv4.
    pub const IPV4: Self = Self(228);
    /// Raw IPv6.
    pub const IPV6: Self = Self(229);
    /// Linux cooked capture, version 2.
    pub const LINUX_SLL2: Self = Self(276);
    /// FDDI.
    pub const FDDI: Self = Self(10);
    /// Raw IP as OpenBSD numbers it.
    pub const DLT_RAW_OPENBSD: Self = Self(14);
    /// PPP in HDLC-like framing.
    pub const PPP_HDLC: Self = Self(50);
    /// PPPoE session header and what follows.
    pub const PPP_ETHER: Self = Self(51);
    /// ATM with LLC (RFC 1483).
    pub const ATM_RFC1483: Self = Self(100);
    /// IEEE 802.11.
    pub const IEEE802_11: Self = Self(105);
    /// Frame relay with the encapsulation of RFC 2427.
    pub const FRELAY: Self = Self(107);
    /// BSD's IPsec interface.
    pub const ENC: Self = Self(109);
    /// IEEE 802.11 behind a Prism header.
    pub const PRISM: Self = Self(119);
    /// IP over Fibre Channel (RFC 2625).
    pub const IP_OVER_FC: Self = Self(122);
    /// IEEE 802.11 behind a radiotap header.
    pub const RADIOTAP: Self = Self(127);
    /// IP over IEEE 1394 as Apple stores it.
    pub const FIREWIRE: Self = Self(138);
    /// IEEE 802.11 behind an AVS header.
    pub const AVS: Self = Self(163);
    /// Per-packet information, which names another link type.
    pub const PPI: Self = Self(192);
    /// PPP behind a byte for the direction.
    pub const PPP_WITH_DIR: Self = Self(204);
    /// Cisco HDLC behind a byte for the direction.
    pub const C_HDLC_WITH_DIR: Self = Self(205);
    /// MPLS label stack.
    pub const MPLS: Self = Self(219);
    /// Linux netfilter log.
    pub const NFLOG: Self = Self(239);
    /// Ethernet behind a netANALYZER header.
    pub const NETANALYZER: Self = Self(240);
    /// Apple's packet metadata, which names another link type.
    pub const PKTAP: Self = Self(258);
}

/// What a source knows about one packet besides its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketDesc {
    /// Time of capture.
    pub ts: Timestamp,
    /// Where the captured bytes start in the batch.
    pub offset: u32,
    /// Bytes captured.
    pub captured: u32,
    /// Bytes on the wire; never less than `captured`.
    pub length: u32,
    /// Link-layer header type.
    pub link: LinkType,
    /// Interface number of a pcapng section, else 0.
    pub interface: u32,
}

/// Packets are never later than this (the year 2200), whatever a damaged file says: event time must be
/// able to go on.
const LATEST: Timestamp = Timestamp::from_secs(7_258_118_400);

/// Up to [`BATCH_PACKETS`] packets, owned and reused.
#[derive(Default, Debug)]
pub struct Batch {
    data: Vec<u8>,
    /// Holds the packets instead of `data`; its owner does not write to it as long as it is here.
    lent: Option<Arc<Box<[u8]>>>,
    descs: Vec<PacketDesc>,
}

impl Batch {
    /// Forgets the packets and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.lent = None;
        self.descs.clear();
    }

    /// Packets held.
    pub fn len(&self) -> usize {
        self.descs.len()
    }

    /// True when no packet is held.
    pub fn is_empty(&self) -> bool {
        self.descs.is_empty()
    }

    /// Appends one packet; `length` is its size on the wire in bytes, `bytes` what was captured.
    pub fn push(&mut self, ts: Timestamp, link: LinkType, interface: u32, length: u32, bytes: &[u8]) {
        if let Some(lent) = self.lent.take() {
            self.copy_from(&lent);
        }
        let offset = self.data.len();
        self.data.extend_from_slice(bytes);
        self.push_lent(ts, link, interface, length, offset, bytes.len());
    }

    /// Forgets the packets and takes a share of `buffer`, in which [`Batch::push_lent`] says where packets are.
    fn lend(&mut self, buffer: &Arc<Box<[u8]>>) {
        self.clear();
        self.lent = Some(Arc::clone(buffer));
    }

    /// Appends a packet whose `captured` bytes are there from `offset` on.
    fn push_lent(
        &mut self,
        ts: Timestamp,
        link: LinkType,
        interface: u32,
        length: u32,
        offset: usize,
        captured: usize,
    ) {
        // Sources refuse packets above MAX_CAPTURED, so neither number comes near 2^32.
        let (offset, captured) = (offset as u32, captured as u32);
        let ts = ts.clamp(Timestamp::ZERO, LATEST);
        self.descs.push(PacketDesc { ts, offset, captured, length: length.max(captured), link, interface });
    }

    /// Makes the packets in a lent buffer the batch's own.
    fn copy_from(&mut self, lent: &[u8]) {
        for desc in &mut self.descs {
            let start = desc.offset as usize;
            let bytes = lent.get(start..start + desc.captured as usize).unwrap_or_default();
            desc.offset = self.data.len() as u32;
            self.data.extend_from_slice(bytes);
        }
    }

    /// What is known about the packets, in the order of capture.
    pub fn descs(&self) -> &[PacketDesc] {
        &self.descs
    }

    /// The packets in the order of capture, each with its captured bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&PacketDesc, &[u8])> {
        let data = self.lent.as_ref().map_or(&self.data[..], |lent| lent);
        self.descs.iter().map(move |desc| {
            let start = desc.offset as usize;
            (desc, data.get(start..start + desc.captured as usize).unwrap_or_default())
        })
    }
}

/// What a source says after filling a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SourceState {
    /// The batch may hold packets; ask again.
    More,
    /// Nothing at the moment (live and silent); the batch is empty.
    Idle,
    /// The source ended; the batch may hold the last packets.
    End,
}

/// Counters of a source since it was opened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct CaptureStats {
    /// Packets the source saw, dropped ones included where the system counts them so.
    pub received: u64,
    /// Packets the kernel dropped because the ring was full.
    pub dropped_kernel: u64,
    /// Packets the interface or its driver dropped.
    pub dropped_interface: u64,
    /// Packets the source itself took and could not hand on.
    pub dropped_own: u64,
}

/// How far a source has read its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes of the input consumed, compressed ones where it is compressed.
    pub bytes_read: u64,
    /// Size of the input; `None` for a pipe.
    pub bytes_total: Option<u64>,
    /// Packets that were in them.
    pub packets: u64,
}

/// Delivers packets in batches.
pub trait PacketSource: Send {
    /// Replaces the contents of `batch` with the next packets.
    ///
    /// A live source waits some 10 ms at most, so that the caller can look at its own mailbox; a
    /// file blocks for the disk only. After an error or [`SourceState::End`] the source is over and
    /// says `End` again.
    ///
    /// # Errors
    ///
    /// A damaged file or a failed interface. Every packet before the damage has been delivered by an
    /// earlier call; the batch is empty.
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError>;

    /// Counters so far.
    fn stats(&mut self) -> CaptureStats;

    /// True unless the interface is down, so that nothing can come. For the caller to ask about once
    /// a second.
    ///
    /// # Errors
    ///
    /// The interface is no longer there, or no longer under its name; the source is over.
    fn is_up(&mut self) -> Result<bool, CaptureError> {
        Ok(true)
    }

    /// File path or interface name.
    fn name(&self) -> &str;

    /// True for an interface: its packets are timed by the present.
    fn is_live(&self) -> bool;

    /// Share of the input read so far; `None` when there is no end to reach.
    fn progress(&self) -> Option<Progress>;
}

#[cfg(test)]
mod tests;
