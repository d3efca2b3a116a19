//! Live capture: what all live sources share, and the one that goes through libpcap.
//!
//! Immediate mode stays off: it turns the kernel's packet ring from blocks into single frames and
//! costs most of the capacity. Reads never block either, since a blocked read on a silent link does
//! not come back, not even at the timeout; the source waits on the descriptor for a moment and says
//! [`SourceState::Idle`] instead.

pub mod filter;

use std::os::fd::{AsFd, BorrowedFd};

use pcap::{Active, Capture, Linktype, Precision};
use serde::{Deserialize, Serialize};
use shared::clock::Clock;
use shared::model::Timestamp;
use shared::model::time::NS_PER_S;

pub use filter::check_filter;

use super::af_packet::{AfPacketSource, ring};
use super::link::Link;
use super::{
    BATCH_PACKETS, Batch, CaptureError, CaptureStats, LinkType, MAX_CAPTURED, PacketSource, Progress,
    SourceState,
};

/// How long the kernel may keep a block that is not full, in milliseconds.
pub(super) const BLOCK_TIMEOUT_MS: u32 = 10;
/// How long a silent source waits before it says so, in milliseconds.
pub(super) const IDLE_WAIT_MS: u16 = 10;

/// The device that stands for all devices; libpcap alone has it.
pub const ANY: &str = "any";

/// Who reads the kernel's packets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// libpcap: every kind of device.
    #[default]
    Libpcap,
    /// Our own reader of the kernel's ring: Linux, Ethernet and raw IP, at about two thirds of the cost.
    AfPacket,
}

/// How to capture on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// Interface name, or `any` on Linux with libpcap.
    pub name: String,
    /// Who reads.
    pub source: Source,
    /// Bytes kept of each packet.
    pub snaplen: u32,
    /// Also take packets that are not for this machine.
    pub promiscuous: bool,
    /// Size of the kernel's ring in bytes.
    pub buffer_bytes: u32,
    /// Capture filter (pcap-filter(7)).
    pub filter: Option<String>,
}

impl LiveConfig {
    /// Through libpcap: whole packets, promiscuous, a ring of 64 MiB, no filter.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: Source::default(),
            snaplen: 65_535,
            promiscuous: true,
            buffer_bytes: 64 << 20,
            filter: None,
        }
    }
}

/// Starts capturing on an interface.
///
/// # Errors
///
/// [`CaptureError::NoSuchInterface`], [`CaptureError::NotPermitted`], [`CaptureError::Filter`], or
/// [`CaptureError::Live`] with what libpcap or the system says.
pub fn open(config: &LiveConfig) -> Result<Box<dyn PacketSource>, CaptureError> {
    Ok(match config.source {
        Source::Libpcap => Box::new(LiveSource::open(config)?),
        Source::AfPacket => Box::new(AfPacketSource::open(config)?),
    })
}

/// Starts capturing on an interface with `count` sources, among which the kernel divides the flows
/// (PACKET_FANOUT): both directions of a flow and all fragments of its packets come to the same one.
///
/// What came before the last of them had joined is forgotten by all, since it was divided otherwise.
///
/// # Errors
///
/// Those of [`open`].
pub fn open_group(
    config: &LiveConfig,
    count: usize,
    clock: &dyn Clock,
) -> Result<Vec<Box<dyn PacketSource>>, CaptureError> {
    if count <= 1 {
        return Ok(vec![open(config)?]);
    }
    match config.source {
        Source::Libpcap => join(config, count, clock, LiveSource::open),
        Source::AfPacket => join(config, count, clock, AfPacketSource::open),
    }
}

/// A source that can share its interface with others.
pub(super) trait Shares: PacketSource + AsFd + 'static {
    /// Forgets packets before `since`.
    fn forget_before(&mut self, since: Timestamp);
}

fn join<S: Shares>(
    config: &LiveConfig,
    count: usize,
    clock: &dyn Clock,
    open: impl Fn(&LiveConfig) -> Result<S, CaptureError>,
) -> Result<Vec<Box<dyn PacketSource>>, CaptureError> {
    let failed = |error| CaptureError::Live { name: config.name.clone(), cause: format!("fanout: {error}") };
    let mut group = None;
    let mut joined = Vec::with_capacity(count);
    for _ in 0..count {
        let source = open(config)?;
        group = Some(ring::join_fanout(source.as_fd(), group).map_err(failed)?);
        joined.push(source);
    }
    let since = clock.now();
    let settle = |mut source: S| -> Box<dyn PacketSource> {
        source.forget_before(since);
        Box::new(source)
    };
    Ok(joined.into_iter().map(settle).collect())
}

fn filter_error(filter: &str, error: &pcap::Error) -> CaptureError {
    CaptureError::Filter { filter: filter.to_owned(), cause: cause(error) }
}

