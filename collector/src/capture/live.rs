//! Live capture: what all live sources share, and the one that goes through libpcap.
//!
//! Immediate mode stays off: it turns the kernel's packet ring from blocks into single frames and
//! costs most of the capacity. Reads never block either, since a blocked read on a silent link does
//! not come back, not even at the timeout; the source waits on the descriptor for a moment and says
//! [`SourceState::Idle`] instead.

mod fanout;
pub mod filter;
mod libpcap;

use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};
use shared::clock::Clock;
use shared::model::Timestamp;

pub use fanout::Fanout;
pub use filter::check_filter;

use super::af_packet::{AfPacketSource, ring};
use super::{CaptureError, PacketSource};
use libpcap::LiveSource;

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
    /// How packets are divided where several sources share the interface.
    pub fanout: Fanout,
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
            fanout: Fanout::default(),
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

/// Starts capturing on an interface with `count` sources, among which the kernel divides the packets
/// (PACKET_FANOUT) as [`Fanout`] says: both directions of a flow come to the same one.
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
    let program = config.fanout.program();
    let mut joined = Vec::with_capacity(count);
    for _ in 0..count {
        let source = open(config)?;
        group = Some(ring::join_fanout(source.as_fd(), group, program.as_deref()).map_err(failed)?);
        joined.push(source);
    }
    let since = clock.now();
    let settle = |mut source: S| -> Box<dyn PacketSource> {
        source.forget_before(since);
        Box::new(source)
    };
    Ok(joined.into_iter().map(settle).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::{Batch, LinkType, SourceState};

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
