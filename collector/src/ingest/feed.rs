//! Packets that carry export datagrams: which ones are taken, and what their flows are.
//!
//! The UDP listener and captures of export traffic deliver the same: IP packets. A datagram that came
//! by a socket has the headers put back that the socket took off (see [`udp`](super::udp)), so that a
//! recorded day of exports replays through the very same path.

use std::net::IpAddr;

use ipnet::IpNet;
use shared::model::{L4, Timestamp};

use super::{CollectedFlow, ExportStats, Exporters, IngestError, Limits};
use crate::capture::PacketDesc;
use crate::decode::{Decoded, Decoder, DecoderConfig, Tunnels};

/// What is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedConfig {
    /// Destination ports of export datagrams; every UDP packet is one when empty.
    pub ports: Vec<u16>,
    /// Who may export; everybody when empty.
    pub exporters: Vec<IpNet>,
    /// Bounds on what is remembered.
    pub limits: Limits,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// It was an export datagram; its event time. Its flows are in the vector.
    Datagram(Timestamp),
    /// It was one that is damaged; flows before the damage are in the vector.
    Damaged(IngestError),
    /// No export datagram.
    Other,
    /// From somebody who may not export.
    NotAllowed,
}

/// Makes flows of packets with export datagrams.
#[derive(Debug)]
pub struct Feed {
    exporters: Exporters,
    /// Reads the packets that carry datagrams; tunnels are none of its business.
    envelope: Decoder,
    config: FeedConfig,
    not_allowed: u64,
}

impl Feed {
    /// Nobody has exported anything yet. `samples` is how sampled packets are decoded.
    pub fn new(config: FeedConfig, samples: DecoderConfig) -> Self {
        // Nothing is counted of either but what is whole: nobody would come for what waited in vain.
        let samples = DecoderConfig { patient: false, ..samples };
        let envelope = Decoder::new(DecoderConfig { tunnels: Tunnels::Outer, ..samples });
        let exporters = Exporters::new(config.limits, Decoder::new(samples));
        Self { exporters, envelope, config, not_allowed: 0 }
    }

    /// Takes one packet; appends its flows to `out`.
    pub fn packet(&mut self, desc: &PacketDesc, frame: &[u8], out: &mut Vec<CollectedFlow>) -> Fed {
        let Ok(Decoded::Packet(packet)) = self.envelope.decode(desc, frame) else { return Fed::Other };
        let ports = &self.config.ports;
        if packet.l4 != L4::UDP || !(ports.is_empty() || ports.contains(&packet.dst_port)) {
            return Fed::Other;
        }
        let from = packet.src.to_canonical();
        if !self.config.exporters.is_empty() && !self.config.exporters.iter().any(|net| net.contains(&from)) {
            self.not_allowed += 1;
            return Fed::NotAllowed;
        }
        match self.exporters.datagram(from, desc.ts, packet.payload, out) {
            Ok(at) => Fed::Datagram(at),
            Err(error) => Fed::Damaged(error),
        }
    }

    /// Counters by exporter, in order of address.
    pub fn stats(&self) -> Vec<(IpAddr, ExportStats)> {
        self.exporters.stats()
    }

    /// Exporters that have fallen silent, with [`Exporters::silent`]'s bounds.
    pub fn silent(&self, now: Timestamp, patience_s: i64) -> u64 {
        self.exporters.silent(now, patience_s)
    }

    /// Datagrams refused: of senders that may not export, and of exporters that were too many.
    pub fn refused(&self) -> u64 {
        self.not_allowed + self.exporters.refused()
    }
}