/// libpcap's own words, without the wrapper's prefix.
fn cause(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// libpcap tells these two apart in words only.
fn classify(name: &str, error: &pcap::Error) -> CaptureError {
    let (name, cause) = (name.to_owned(), cause(error));
    let says = |words: &[&str]| words.iter().any(|word| cause.contains(word));
    if says(&["No such device", "doesn't exist"]) {
        CaptureError::NoSuchInterface { name }
    } else if says(&["disappeared"]) {
        CaptureError::Removed { name }
    } else if says(&["permi", "Permi", "privilege", "CAP_NET_RAW"]) {
        CaptureError::NotPermitted { name, cause }
    } else {
        CaptureError::Live { name, cause }
    }
}

/// libpcap's live `DLT_` number as a `LINKTYPE_` number; they differ for raw IP and OpenBSD only.
fn link_type(dlt: Linktype) -> LinkType {
    match dlt.0 {
        12 | 14 => LinkType::RAW,
        other => u16::try_from(other).map_or(LinkType(u16::MAX), LinkType),
    }
}

struct LiveSource {
    name: String,
    /// Absent for [`ANY`].
    device: Option<Link>,
    capture: Capture<Active>,
    link: LinkType,
    /// Packets before this time are no business of this source.
    since: Timestamp,
    over: bool,
    broken: Option<CaptureError>,
    /// libpcap's 32-bit counters at the last look: they wrap.
    raw: [u32; 2],
    stats: CaptureStats,
}

impl LiveSource {
    fn open(config: &LiveConfig) -> Result<Self, CaptureError> {
        let failed = |error: pcap::Error| classify(&config.name, &error);
        let int = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let device = (config.name != ANY).then(|| Link::of(&config.name)).transpose()?;
        let capture = Capture::from_device(config.name.as_str())
            .map_err(failed)?
            .promisc(config.promiscuous)
            .snaplen(int(config.snaplen.clamp(1, MAX_CAPTURED as u32)))
            .buffer_size(int(config.buffer_bytes))
            .timeout(int(BLOCK_TIMEOUT_MS))
            .precision(Precision::Nano);
        let mut capture = capture.open().map_err(failed)?;
        if let Some(filter) = &config.filter {
            capture.filter(filter, true).map_err(|error| filter_error(filter, &error))?;
        }
        let capture = capture.setnonblock().map_err(failed)?;
        let link = link_type(capture.get_datalink());
        Ok(Self {
            name: config.name.clone(),
            device,
            capture,
            link,
            since: Timestamp::ZERO,
            over: false,
            broken: None,
            raw: [0; 2],
            stats: CaptureStats::default(),
        })
    }

    /// Copies what is there into `batch`.
    fn fill(&mut self, batch: &mut Batch) -> Result<(), CaptureError> {
        while batch.len() < BATCH_PACKETS && !self.over {
            match self.capture.next_packet() {
                Ok(packet) => {
                    // With nanosecond precision the "microseconds" field holds nanoseconds.
                    let ts = packet.header.ts;
                    let ts = Timestamp::from_ns(ts.tv_sec * NS_PER_S + ts.tv_usec);
                    if ts >= self.since {
                        batch.push(ts, self.link, 0, packet.header.len, packet.data);
                    }
                }
                Err(pcap::Error::TimeoutExpired) => break,
                Err(pcap::Error::NoMorePackets) => self.over = true,
                Err(error) => {
                    self.over = true;
                    let error = classify(&self.name, &error);
                    if batch.is_empty() {
                        return Err(error);
                    }
                    self.broken = Some(error);
                }
            }
        }
        Ok(())
    }
}

impl AsFd for LiveSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.capture.as_fd()
    }
}

impl Shares for LiveSource {
    fn forget_before(&mut self, since: Timestamp) {
        self.since = since;
    }
}

impl PacketSource for LiveSource {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError> {
        batch.clear();
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        self.fill(batch)?;
        if batch.is_empty() && !self.over {
            // What is wrong with the descriptor is libpcap's to say, at the next read.
            let waited = ring::wait(self.capture.as_fd(), IDLE_WAIT_MS);
            waited
                .map_err(|error| CaptureError::Live { name: self.name.clone(), cause: error.to_string() })?;
            self.fill(batch)?;
        }
        Ok(match batch.is_empty() {
            false => SourceState::More,
            true if self.over => SourceState::End,
            true => SourceState::Idle,
        })
    }

