//! Live capture by libpcap.
//!
//! Immediate mode stays off: it turns the kernel's packet ring from blocks into single frames and
//! costs most of the capacity. Reads never block either, since a blocked read on a silent link does
//! not come back, not even at the timeout; the source waits a moment and says
//! [`SourceState::Idle`] instead.

use std::time::Duration;

use pcap::{Active, Capture, Linktype, Precision};
use shared::model::Timestamp;
use shared::model::time::NS_PER_S;

use super::{
    BATCH_PACKETS, Batch, CaptureError, CaptureStats, LinkType, MAX_CAPTURED, PacketSource, Progress,
    SourceState,
};

/// How long the kernel may keep a block that is not full, in milliseconds.
const BLOCK_TIMEOUT_MS: i32 = 10;
/// How long a silent source waits before it says so.
const IDLE_WAIT: Duration = Duration::from_millis(10);

/// How to capture on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// Interface name, or `any` on Linux.
    pub name: String,
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
    /// Whole packets, promiscuous, a ring of 64 MiB, no filter.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), snaplen: 65_535, promiscuous: true, buffer_bytes: 64 << 20, filter: None }
    }
}

/// Starts capturing on an interface.
///
/// # Errors
///
/// [`CaptureError::NoSuchInterface`], [`CaptureError::NotPermitted`], [`CaptureError::Filter`], or
/// [`CaptureError::Live`] with what libpcap says.
pub fn open(config: &LiveConfig) -> Result<Box<dyn PacketSource>, CaptureError> {
    let failed = |error: pcap::Error| classify(&config.name, &error);
    let int = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
    let capture = Capture::from_device(config.name.as_str())
        .map_err(failed)?
        .promisc(config.promiscuous)
        .snaplen(int(config.snaplen.clamp(1, MAX_CAPTURED as u32)))
        .buffer_size(int(config.buffer_bytes))
        .timeout(BLOCK_TIMEOUT_MS)
        .precision(Precision::Nano);
    let mut capture = capture.open().map_err(failed)?;
    if let Some(filter) = &config.filter {
        capture.filter(filter, true).map_err(|error| filter_error(filter, &error))?;
    }
    let capture = capture.setnonblock().map_err(failed)?;
    let link = link_type(capture.get_datalink());
    Ok(Box::new(LiveSource {
        name: config.name.clone(),
        capture,
        link,
        over: false,
        broken: None,
        raw: [0; 3],
        stats: CaptureStats::default(),
    }))
}

/// Checks that a capture filter compiles, for Ethernet.
///
/// # Errors
///
/// [`CaptureError::Filter`] with libpcap's explanation.
pub fn check_filter(filter: &str) -> Result<(), CaptureError> {
    let failed = |error| filter_error(filter, &error);
    let capture = Capture::dead(Linktype::ETHERNET).map_err(failed)?;
    capture.compile(filter, true).map(drop).map_err(failed)
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
    capture: Capture<Active>,
    link: LinkType,
    over: bool,
    broken: Option<CaptureError>,
    /// libpcap's 32-bit counters at the last look: they wrap.
    raw: [u32; 3],
    stats: CaptureStats,
}

impl PacketSource for LiveSource {
    fn next_batch(&mut self, batch: &mut Batch) -> Result<SourceState, CaptureError> {
        batch.clear();
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        while batch.len() < BATCH_PACKETS && !self.over {
            match self.capture.next_packet() {
                Ok(packet) => {
                    // With nanosecond precision the "microseconds" field holds nanoseconds.
                    let ts = packet.header.ts;
                    let ts = Timestamp::from_ns(ts.tv_sec * NS_PER_S + ts.tv_usec);
                    batch.push(ts, self.link, 0, packet.header.len, packet.data);
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
                    return Ok(SourceState::More);
                }
            }
        }
        if self.over {
            return Ok(SourceState::End);
        }
        if batch.is_empty() {
            std::thread::park_timeout(IDLE_WAIT);
            return Ok(SourceState::Idle);
        }
        Ok(SourceState::More)
    }

    fn stats(&mut self) -> CaptureStats {
        // A failing call leaves the last counters standing.
        if let Ok(stat) = self.capture.stats() {
            let raw = [stat.received, stat.dropped, stat.if_dropped];
            let total =
                [&mut self.stats.received, &mut self.stats.dropped_kernel, &mut self.stats.dropped_interface];
            for (total, (now, before)) in total.into_iter().zip(raw.into_iter().zip(self.raw)) {
                *total += u64::from(now.wrapping_sub(before));
            }
            self.raw = raw;
        }
        self.stats
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
    fn filters_are_checked_before_any_capture() {
        check_filter("tcp port 443 or vlan 7").unwrap();
        let error = check_filter("tcp prot 443").unwrap_err();
        assert!(matches!(&error, CaptureError::Filter { filter, .. } if filter == "tcp prot 443"), "{error}");
    }

    #[test]
    fn libpcaps_words_become_kinds() {
        let kind = |text: &str| classify("eth9", &pcap::Error::PcapError(text.to_owned()));
        assert!(matches!(kind("SIOCGIFHWADDR: No such device"), CaptureError::NoSuchInterface { .. }));
        assert!(matches!(kind("socket: Operation not permitted"), CaptureError::NotPermitted { .. }));
        assert!(matches!(
            kind("eth9: You don't have permission to capture"),
            CaptureError::NotPermitted { .. }
        ));
        assert!(matches!(kind("The interface disappeared"), CaptureError::Live { .. }));
    }

    #[test]
    fn a_missing_interface_is_named() {
        let error = open(&LiveConfig::new("no-such-if0")).err().unwrap();
        match error {
            CaptureError::NoSuchInterface { name } | CaptureError::NotPermitted { name, .. } => {
                assert_eq!(name, "no-such-if0");
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_silent_interface_says_idle_and_a_packet_arrives() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let config = LiveConfig { filter: Some(format!("udp port {port}")), ..LiveConfig::new("lo") };
        let mut source = match open(&config) {
            Ok(source) => source,
            Err(error) => {
                eprintln!("SKIPPED: no capture on lo: {error}");
                return;
            }
        };
        let mut batch = Batch::default();
        assert_eq!(source.next_batch(&mut batch).unwrap(), SourceState::Idle);
        assert!(batch.is_empty() && source.is_live() && source.progress().is_none());
        socket.send_to(b"hello", ("127.0.0.1", port)).unwrap();
        // Each round waits up to 10 ms, so this is a deadline of some five seconds.
        let found = (0..500).any(|_| {
            source.next_batch(&mut batch).unwrap();
            batch.iter().any(|(desc, bytes)| bytes.ends_with(b"hello") && desc.length == 47)
        });
        assert!(found, "the datagram was not captured");
        assert!(source.stats().received >= 1);
    }
}
