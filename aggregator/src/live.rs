//! Questions about live elements: asked of every shard, answered together.

use std::collections::BTreeMap;
use std::time::Duration;

use ractor::ActorRef;
use serde::Serialize;
use shared::model::network::IpNet;
use shared::model::pool::mac_text;
use shared::model::query::Page;
use shared::model::{HostKey, Timestamp};
use shared::script::registry::ScriptInfo;
use tokio::sync::oneshot;

use crate::element::Counters;
use crate::partition::InterfaceState;
use crate::report::AggregatorReport;
use crate::shard::ShardMessage;

/// How long a shard may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// An interface as the API shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct InterfaceRow {
    /// Interface id.
    pub ifid: u32,
    /// Interface name.
    pub name: String,
    /// Site.
    pub site: String,
    /// Node that captures on it.
    pub node: String,
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
}

/// Ended flows of one protocol.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct L7Row {
    /// Flows.
    pub flows: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A host as the API shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct HostRow {
    /// `ip` or `ip@vlan`.
    #[schema(value_type = String)]
    pub host: HostKey,
    /// Interface id.
    pub ifid: u32,
    /// Hardware address seen with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
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
    /// Counters by name.
    pub stats: BTreeMap<String, u64>,
}

/// A local network as the API shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct NetworkRow {
    /// Prefix.
    #[schema(value_type = String)]
    pub network: IpNet,
    /// Interface id.
    pub ifid: u32,
    /// Counters by name.
    pub stats: BTreeMap<String, u64>,
}

/// Which hosts to return. Every absent field means any.
#[derive(Clone, Debug, Default)]
pub struct HostQuery {
    /// On this interface.
    pub ifid: Option<u32>,
    /// Local or remote.
    pub local: Option<bool>,
    /// Under this prefix.
    pub search: Option<IpNet>,
    /// After this interface and host.
    pub after: Option<(u32, HostKey)>,
    /// Rows at most.
    pub limit: usize,
}

/// Where the next page of hosts begins: `ifid/host`.
pub fn host_cursor(row: &HostRow) -> String {
    format!("{}/{}", row.ifid, row.host)
}

/// Reads a cursor.
pub fn parse_host_cursor(text: &str) -> Option<(u32, HostKey)> {
    let (ifid, host) = text.split_once('/')?;
    Some((ifid.parse().ok()?, host.parse().ok()?))
}

impl InterfaceRow {
    /// The row of an interface.
    pub fn of(state: &InterfaceState) -> Self {
        let interface = &state.interface;
        let (hosts, local_hosts) = state.hosts.active();
        let l7 = interface
            .l7
            .iter()
            .map(|(name, (flows, bytes))| (name.clone(), L7Row { flows: *flows, bytes: *bytes }));
        Self {
            ifid: interface.id,
            name: interface.name.clone(),
            site: interface.site.clone(),
            node: interface.node.clone(),
            watermark: interface.watermark,
            live_flows: interface.live_flows,
            hosts,
            local_hosts,
            stats: interface.tally.total.named(),
            l7: l7.collect(),
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
        let after = match query.after {
            Some((after, _)) if ifid < after => return Vec::new(),
            Some((after, key)) if ifid == after => Some(key),
            _ => None,
        };
        let wanted = |(key, host): &(&HostKey, &crate::element::Host)| {
            query.local.is_none_or(|local| host.local == local)
                && query.search.is_none_or(|prefix| prefix.contains(&key.ip))
        };
        let row = |(key, host): (&HostKey, &crate::element::Host)| Self {
            host: *key,
            ifid,
            mac: host.mac.as_ref().map(mac_text),
            local: host.local,
            active: !host.idle,
            first_seen: host.first_seen,
            last_seen: host.last_seen,
            stats: host.tally.total.named(),
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
            ifid,
            stats: element.tally.total.named(),
        };
        state.networks.iter().map(row).collect()
    }
}

/// Asks the shards.
#[derive(Clone)]
pub struct LiveState {
    shards: std::sync::Arc<std::sync::RwLock<Vec<ActorRef<ShardMessage>>>>,
}

/// Answers of all shards, and how many did not answer.
pub struct Answers<T> {
    /// What was answered.
    pub rows: Vec<T>,
    /// Shards that did not answer in time.
    pub silent: usize,
}

impl LiveState {
    /// Nobody to ask yet.
    pub fn new() -> Self {
        Self { shards: std::sync::Arc::default() }
    }

    /// From now on these are asked.
    pub fn set(&self, shards: Vec<ActorRef<ShardMessage>>) {
        if let Ok(mut kept) = self.shards.write() {
            *kept = shards;
        }
    }

    async fn ask<T>(&self, question: impl Fn(oneshot::Sender<Vec<T>>) -> ShardMessage) -> Answers<T> {
        let shards = self.shards.read().map(|s| s.clone()).unwrap_or_default();
        let mut waiting = Vec::new();
        for shard in &shards {
            let (reply, answer) = oneshot::channel();
            waiting.push(shard.cast(question(reply)).is_ok().then_some(answer));
        }
        let mut answers = Answers { rows: Vec::new(), silent: 0 };
        for answer in waiting {
            let answered = match answer {
                Some(answer) => tokio::time::timeout(PATIENCE, answer).await.ok().and_then(Result::ok),
                None => None,
            };
            match answered {
                Some(rows) => answers.rows.extend(rows),
                None => answers.silent += 1,
            }
        }
        answers
    }

    /// All interfaces, by id.
    pub async fn interfaces(&self) -> Answers<InterfaceRow> {
        let mut answers = self.ask(ShardMessage::Interfaces).await;
        answers.rows.sort_by(|a, b| (a.ifid, &a.site).cmp(&(b.ifid, &b.site)));
        answers
    }

    /// A page of hosts, by interface and address.
    pub async fn hosts(&self, query: HostQuery) -> (Page<HostRow>, usize) {
        let limit = query.limit;
        let mut answers = self.ask(|reply| ShardMessage::Hosts(query.clone(), reply)).await;
        answers.rows.sort_by_key(|row| (row.ifid, row.host));
        let more = answers.rows.len() > limit;
        answers.rows.truncate(limit);
        let next = answers.rows.last().filter(|_| more).map(host_cursor);
        (Page { items: answers.rows, next }, answers.silent)
    }

    /// All networks, by interface and prefix.
    pub async fn networks(&self) -> Answers<NetworkRow> {
        let mut answers = self.ask(ShardMessage::Networks).await;
        answers.rows.sort_by_key(|row| (row.ifid, row.network));
        answers
    }

    /// Loaded element scripts, by key.
    pub async fn scripts(&self) -> Vec<ScriptInfo> {
        let mut rows = self.ask(ShardMessage::Scripts).await.rows;
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows.dedup_by(|a, b| a.key == b.key);
        rows
    }

    /// What all shards have done.
    pub async fn report(&self) -> AggregatorReport {
        let mut report = AggregatorReport::default();
        let shards = self.shards.read().map(|s| s.clone()).unwrap_or_default();
        for shard in shards {
            let (reply, answer) = oneshot::channel();
            if shard.cast(ShardMessage::Report(reply)).is_ok()
                && let Ok(Ok(part)) = tokio::time::timeout(PATIENCE, answer).await
            {
                report.add(&part);
            }
        }
        report
    }
}

impl Default for LiveState {
    fn default() -> Self {
        Self::new()
    }
}
