//! Summaries on the wire: what was counted on one interface since the previous summary.
//!
//! [`Delta`] is the plain form, `proto::DeltaBatch` the columnar one. A reader skips counters and
//! fields of later versions; columns whose lengths differ make the whole message malformed.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use ipnet::IpNet;
use prost::Message;

use super::compression::plain;
use super::{WireError, proto};
use crate::model::metric::{Metric, Metrics};
use crate::model::pool::Mac;
use crate::model::{
    AppCategory, CategoryBytes, Contact, HostCounters, HostFact, HostKey, InterfaceCounters, NetworkCounters,
    Timestamp,
};

mod columns;
mod hosts;
#[cfg(test)]
mod tests;

const WHAT: &str = "delta";

/// Who produced a batch, and which of its batches it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Producer {
    /// Site of the collector.
    pub site: String,
    /// Node of the collector.
    pub node: String,
    /// Interface id on that node.
    pub ifid: u32,
    /// Interface name.
    pub interface: String,
    /// Run of the producer; larger is later.
    pub epoch: u64,
    /// Number of the batch within the epoch, from 1 without gaps.
    pub sequence: u64,
}

/// What was counted on one interface since the previous delta.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// Who counted.
    pub producer: Producer,
    /// Event time covered, inclusive.
    pub from: Timestamp,
    /// Event time covered, exclusive.
    pub to: Timestamp,
    /// No later delta of this producer holds anything seen before this event time.
    pub watermark: Timestamp,
    /// The last delta: the capture file ended.
    pub end_of_stream: bool,
    /// The interface as a whole.
    pub interface: InterfaceDelta,
    /// Hosts that counted something.
    pub hosts: Vec<HostDelta>,
    /// Whom local ones of these hosts got in touch with, each once.
    pub contacts: Vec<Contact>,
    /// What local ones of these hosts used the network for, each category once.
    pub categories: Vec<CategoryBytes>,
    /// What was learned of these hosts.
    pub facts: Vec<HostFact>,
    /// Local networks that counted something.
    pub networks: Vec<NetworkDelta>,
    /// W3C trace context of the packet batch that closed this delta; mostly absent.
    pub traceparent: Option<String>,
}

/// What the interface counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InterfaceDelta {
    /// Counted since the previous delta.
    pub counters: InterfaceCounters,
    /// Live flows at the end of the covered time.
    pub live_flows: u64,
    /// Traffic by layer-7 protocol name.
    pub l7: BTreeMap<String, L7Counters>,
    /// Hook calls by hook name.
    pub hooks: BTreeMap<String, u64>,
    /// True when exporters report this interface's flows instead of packets.
    pub collected: bool,
    /// What flow scripts noted, as `<script>.<name>`.
    pub metrics: Metrics,
}

/// What one layer-7 protocol counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct L7Counters {
    /// Flows that became known as this protocol.
    pub flows: u64,
    /// Bytes on the wire.
    pub bytes: u64,
    /// What it is for.
    pub category: AppCategory,
}

/// What one host counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDelta {
    /// The host.
    pub key: HostKey,
    /// Hardware address seen with it, when known.
    pub mac: Option<Mac>,
    /// True when a local network holds the address.
    pub local: bool,
    /// Event time of its last packet.
    pub last_seen: Timestamp,
    /// Counted since the previous delta.
    pub counters: HostCounters,
}

/// What one local network counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDelta {
    /// The network.
    pub network: IpNet,
    /// Counted since the previous delta.
    pub counters: NetworkCounters,
}

impl Delta {
    /// The message's bytes (`flowhook.v1.DeltaBatch`).
    pub fn encode(&self) -> Bytes {
        let batch = proto::DeltaBatch {
            producer: Some(self.producer.to_proto()),
            from_ns: self.from.ns(),
            to_ns: self.to.ns(),
            watermark_ns: self.watermark.ns(),
            end_of_stream: self.end_of_stream,
            interface: Some(self.interface.to_proto()),
            hosts: (!self.hosts.is_empty()).then(|| hosts::write(self)),
            networks: (!self.networks.is_empty()).then(|| networks_to_proto(&self.networks)),
            traceparent: self.traceparent.clone().unwrap_or_default(),
        };
        batch.encode_to_vec().into()
    }

    /// Reads a message, [compressed](super::compression) or not.
    ///
    /// # Errors
    /// [`WireError`] when the bytes are no `DeltaBatch`, it names no producer, columns differ in
    /// length, or a value is out of its range.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let bytes = plain(bytes, WHAT)?;
        let batch = proto::DeltaBatch::decode(&*bytes).map_err(|e| malformed(&e))?;
        let hosts = batch.hosts.unwrap_or_default();
        Ok(Self {
            producer: Producer::from_proto(batch.producer, WHAT)?,
            from: Timestamp::from_ns(batch.from_ns),
            to: Timestamp::from_ns(batch.to_ns),
            watermark: Timestamp::from_ns(batch.watermark_ns),
            end_of_stream: batch.end_of_stream,
            interface: InterfaceDelta::from_proto(batch.interface.unwrap_or_default())?,
            contacts: hosts::contacts(&hosts)?,
            categories: hosts::categories(&hosts)?,
            facts: hosts::facts(&hosts)?,
            hosts: hosts::read(&hosts)?,
            networks: networks_from_proto(&batch.networks.unwrap_or_default())?,
            traceparent: (!batch.traceparent.is_empty()).then_some(batch.traceparent),
        })
    }
}

impl Producer {
    pub(super) fn to_proto(&self) -> proto::Producer {
        proto::Producer {
            site: self.site.clone(),
            node: self.node.clone(),
            ifid: self.ifid,
            interface: self.interface.clone(),
            epoch: self.epoch,
            sequence: self.sequence,
        }
    }

