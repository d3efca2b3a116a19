//! Live elements as the API shows them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use shared::model::network::IpNet;
use shared::model::pool::mac_text;
use shared::model::{AppCategory, GeoPlace, HostKey, Timestamp};
use shared::wire::delta::L7Counters;

use crate::element::Counters;
use crate::partition::{Batches, InterfaceState};

/// An interface as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InterfaceRow {
    /// Interface id.
    pub ifid: u32,
    /// Interface name.
    pub name: String,
    /// Site.
    pub site: String,
    /// Node that captures on it.
    pub node: String,
    /// The node's clock is off by more than 2 s: the times of all this are doubtful.
    #[serde(default)]
    pub clock_off: bool,
    /// Event time up to which it is known.
    #[schema(value_type = String)]
    pub watermark: Timestamp,
    /// Live flows.
    pub live_flows: u64,
    /// Active hosts.
    pub hosts: u64,
    /// Active local hosts.
    pub local_hosts: u64,
    /// Counters by name.
    pub stats: BTreeMap<String, u64>,
    /// Ended flows and their bytes by layer-7 protocol.
    pub l7: BTreeMap<String, L7Row>,
    /// Batches of summaries, by the node that numbered them: what is missing was not counted.
    pub batches: BTreeMap<String, BatchesRow>,
}

/// How complete is what one node told of an interface.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BatchesRow {
    /// Batches that the node numbered.
    pub expected: u64,
    /// Those that have come.
    pub received: u64,
    /// Those that have not, lost or only late.
    pub missing: u64,
}

/// Ended flows of one protocol.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct L7Row {
    /// Flows.
    pub flows: u64,
    /// Bytes.
    pub bytes: u64,
    /// What it is for.
    pub category: AppCategory,
}

/// A host as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct HostRow {
    /// `ip` or `ip@vlan`.
    #[schema(value_type = String)]
    pub host: HostKey,
    /// Site.
    pub site: String,
    /// Interface id.
    pub ifid: u32,
    /// Hardware address seen with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Where it is, as far as databases say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<GeoPlace>)]
    pub geo: Option<Arc<GeoPlace>>,
    /// True when a local network holds it.
    pub local: bool,
    /// True while it is not idle.
    pub active: bool,
    /// Time of its first packet's summary.
    #[schema(value_type = String)]
    pub first_seen: Timestamp,
    /// Time of its last packet.
    #[schema(value_type = String)]
    pub last_seen: Timestamp,
    /// Name by which clients asked for it last.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Operating system that it seems to run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// Bytes of a local host by what they were for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<String, CategoryRow>,
    /// Counters by name.
    pub stats: BTreeMap<String, u64>,
}

/// Bytes of a host for one purpose.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CategoryRow {
    /// Bytes sent by the host.
    pub bytes_sent: u64,
    /// Bytes received by it.
    pub bytes_rcvd: u64,
}

/// A local network as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NetworkRow {
    /// Prefix.
    #[schema(value_type = String)]
    pub network: IpNet,
    /// Site.
    pub site: String,
    /// Interface id.
    pub ifid: u32,
    /// Counters by name.
    pub stats: BTreeMap<String, u64>,
}

/// Which hosts to return. Every absent field means any.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HostQuery {
    /// On this interface.
    pub ifid: Option<u32>,
    /// Local or remote.
    pub local: Option<bool>,
    /// Under this prefix.
    pub search: Option<IpNet>,
    /// After this interface and host.
    pub after: Option<(u32, String, HostKey)>,
    /// Rows at most.
    pub limit: usize,
}

/// Where the next page begins: `ifid/site/key`; sites number their interfaces on their own.
pub fn cursor(ifid: u32, site: &str, key: impl Display) -> String {
    format!("{ifid}/{site}/{key}")
}

/// Reads a cursor. A site may hold a slash, a key does not.
pub fn parse_cursor<K: FromStr>(text: &str) -> Option<(u32, String, K)> {
    let (ifid, rest) = text.split_once('/')?;
    let (site, key) = rest.rsplit_once('/')?;
    Some((ifid.parse().ok()?, site.to_owned(), key.parse().ok()?))
}

impl InterfaceRow {
    /// The row of an interface.
    pub fn of(state: &InterfaceState) -> Self {
        let interface = &state.interface;
        let (hosts, local_hosts) = state.hosts.active();
        let l7 = interface.l7.iter().map(|(name, l7)| {
            let L7Counters { flows, bytes, category } = *l7;
            (name.clone(), L7Row { flows, bytes, category })
        });
        let batches = state.batches.iter().map(|(node, Batches { received, missing })| {
            let (received, missing) = (*received, *missing);
            (node.clone(), BatchesRow { expected: received.saturating_add(missing), received, missing })
        });
        Self {
            ifid: interface.id,
            name: interface.name.clone(),
            site: interface.site.clone(),
            node: interface.node.clone(),
            clock_off: false,
            watermark: interface.watermark,
            live_flows: interface.live_flows,
            hosts,
            local_hosts,
            stats: interface.tally.total().named(),
            l7: l7.collect(),
            batches: batches.collect(),
        }
    }
}

impl HostRow {
    /// The rows of an interface's hosts that `query` asks for, one more than its limit at most.
    pub fn of(state: &InterfaceState, query: &HostQuery) -> Vec<Self> {
        let ifid = state.interface.id;
        if query.ifid.is_some_and(|wanted| wanted != ifid) {
            return Vec::new();
        }
        let site = &state.interface.site;
        let after = match &query.after {
            None => None,
            Some((after, after_site, key)) => match (ifid, site).cmp(&(*after, after_site)) {
                Ordering::Less => return Vec::new(),
                Ordering::Equal => Some(*key),
                Ordering::Greater => None,
            },
        };
        let wanted = |(key, host): &(&HostKey, &crate::element::Host)| {
            query.local.is_none_or(|local| host.local == local)
                && query.search.is_none_or(|prefix| prefix.contains(&key.ip))
        };
        let row = |(key, host): (&HostKey, &crate::element::Host)| Self {
            host: *key,
            site: site.clone(),
            ifid,
            mac: host.mac.as_ref().map(mac_text),
            geo: host.geo.clone(),
            local: host.local,
            active: !host.idle,
            first_seen: host.first_seen,
            last_seen: host.last_seen,
            name: host.facts.as_ref().map_or_else(String::new, |facts| facts.name.to_string()),
            os: host.facts.as_ref().map_or_else(String::new, |facts| facts.os.to_string()),
            categories: host
                .categories()
                .into_iter()
                .map(|(category, bytes)| {
                    let (bytes_sent, bytes_rcvd) = bytes;
                    (category.name().to_owned(), CategoryRow { bytes_sent, bytes_rcvd })
                })
                .collect(),
            stats: host.tally.total().named(),
        };
        state.hosts.after(after).filter(wanted).take(query.limit + 1).map(row).collect()
    }
}

impl NetworkRow {
    /// The rows of an interface's networks.
    pub fn of(state: &InterfaceState) -> Vec<Self> {
        let ifid = state.interface.id;
        let row = |(network, element): (&IpNet, &crate::element::Network)| Self {
            network: *network,
            site: state.interface.site.clone(),
            ifid,
            stats: element.tally.total().named(),
        };
        state.networks.iter().map(row).collect()
    }
}
