//! Questions about live elements: asked of every shard, answered together.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use ractor::ActorRef;
use serde::Serialize;
use shared::model::network::IpNet;
use shared::model::pool::mac_text;
use shared::model::{AppCategory, GeoPlace, HostKey, Timestamp};
use shared::wire::delta::L7Counters;
use tokio::sync::oneshot;

use crate::element::Counters;
use crate::monitor::{MonitorMessage, MonitorRow};
use crate::partition::InterfaceState;
use crate::partition::{RunAnswer, RunRequest};
use crate::report::AggregatorReport;
use crate::shard::ShardMessage;
use crate::syslog::SyslogMessage;

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
    /// What it is for.
    pub category: AppCategory,
}

/// A host as the API shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct HostRow {
    /// `ip` or `ip@vlan`.
    #[schema(value_type = String)]
    pub host: HostKey,
    /// Site.
    pub site: String,
    /// Interface id.
    pub ifid: u32,
    /// Hardware address seen with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Where it is, as far as databases say.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Operating system that it seems to run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// Bytes of a local host by what they were for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub categories: BTreeMap<&'static str, CategoryRow>,
    /// Counters by name.
    pub stats: BTreeMap<String, u64>,
}

/// Bytes of a host for one purpose.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct CategoryRow {
    /// Bytes sent by the host.
    pub bytes_sent: u64,
    /// Bytes received by it.
    pub bytes_rcvd: u64,
}

/// A local network as the API shows it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
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
#[derive(Clone, Debug, Default)]
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
                    (category.name(), CategoryRow { bytes_sent, bytes_rcvd })
                })
                .collect(),
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
            site: state.interface.site.clone(),
            ifid,
            stats: element.tally.total.named(),
        };
        state.networks.iter().map(row).collect()
    }
}

/// Asks the shards.
#[derive(Clone)]
pub struct LiveState {
    shards: Arc<RwLock<BTreeMap<u32, ActorRef<ShardMessage>>>>,
    /// Who probes hosts, when somebody does.
    monitor: Arc<RwLock<Option<ActorRef<MonitorMessage>>>>,
    /// Who reads log lines, when somebody does.
    syslog: Arc<RwLock<Option<ActorRef<SyslogMessage>>>>,
}

/// Answers of all shards, and who did not answer.
pub struct Answers<T> {
    /// What was answered.
    pub rows: Vec<T>,
    /// Shards that did not answer in time, such as `partition 7`.
    pub missing: Vec<String>,
}

impl LiveState {
    /// Nobody to ask yet.
    pub fn new() -> Self {
        Self { shards: Arc::default(), monitor: Arc::default(), syslog: Arc::default() }
    }

    /// From now on these are asked, by partition.
    pub fn set(&self, shards: BTreeMap<u32, ActorRef<ShardMessage>>) {
        if let Ok(mut kept) = self.shards.write() {
            *kept = shards;
        }
    }

    /// From now on this one is asked about hosts that are probed.
    pub fn set_monitor(&self, monitor: ActorRef<MonitorMessage>) {
        if let Ok(mut kept) = self.monitor.write() {
            *kept = Some(monitor);
        }
    }

    /// From now on this one is asked about log lines.
    pub fn set_syslog(&self, syslog: ActorRef<SyslogMessage>) {
        if let Ok(mut kept) = self.syslog.write() {
            *kept = Some(syslog);
        }
    }

    /// Asks every shard at once; all together have [`PATIENCE`].
    async fn ask<T>(&self, question: impl Fn(oneshot::Sender<T>) -> ShardMessage) -> Answers<T> {
        self.ask_within(PATIENCE, question).await
    }

    async fn ask_within<T>(
        &self,
        patience: Duration,
        question: impl Fn(oneshot::Sender<T>) -> ShardMessage,
    ) -> Answers<T> {
        let shards = self.shards.read().map(|s| s.clone()).unwrap_or_default();
        let ask = |(partition, shard): (u32, ActorRef<ShardMessage>)| {
            let (reply, answer) = oneshot::channel();
            let asked = shard.cast(question(reply)).is_ok();
            async move {
                let answer = tokio::time::timeout(patience, answer);
                let answered = if asked { answer.await.ok().and_then(Result::ok) } else { None };
                answered.ok_or_else(|| format!("partition {partition}"))
            }
        };
        let mut answers = Answers { rows: Vec::new(), missing: Vec::new() };
        for answered in futures::future::join_all(shards.into_iter().map(ask)).await {
            match answered {
                Ok(rows) => answers.rows.push(rows),
                Err(shard) => answers.missing.push(shard),
            }
        }
        answers
    }