    pub(super) fn from_proto(wire: Option<proto::Producer>, what: &'static str) -> Result<Self, WireError> {
        let wire = wire.ok_or_else(|| WireError::malformed(what, "no producer"))?;
        Ok(Self {
            site: wire.site,
            node: wire.node,
            ifid: wire.ifid,
            interface: wire.interface,
            epoch: wire.epoch,
            sequence: wire.sequence,
        })
    }
}

impl InterfaceDelta {
    fn to_proto(&self) -> proto::InterfaceDelta {
        proto::InterfaceDelta {
            columns: columns::write([&self.counters].into_iter()),
            live_flows: self.live_flows,
            l7_names: self.l7.keys().cloned().collect(),
            l7_flows: self.l7.values().map(|l7| l7.flows).collect(),
            l7_bytes: self.l7.values().map(|l7| l7.bytes).collect(),
            l7_categories: self.l7.values().map(|l7| l7.category as u32).collect(),
            hook_names: self.hooks.keys().cloned().collect(),
            hook_calls: self.hooks.values().copied().collect(),
            collected: self.collected,
            metric_names: self.metrics.keys().cloned().collect(),
            metric_levels: self.metrics.values().map(|metric| metric.gauge).collect(),
            metric_sums: self.metrics.values().map(|metric| metric.sum).collect(),
            metric_counts: self.metrics.values().map(|metric| metric.count).collect(),
        }
    }

    fn from_proto(wire: proto::InterfaceDelta) -> Result<Self, WireError> {
        let mut counters = [InterfaceCounters::default()];
        columns::read(&wire.columns, &mut counters, WHAT)?;
        same_length("l7_flows", wire.l7_flows.len(), wire.l7_names.len())?;
        same_length("l7_bytes", wire.l7_bytes.len(), wire.l7_names.len())?;
        same_length("hook_calls", wire.hook_calls.len(), wire.hook_names.len())?;
        let rows = wire.metric_names.len();
        same_length("metric_levels", wire.metric_levels.len(), rows)?;
        same_length("metric_sums", wire.metric_sums.len(), rows)?;
        same_length("metric_counts", wire.metric_counts.len(), rows)?;
        let metrics = wire.metric_levels.into_iter().zip(wire.metric_sums).zip(wire.metric_counts);
        let metrics = metrics.map(|((gauge, sum), count)| Metric { gauge, sum, count });
        // Early versions say nothing of categories, later ones may know more of them.
        let category = |number: u32| AppCategory::ALL.get(number as usize).copied().unwrap_or_default();
        let categories = wire.l7_categories.into_iter().map(category);
        let categories = categories.chain(std::iter::repeat(AppCategory::default()));
        let l7 = wire.l7_flows.into_iter().zip(wire.l7_bytes).zip(categories);
        let l7 = l7.map(|((flows, bytes), category)| L7Counters { flows, bytes, category });
        Ok(Self {
            counters: counters[0],
            live_flows: wire.live_flows,
            l7: wire.l7_names.into_iter().zip(l7).collect(),
            hooks: wire.hook_names.into_iter().zip(wire.hook_calls).collect(),
            collected: wire.collected,
            metrics: wire.metric_names.into_iter().zip(metrics).collect(),
        })
    }
}

fn networks_to_proto(networks: &[NetworkDelta]) -> proto::NetworkDeltas {
    proto::NetworkDeltas {
        prefixes: networks.iter().map(|row| row.network.to_string()).collect(),
        columns: columns::write(networks.iter().map(|row| &row.counters)),
    }
}

fn networks_from_proto(wire: &proto::NetworkDeltas) -> Result<Vec<NetworkDelta>, WireError> {
    let mut counters = vec![NetworkCounters::default(); wire.prefixes.len()];
    columns::read(&wire.columns, &mut counters, WHAT)?;
    let rows = wire.prefixes.iter().zip(counters);
    rows.map(|(prefix, counters)| {
        let network = prefix.parse().map_err(|_| malformed(&format!("'{prefix}' is not a network")))?;
        Ok(NetworkDelta { network, counters })
    })
    .collect()
}

/// 4 or 16 bytes.
pub(super) fn address_to_wire(ip: IpAddr) -> Bytes {
    match ip {
        IpAddr::V4(ip) => Bytes::copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => Bytes::copy_from_slice(&ip.octets()),
    }
}

pub(super) fn address_from_wire(bytes: &[u8], what: &'static str) -> Result<IpAddr, WireError> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let any = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    any.map_err(|_| WireError::malformed(what, format!("an address of {} bytes", bytes.len())))
}

/// 6 bytes, or none when unknown.
pub(super) fn mac_to_wire(mac: Option<&Mac>) -> Bytes {
    mac.map_or_else(Bytes::new, |mac| Bytes::copy_from_slice(mac))
}

pub(super) fn mac_from_wire(bytes: &[u8], what: &'static str) -> Result<Option<Mac>, WireError> {
    match bytes {
        [] => Ok(None),
        _ => Mac::try_from(bytes)
            .map(Some)
            .map_err(|_| WireError::malformed(what, format!("a hardware address of {} bytes", bytes.len()))),
    }
}

fn malformed(cause: &impl std::fmt::Display) -> WireError {
    WireError::malformed(WHAT, cause)
}

fn same_length(column: &str, len: usize, rows: usize) -> Result<(), WireError> {
    if len == rows {
        return Ok(());
    }
    Err(malformed(&format!("{column} has {len} values for {rows} rows")))
}
