//! What a live flow remembers of the exporter that reports it.

use std::net::IpAddr;
use std::sync::Arc;

use shared::model::flow::{ExportInfo, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};
use shared::model::status::FlowStatus;
use shared::model::{TcpState, Timestamp};

use super::marks::Marks;
use super::state::{Direction, Flow};
use crate::ingest::{CollectedFlow, Counters};

/// Of a collected flow, what packets would not have told. Directions are the flow's: client to
/// server is the first.
#[derive(Clone, Debug)]
pub struct Collected {
    /// Who reported it first.
    pub exporter: IpAddr,
    /// Time of the first packet, by the exporter.
    pub first: Timestamp,
    /// Time of the last packet, by the exporter.
    pub last: Timestamp,
    /// Who reports each direction. Another exporter that does so too is a router on the same way:
    /// its counters would count the packets twice.
    sources: [Option<IpAddr>; 2],
    input: u32,
    output: u32,
    sampling: u32,
    application: Option<Arc<str>>,
    tos: u8,
    next_hop: Option<IpAddr>,
    client_as: u32,
    server_as: u32,
    /// Totals as last reported, where the exporter reports totals.
    totals: [Counters; 2],
    /// The exporter said that the flow is over.
    ended: bool,
}

impl Collected {
    /// Nothing but who reports it.
    pub(super) fn new(record: &CollectedFlow) -> Self {
        Self {
            exporter: record.exporter,
            first: record.first,
            last: record.last,
            sources: [None; 2],
            input: 0,
            output: 0,
            sampling: record.sampling,
            application: None,
            tos: record.tos,
            next_hop: None,
            client_as: 0,
            server_as: 0,
            totals: [Counters::default(); 2],
            ended: false,
        }
    }

    /// The same for the flow's successor, which begins at `now`.
    pub(super) fn succeed(&self, now: Timestamp) -> Self {
        Self { first: now.min(self.last).max(self.first), ..self.clone() }
    }

    /// As flow records show it.
    pub(super) fn info(&self) -> ExportInfo {
        ExportInfo {
            exporter: self.exporter,
            input: self.input,
            output: self.output,
            sampling: self.sampling,
            application: self.application.clone().unwrap_or_default(),
            tos: self.tos,
            next_hop: self.next_hop,
            client_as: self.client_as,
            server_as: self.server_as,
        }
    }

    /// Takes what `record` adds; `from_client` says which way it looks. Returns what its two
    /// directions counted since the last record.
    fn merge(&mut self, record: &CollectedFlow, from_client: bool) -> [Counters; 2] {
        self.first = self.first.min(record.first);
        self.last = self.last.max(record.last);
        self.sampling = self.sampling.max(record.sampling);
        self.ended |= record.end.is_some_and(|end| end.is_final());
        if self.application.is_none() {
            self.application.clone_from(&record.application);
        }
        let known = |old: u32, new: u32| if old == 0 { new } else { old };
        if from_client {
            self.input = known(self.input, record.input);
            self.output = known(self.output, record.output);
            self.next_hop = self.next_hop.or(record.next_hop);
        }
        let (client_as, server_as) = match from_client {
            true => (record.src_as, record.dst_as),
            false => (record.dst_as, record.src_as),
        };
        self.client_as = known(self.client_as, client_as);
        self.server_as = known(self.server_as, server_as);
        let ways = if from_client { [0, 1] } else { [1, 0] };
        let mut counted = [record.forward, record.reverse];
        for (counters, way) in counted.iter_mut().zip(ways) {
            if *counters == Counters::default() {
                continue;
            }
            if *self.sources[way].get_or_insert(record.exporter) != record.exporter {
                *counters = Counters::default();
            } else if record.totals {
                let before = std::mem::replace(&mut self.totals[way], *counters);
                // Totals that went down belong to a flow that the exporter began anew.
                counters.packets = counters.packets.checked_sub(before.packets).unwrap_or(counters.packets);
                counters.bytes = counters.bytes.checked_sub(before.bytes).unwrap_or(counters.bytes);
            }
        }
        counted
    }
}

