//! The source that goes through libpcap.

use std::os::fd::{AsFd, BorrowedFd};

use pcap::{Active, Capture, Linktype, Precision};
use shared::model::Timestamp;
use shared::model::time::NS_PER_S;

use super::{ANY, BLOCK_TIMEOUT_MS, IDLE_WAIT_MS, LiveConfig, Shares};
use crate::capture::af_packet::ring;
use crate::capture::link::Link;
use crate::capture::{
    BATCH_PACKETS, Batch, CaptureError, CaptureStats, LinkType, MAX_CAPTURED, PacketSource, Progress,
    SourceState,
};

pub(super) fn filter_error(filter: &str, error: &pcap::Error) -> CaptureError {
    CaptureError::Filter { filter: filter.to_owned(), cause: cause(error) }
}

/// libpcap's own words, without the wrapper's prefix.
pub(super) fn cause(error: &pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// libpcap tells these two apart in words only.
pub(super) fn classify(name: &str, error: &pcap::Error) -> CaptureError {
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
pub(super) fn link_type(dlt: Linktype) -> LinkType {
    match dlt.0 {
        12 | 14 => LinkType::RAW,
        other => u16::try_from(other).map_or(LinkType(u16::MAX), LinkType),
    }
}

/// A counter of 32 bits that begins anew from zero, as 64 bits. It is looked at each second, within which
/// no interface carries 4 billion packets.
#[derive(Clone, Copy, Debug, Default)]
struct Wrapping {
    before: u32,
    total: u64,
}

impl Wrapping {
    /// The whole count, when the counter shows `now`.
    fn now(&mut self, now: u32) -> u64 {
        self.total += u64::from(now.wrapping_sub(self.before));
        self.before = now;
        self.total
    }
}

pub(super) struct LiveSource {
    name: String,
    /// Absent for [`ANY`].
    device: Option<Link>,
    capture: Capture<Active>,
    link: LinkType,
    /// Packets before this time are no business of this source.
    since: Timestamp,
    over: bool,
    broken: Option<CaptureError>,
    /// Packets received, and dropped by the kernel.
    counted: [Wrapping; 2],
    stats: CaptureStats,
}

impl LiveSource {
    pub(super) fn open(config: &LiveConfig) -> Result<Self, CaptureError> {
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
            counted: [Wrapping::default(); 2],
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
            let [received, dropped] = &mut self.counted;
            self.stats.received = received.now(stat.received);
            self.stats.dropped_kernel = dropped.now(stat.dropped);
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
    fn a_counter_goes_on_where_libpcaps_begins_anew() {
        let mut counter = Wrapping::default();
        assert_eq!(counter.now(4_000_000_000), 4_000_000_000);
        assert_eq!(counter.now(4_294_967_295), 4_294_967_295);
        assert_eq!(counter.now(0), 4_294_967_296);
        assert_eq!(counter.now(5), 4_294_967_301);
        assert_eq!(counter.now(5), 4_294_967_301, "nothing came");
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
        assert!(matches!(kind("The interface disappeared"), CaptureError::Removed { .. }));
        assert!(matches!(kind("That device is not up"), CaptureError::Live { .. }));
    }
}
