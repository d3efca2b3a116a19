//! Questions about live elements: asked of every shard, here and at other aggregators, answered together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use ractor::ActorRef;
use serde::de::DeserializeOwned;
use shared::bus::SharedBus;
use shared::model::Timestamp;
use shared::wire::heartbeat::Heartbeat;
use shared::wire::partition::PARTITIONS;
use shared::wire::subject::Subjects;
use tokio::sync::oneshot;

use crate::monitor::{MonitorMessage, MonitorRow};
use crate::nodes::{NodeRow, Nodes, Notice};
use crate::partition::{RunAnswer, RunRequest};
use crate::report::AggregatorReport;
use crate::shard::ShardMessage;
use crate::syslog::SyslogMessage;

mod remote;
mod rows;

use remote::{Others, Question};
pub use rows::{
    BatchesRow, CategoryRow, HostQuery, HostRow, InterfaceRow, L7Row, NetworkRow, cursor, parse_cursor,
};

/// How long a shard may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the shards.
#[derive(Clone)]
pub struct LiveState {
    shards: Arc<RwLock<BTreeMap<u32, ActorRef<ShardMessage>>>>,
    /// Who else holds partitions, where there can be somebody.
    others: Option<Others>,
    /// Processes that say that they are there.
    nodes: Arc<RwLock<Nodes>>,
    /// Who probes hosts, when somebody does.
    monitor: Arc<RwLock<Option<ActorRef<MonitorMessage>>>>,
    /// Who reads log lines, when somebody does.
    syslog: Arc<RwLock<Option<ActorRef<SyslogMessage>>>>,
}

/// Answers of all shards, and who did not answer.
pub struct Answers<T> {
    /// What was answered.
    pub rows: Vec<T>,
    /// Who did not answer in time, such as `partition 7` or `aggregator b`.
    pub missing: Vec<String>,
}

impl LiveState {
    /// Nobody to ask yet.
    pub fn new() -> Self {
        Self {
            shards: Arc::default(),
            others: None,
            nodes: Arc::default(),
            monitor: Arc::default(),
            syslog: Arc::default(),
        }
    }

    /// From now on these are asked, by partition.
    pub fn set(&self, shards: BTreeMap<u32, ActorRef<ShardMessage>>) {
        if let Ok(mut kept) = self.shards.write() {
            *kept = shards;
        }
    }

    /// Partitions that are held here.
    pub fn shards(&self) -> Vec<u32> {
        self.shards.read().map(|shards| shards.keys().copied().collect()).unwrap_or_default()
    }

    /// The same, with other aggregators that hold partitions and are asked over the bus.
    pub fn with_others(self, bus: SharedBus, subjects: Subjects, node: String) -> Self {
        Self { others: Some(Others::new(bus, subjects, node)), ..self }
    }

    /// A process says that it is there: what of that everybody should know.
    pub fn heard(&self, beat: &Heartbeat, now: Timestamp) -> Vec<Notice> {
        self.nodes.write().map(|mut nodes| nodes.heard(beat, now)).unwrap_or_default()
    }

    /// Processes that say that they are there.
    pub fn nodes(&self, now: Timestamp) -> Vec<NodeRow> {
        self.nodes.read().map(|nodes| nodes.rows(now)).unwrap_or_default()
    }