    fn stats(&mut self) -> CaptureStats {
        // A failing call leaves the last counters standing.
        if let Ok(stat) = self.capture.stats() {
            let raw = [stat.received, stat.dropped];
            let total = [&mut self.stats.received, &mut self.stats.dropped_kernel];
            for (total, (now, before)) in total.into_iter().zip(raw.into_iter().zip(self.raw)) {
                *total += u64::from(now.wrapping_sub(before));
            }
            self.raw = raw;
        }
        // libpcap counts these in promiscuous mode only.
        let dropped = self.device.as_ref().map_or(0, Link::dropped);
        self.stats.dropped_interface = self.stats.dropped_interface.max(dropped);
        self.stats
    }

    fn is_up(&mut self) -> Result<bool, CaptureError> {
        match &self.device {
            Some(device) => device.is_up().inspect_err(|_| self.over = true),
            None => Ok(true),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libpcaps_words_become_kinds() {
        let kind = |text: &str| classify("eth9", &pcap::Error::PcapError(text.to_owned()));
        assert!(matches!(kind("SIOCGIFHWADDR: No such device"), CaptureError::NoSuchInterface { .. }));
        assert!(matches!(kind("socket: Operation not permitted"), CaptureError::NotPermitted { .. }));
        assert!(matches!(
            kind("eth9: You don't have permission to capture"),
            CaptureError::NotPermitted { .. }
        ));
        assert!(matches!(kind("The interface disappeared"), CaptureError::Removed { .. }));
        assert!(matches!(kind("That device is not up"), CaptureError::Live { .. }));
    }

    const SOURCES: [Source; 2] = [Source::Libpcap, Source::AfPacket];

    /// A source on `lo` that sees one UDP port, or `None` where nobody may capture.
    fn on_lo(source: Source, port: u16, buffer_bytes: u32) -> Option<Box<dyn PacketSource>> {
        let filter = Some(format!("udp port {port}"));
        let config = LiveConfig { source, filter, buffer_bytes, ..LiveConfig::new("lo") };
        match open(&config) {
            Ok(source) => Some(source),
            Err(error) => {
                assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {error}");
                eprintln!("SKIPPED: no capture on lo: {error}");
                None
            }
        }
    }

    #[test]
    fn a_missing_interface_is_named() {
        for source in SOURCES {
            let error = open(&LiveConfig { source, ..LiveConfig::new("no-such-if0") }).err().unwrap();
            assert!(matches!(error, CaptureError::NoSuchInterface { name } if name == "no-such-if0"));
        }
    }

    #[test]
    fn a_silent_interface_says_idle_and_a_packet_arrives_once() {
        for source in SOURCES {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = socket.local_addr().unwrap().port();
            let Some(mut source) = on_lo(source, port, 64 << 20) else { return };
            let mut batch = Batch::default();
            assert_eq!(source.next_batch(&mut batch).unwrap(), SourceState::Idle);
            assert!(batch.is_empty() && source.is_live() && source.progress().is_none());
            assert_eq!(
                source.is_up().unwrap(),
                std::fs::read_to_string("/sys/class/net/lo/carrier").is_ok_and(|c| c.trim() == "1")
            );
            socket.send_to(b"hello", ("127.0.0.1", port)).unwrap();
            socket.send_to(b"world", ("127.0.0.1", port)).unwrap();
            let mut seen = Vec::new();
            // Each silent round waits up to 10 ms, so this is a deadline of some five seconds.
            for _ in 0..500 {
                source.next_batch(&mut batch).unwrap();
                seen.extend(batch.iter().map(|(desc, bytes)| (desc.length, desc.link, bytes[42..].to_vec())));
                if seen.len() >= 2 {
                    break;
                }
            }
            assert_eq!(source.next_batch(&mut batch).unwrap(), SourceState::Idle);
            let wanted = [b"hello", b"world"].map(|text| (47, LinkType::ETHERNET, text.to_vec()));
            assert_eq!(seen, wanted);
            assert!(source.stats().received >= 2);
        }
    }

    #[test]
    fn a_ring_that_nobody_empties_drops_and_counts() {
        const SENT: u64 = 4000;
        for source in SOURCES {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let port = socket.local_addr().unwrap().port();
            let Some(mut source) = on_lo(source, port, 256 * 1024) else { return };
            for _ in 0..SENT {
                socket.send_to(&[7; 1000], ("127.0.0.1", port)).unwrap();
            }
            let mut batch = Batch::default();
            let mut read = 0;
            while source.next_batch(&mut batch).unwrap() == SourceState::More {
                read += batch.len() as u64;
            }
            let stats = source.stats();
            assert!(stats.dropped_kernel > SENT / 2, "{stats:?}");
            // On loopback each datagram passes the ring twice; what is read is one of the two.
            assert!(read > 0 && stats.received >= read + stats.dropped_kernel, "{read} {stats:?}");
            assert_eq!((stats.dropped_interface, stats.dropped_own), (0, 0));
            // A second look adds nothing that is not new.
            assert_eq!(source.stats(), stats);
        }
    }
}