impl Flow {
    /// What the exporter says, when the flow was collected.
    pub(super) fn collected(&self) -> Option<&Collected> {
        self.extra.as_deref()?.collected.as_deref()
    }

    /// True when nothing more is expected but stragglers: TCP has ended, or the exporter said so.
    pub(super) fn is_over(&self) -> bool {
        self.tcp.is_over() || self.collected().is_some_and(|collected| collected.ended)
    }

    /// Adds a record of an exporter.
    pub(super) fn collect(&mut self, record: &CollectedFlow, from_client: bool, now: Timestamp) {
        self.last_seen = now.max(self.last_seen);
        let Some(collected) = self.extra.as_mut().and_then(|extra| extra.collected.as_mut()) else { return };
        let [forward, reverse] = collected.merge(record, from_client);
        let (ours, theirs) = match from_client {
            true => (&mut self.cli2srv, &mut self.srv2cli),
            false => (&mut self.srv2cli, &mut self.cli2srv),
        };
        if ours.packets == 0 {
            ours.tos = record.tos;
        }
        add(ours, forward, record.tcp_flags, from_client);
        add(theirs, reverse, record.reverse_tcp_flags, !from_client);
        if let (Some(icmp), false) = (record.icmp, self.marks.has(Marks::ICMP)) {
            self.icmp = icmp;
            self.marks.set(Marks::ICMP, true);
        }
        if self.l4() == shared::model::L4::TCP {
            self.tcp.collect(self.cli2srv.tcp_flags, self.srv2cli.tcp_flags);
        }
    }

    /// The status bits that flags and counters alone can show at the end of a collected TCP flow.
    pub(super) fn conclude_collected(&mut self) {
        let reset = self.tcp.state == TcpState::Reset;
        let handshake = self.tcp.handshake_ok();
        for (status, on) in [
            (FlowStatus::TcpUnanswered, self.tcp.state == TcpState::SynSent),
            (FlowStatus::TcpRefused, reset && !handshake && self.packets() <= 2),
            (FlowStatus::TcpReset, reset && handshake),
        ] {
            if on {
                self.status |= status.bit();
            }
        }
    }
}

/// Adds counters of a record to a direction; of connection requests and resets flags show the first.
fn add(direction: &mut Direction, counters: Counters, flags: u8, from_client: bool) {
    direction.packets = direction.packets.saturating_add(counters.packets);
    direction.bytes = direction.bytes.saturating_add(counters.bytes);
    let fresh = flags & !direction.tcp_flags;
    if fresh & TCP_SYN != 0 && from_client {
        direction.syns = direction.syns.wrapping_add(1);
    }
    if fresh & TCP_RST != 0 {
        direction.resets = direction.resets.wrapping_add(1);
    }
    direction.tcp_flags |= flags;
}

/// Where a TCP connection stands by the flags of both directions, and whether its handshake must
/// have been seen.
pub(super) fn tcp_state(client: u8, server: u8) -> (TcpState, bool) {
    let either = client | server;
    let both = TCP_SYN | TCP_ACK;
    let opened = client & TCP_SYN != 0 && server & both == both;
    // A client that acknowledges was answered, also when nobody reports the answers.
    let handshake = client & both == both && (opened || server == 0);
    let state = if either & TCP_RST != 0 {
        TcpState::Reset
    } else if client & server & TCP_FIN != 0 {
        TcpState::Closed
    } else if either & TCP_FIN != 0 {
        TcpState::Closing
    } else if handshake {
        TcpState::Established
    } else if opened {
        TcpState::SynReceived
    } else if client & (TCP_SYN | TCP_ACK) == TCP_SYN && server == 0 {
        TcpState::SynSent
    } else {
        TcpState::Midstream
    };
    (state, handshake)
}