    /// From now on these aggregators, this one among them, share the partitions.
    pub fn set_cluster(&self, names: Vec<String>) {
        if let Some(others) = &self.others {
            others.set(names);
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

    /// All interfaces of all aggregators, by id.
    pub async fn interfaces(&self) -> Answers<InterfaceRow> {
        let own = self.ask_rows(ShardMessage::Interfaces);
        let (mut answers, _) = self.of_all(own, &Question::Interfaces).await;
        answers.rows.sort_by(|a, b| (a.ifid, &a.site).cmp(&(b.ifid, &b.site)));
        if let Ok(nodes) = self.nodes.read() {
            answers.rows.iter_mut().for_each(|row| row.clock_off = nodes.is_off(&row.node));
        }
        answers
    }

    /// A page of hosts, by interface and address, and where the next one begins.
    pub async fn hosts(&self, query: HostQuery) -> (Answers<HostRow>, Option<String>) {
        let own = self.ask_rows(|reply| ShardMessage::Hosts(query.clone(), reply));
        let (mut answers, cuts) = self.of_all(own, &Question::Hosts(query.clone())).await;
        let order = |a: &HostRow, b: &HostRow| (a.ifid, &a.site, a.host).cmp(&(b.ifid, &b.site, b.host));
        answers.rows.sort_by(order);
        // What comes after the last row of an answer that was cut is not known to be the next.
        let cut = cuts.iter().min_by(|a, b| order(a, b));
        let known =
            answers.rows.iter().take_while(|row| cut.is_none_or(|cut| order(row, cut).is_le())).count();
        let more = known > query.limit || cut.is_some();
        answers.rows.truncate(known.min(query.limit));
        let last = answers.rows.last().filter(|_| more);
        let next = last.map(|row| cursor(row.ifid, &row.site, row.host));
        (answers, next)
    }

    /// All networks, by interface and prefix.
    pub async fn networks(&self) -> Answers<NetworkRow> {
        let (mut answers, _) = self.of_all(self.ask_rows(ShardMessage::Networks), &Question::Networks).await;
        answers.rows.sort_by(|a, b| (a.ifid, &a.site, a.network).cmp(&(b.ifid, &b.site, b.network)));
        answers
    }

    /// What shards of this aggregator say, and what others answer; and the last row of each answer that
    /// was cut because it was too long.
    async fn of_all<T: DeserializeOwned>(
        &self,
        own: impl Future<Output = Answers<T>>,
        question: &Question,
    ) -> (Answers<T>, Vec<T>) {
        let Some(others) = &self.others else { return (own.await, Vec::new()) };
        let (mut answers, others) = tokio::join!(own, others.ask::<T>(question));
        answers.rows.extend(others.rows);
        answers.missing.extend(others.missing);
        let held = |partition: &u32| others.held.contains(partition);
        let own: BTreeSet<u32> = self.shards().into_iter().collect();
        let nobodys = (0..PARTITIONS).filter(|partition| !held(partition) && !own.contains(partition));
        answers.missing.extend(nobodys.map(|partition| format!("partition {partition}")));
        (answers, others.cuts)
    }

    /// Answers what another aggregator asks.
    pub async fn answer(&self, question: &[u8]) -> Vec<u8> {
        let held = self.shards();
        match serde_json::from_slice(question) {
            Ok(Question::Interfaces) => remote::answer(self.ask_rows(ShardMessage::Interfaces).await, held),
            Ok(Question::Monitored) => remote::answer(self.monitored_here().await, held),
            Ok(Question::Networks) => remote::answer(self.ask_rows(ShardMessage::Networks).await, held),
            Ok(Question::Hosts(query)) => {
                let mut answers = self.ask_rows(|reply| ShardMessage::Hosts(query.clone(), reply)).await;
                answers
                    .rows
                    .sort_by(|a: &HostRow, b| (a.ifid, &a.site, a.host).cmp(&(b.ifid, &b.site, b.host)));
                answers.rows.truncate(query.limit + 1);
                remote::answer(answers, held)
            }
            Err(error) => remote::refuse(&error.to_string()),
        }
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

    /// Hosts that are probed, by what identifies them; of each what the aggregator says that probes it.
    pub async fn monitored(&self) -> Answers<MonitorRow> {
        let Some(others) = &self.others else { return self.monitored_here().await };
        let (mut answers, far) =
            tokio::join!(self.monitored_here(), others.ask::<MonitorRow>(&Question::Monitored));
        answers.rows.extend(far.rows);
        answers.missing.extend(far.missing);
        let rows = &mut answers.rows;
        rows.sort_by(|a, b| {
            (&a.value, a.prober.is_none(), &a.prober).cmp(&(&b.value, b.prober.is_none(), &b.prober))
        });
        // Who does not probe it says less than who does.
        rows.dedup_by(|next, kept| {
            next.value == kept.value && (next.prober.is_none() || next.prober == kept.prober)
        });
        answers
    }

    async fn monitored_here(&self) -> Answers<MonitorRow> {
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
        let mut missing = answers.missing;
        // Their elements are called by them.
        missing.extend(self.others.iter().flat_map(Others::names).map(|node| format!("aggregator {node}")));
        (all, missing)
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