    async fn ask_rows<T>(&self, question: impl Fn(oneshot::Sender<Vec<T>>) -> ShardMessage) -> Answers<T> {
        let Answers { rows, missing } = self.ask(question).await;
        Answers { rows: rows.into_iter().flatten().collect(), missing }
    }

    /// All interfaces, by id.
    pub async fn interfaces(&self) -> Answers<InterfaceRow> {
        let mut answers = self.ask_rows(ShardMessage::Interfaces).await;
        answers.rows.sort_by(|a, b| (a.ifid, &a.site).cmp(&(b.ifid, &b.site)));
        answers
    }

    /// A page of hosts, by interface and address, and where the next one begins.
    pub async fn hosts(&self, query: HostQuery) -> (Answers<HostRow>, Option<String>) {
        let mut answers = self.ask_rows(|reply| ShardMessage::Hosts(query.clone(), reply)).await;
        answers.rows.sort_by(|a, b| (a.ifid, &a.site, a.host).cmp(&(b.ifid, &b.site, b.host)));
        let more = answers.rows.len() > query.limit;
        answers.rows.truncate(query.limit);
        let last = answers.rows.last().filter(|_| more);
        let next = last.map(|row| cursor(row.ifid, &row.site, row.host));
        (answers, next)
    }

    /// All networks, by interface and prefix.
    pub async fn networks(&self) -> Answers<NetworkRow> {
        let mut answers = self.ask_rows(ShardMessage::Networks).await;
        answers.rows.sort_by(|a, b| (a.ifid, &a.site, a.network).cmp(&(b.ifid, &b.site, b.network)));
        answers
    }

    /// What all shards that answer have done, and who did not.
    pub async fn report(&self) -> (AggregatorReport, Vec<String>) {
        let answers = self.ask(ShardMessage::Report).await;
        let mut report = AggregatorReport::default();
        for part in &answers.rows {
            report.add(part);
        }
        let mut missing = answers.missing;
        let parts = [
            ("monitor", ask_one(&self.monitor, PATIENCE, MonitorMessage::Report).await),
            ("syslog", ask_one(&self.syslog, PATIENCE, SyslogMessage::Report).await),
        ];
        for (name, part) in parts {
            match part {
                Some(Some(part)) => report.add(&part),
                Some(None) => missing.push(name.to_owned()),
                None => {}
            }
        }
        (report, missing)
    }

    /// Hosts that are probed, by what identifies them.
    pub async fn monitored(&self) -> Answers<MonitorRow> {
        match ask_one(&self.monitor, PATIENCE, MonitorMessage::Rows).await {
            Some(None) => Answers { rows: Vec::new(), missing: vec!["monitor".to_owned()] },
            rows => Answers { rows: rows.flatten().unwrap_or_default(), missing: Vec::new() },
        }
    }

    /// Calls a script on demand, for elements of shards or for hosts that are probed; and who did not
    /// answer within `patience`.
    pub async fn run(
        &self,
        request: RunRequest,
        monitored: bool,
        patience: Duration,
    ) -> (RunAnswer, Vec<String>) {
        if monitored {
            let run = |reply| MonitorMessage::Run(request, reply);
            return match ask_one(&self.monitor, patience, run).await {
                Some(None) => (RunAnswer::default(), vec!["monitor".to_owned()]),
                answer => (answer.flatten().unwrap_or_default(), Vec::new()),
            };
        }
        let answers = self.ask_within(patience, |reply| ShardMessage::Run(request.clone(), reply)).await;
        let mut all = RunAnswer::default();
        answers.rows.into_iter().for_each(|answer| all.add(answer));
        (all, answers.missing)
    }
}

/// Asks one actor: nothing when there is none, and nothing within when it does not answer.
async fn ask_one<M: ractor::Message, T>(
    actor: &RwLock<Option<ActorRef<M>>>,
    patience: Duration,
    question: impl FnOnce(oneshot::Sender<T>) -> M,
) -> Option<Option<T>> {
    let actor = actor.read().ok()?.clone()?;
    let (reply, answer) = oneshot::channel();
    if actor.cast(question(reply)).is_err() {
        return Some(None);
    }
    Some(tokio::time::timeout(patience, answer).await.ok().and_then(Result::ok))
}

impl Default for LiveState {
    fn default() -> Self {
        Self::new()
    }
}
