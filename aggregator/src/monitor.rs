//! Active monitoring: the actor that probes the hosts of the configuration.
//!
//! Its supervisor starts it. It owns a partition of its own, which holds every decision (what is due,
//! what engages, which scripts run); here rounds are started, and what they cause is carried out. Of
//! several aggregators of a site one probes ([`lead`]). A restart loses the counters of hosts and the
//! rounds under way; engaged alerts are read back.

use std::sync::Arc;
use std::time::Duration;

use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use serde::{Deserialize, Serialize};
use shared::clock::SharedClock;
use shared::model::{MonitorHost, Timestamp};
use shared::settings::{LiveSettings, Settings};
use tokio::sync::{Semaphore, oneshot};

use crate::element::Watch;
use crate::element::watch::{Level, Round};
use crate::metrics;
use crate::partition::{Output, Partition, RunAnswer, RunRequest, Station};
use crate::report::AggregatorReport;
use crate::shard::ShardArgs;

mod dns;
mod http;
mod icmp;
pub mod lead;
mod probe;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;

use lead::Lead;
use probe::Prober;

/// How often the actor looks what is due.
const TICK: Duration = Duration::from_millis(500);

/// What the actor needs.
pub struct MonitorArgs {
    /// Its partition, bus and store.
    pub shard: ShardArgs,
    /// Site of this node.
    pub site: String,
    /// Name of this node.
    pub node: String,
    /// Hosts, among other settings.
    pub settings: LiveSettings,
    /// Wall clock.
    pub clock: SharedClock,
}

/// Messages to the actor.
pub enum MonitorMessage {
    /// Time to look.
    Tick,
    /// Another aggregator of the site says that it is there.
    Heard(String),
    /// A round of a host has ended.
    Ended(String, u64, Round),
    /// Which hosts are probed, and how they are.
    Rows(oneshot::Sender<Vec<MonitorRow>>),
    /// What has been done.
    Report(oneshot::Sender<AggregatorReport>),
    /// Calls a script on demand.
    Run(RunRequest, oneshot::Sender<RunAnswer>),
}

/// A monitored host as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MonitorRow {
    /// What identifies it, `measure@host`: the value of its alerts and series.
    pub value: String,
    /// What the user says of it.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub host: MonitorHost,
    /// How it is; absent before the first round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The last round; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRow>,
    /// Name of the aggregator that probes it; absent while nobody is known to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prober: Option<String>,
    /// Counters by name.
    pub stats: std::collections::BTreeMap<String, u64>,
}

/// A round as the API shows it.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct LastRow {
    /// When it ended.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// True when a probe was answered.
    pub up: bool,
    /// Mean round-trip time in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// Per cent of the probes lost.
    pub loss: f64,
    /// Why the last of the others failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The address that was probed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<std::net::IpAddr>,
    /// Days until the certificate expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<f64>,
}

impl MonitorRow {
    fn of(watch: &Watch, prober: Option<&str>) -> Self {
        let last = watch.last.as_ref().map(|(at, round)| LastRow {
            at: *at,
            up: !round.rtts_us.is_empty(),
            rtt_ms: round.rtt_ms(),
            loss: round.loss(),
            reason: round.reason.clone(),
            address: round.address,
            days_left: round.days_left(),
        });
        Self {
            value: watch.value().to_owned(),
            host: watch.host.clone(),
            level: last.is_some().then_some(watch.level),
            last,
            prober: prober.map(str::to_owned),
            stats: crate::element::Counters::named(&watch.tally.total()),
        }
    }
}

/// The actor.
#[derive(Default)]
pub struct MonitorActor;

/// Its state.
pub struct MonitorState {
    args: MonitorArgs,
    /// Made when there is something to probe, or something left engaged of an earlier time.
    work: Option<(Box<Partition>, Station)>,
    /// The settings that were taken on.
    in_force: Option<Arc<Settings>>,
    lead: Lead,
    prober: Arc<Prober>,
    permits: Arc<Semaphore>,
    /// Hears other aggregators.
    ears: tokio::task::JoinHandle<()>,
    published: AggregatorReport,
}

impl ThreadLocalActor for MonitorActor {
    type Msg = MonitorMessage;
    type State = MonitorState;
    type Arguments = MonitorArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let carrier = &args.shard.carrier;
        // On an in-process bus there is nobody else.
        let alone = carrier.bus.outstanding().is_some();
        let mut others = carrier.bus.subscribe(&carrier.subjects.monitors(&args.site)).await?;
        let (subjects, listener) = (carrier.subjects.clone(), myself.clone());
        let ears = tokio::spawn(async move {
            while let Some(message) = others.next().await {
                let node = subjects.parse("mo", &message.subject).and_then(|mut tokens| tokens.pop());
                let Some(node) = node else { continue };
                if listener.cast(MonitorMessage::Heard(node)).is_err() {
                    return;
                }
            }
        });
        let permits = Arc::new(Semaphore::new(args.shard.config.monitor.concurrency));
        let lead = Lead::new(args.node.clone(), alone, args.clock.now());
        let prober = Arc::new(Prober::default());
        myself.cast(MonitorMessage::Tick)?;
        let published = AggregatorReport::default();
        Ok(MonitorState { args, work: None, in_force: None, lead, prober, permits, ears, published })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        // Who asked may have gone; then nobody needs the answer.
        match message {
            MonitorMessage::Tick => {
                state.tick(&myself).await?;
                // Only then: ticks do not pile up behind a slow store.
                drop(myself.send_after(TICK, || MonitorMessage::Tick));
            }
            MonitorMessage::Heard(node) => state.lead.heard(&node, state.args.clock.now()),
            MonitorMessage::Ended(value, number, round) => state.ended(&value, number, round).await?,
            MonitorMessage::Rows(reply) => drop(reply.send(state.rows())),
            MonitorMessage::Report(reply) => drop(reply.send(state.report())),
            MonitorMessage::Run(request, reply) => {
                let mut answer = RunAnswer::default();
                if let Some((partition, station)) = &mut state.work {
                    let (output, told) = partition.run_monitored(station, &request);
                    state.args.shard.carrier.carry_out(output).await?;
                    answer = told;
                }
                let _ = reply.send(answer);
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.ears.abort();
        let last = state.work.as_mut().and_then(|(partition, station)| partition.flush_station(station));
        state.args.shard.carrier.keep(last.into_iter().collect()).await
    }
}

/// A partition and a station without hosts.
async fn work(args: &mut MonitorArgs) -> Result<(Box<Partition>, Station), ActorProcessingErr> {
    let partition = args.shard.partition().await?;
    let station = partition.station(&args.site, &args.node);
    Ok((partition, station))
}

impl MonitorState {
    /// Looks for news and for what is due.
    async fn tick(&mut self, myself: &ActorRef<MonitorMessage>) -> Result<(), ActorProcessingErr> {
        let now = self.args.clock.now();
        self.configure(now).await?;
        let Some((partition, station)) = &mut self.work else { return Ok(()) };
        if let Some(scripts) = self.args.shard.scripts.news() {
            partition.reload_scripts(&scripts);
            station.scripts_changed();
        }
        if self.lead.speaks(now) {
            let carrier = &self.args.shard.carrier;
            let subject = carrier.subjects.monitor(&self.args.site, &self.args.node);
            // Who misses it hears the next one.
            let _ = carrier.bus.publish(&subject, bytes::Bytes::new()).await;
        }
        let leads = self.lead.leads(now);
        let output = partition.end_periods(station, now, leads);
        if leads {
            for watch in station.due(now) {
                let (host, value, number) = (watch.host.clone(), watch.value().to_owned(), watch.number);
                let (prober, permits) = (Arc::clone(&self.prober), Arc::clone(&self.permits));
                let (clock, actor) = (Arc::clone(&self.args.clock), myself.clone());
                tokio::spawn(async move {
                    let round = prober.round(&host, &permits, &*clock).await;
                    // After a stop nobody asks for it any more.
                    let _ = actor.cast(MonitorMessage::Ended(value, number, round));
                });
            }
        }
        self.carry_out(output).await
    }

    /// Takes on hosts that were edited.
    async fn configure(&mut self, now: Timestamp) -> Result<(), ActorProcessingErr> {
        let settings = Arc::clone(&self.args.settings.borrow());
        if self.in_force.as_ref().is_some_and(|known| Arc::ptr_eq(known, &settings)) {
            return Ok(());
        }
        let hosts = Arc::clone(&settings.monitor);
        if self.work.is_none() {
            let (alerts, partition) = (&self.args.shard.carrier.alerts, self.args.shard.partition);
            if !hosts.is_empty() || !alerts.engaged(Some(partition)).await?.is_empty() {
                self.work = Some(work(&mut self.args).await?);
            }
        }
        self.in_force = Some(settings);
        let Some((partition, station)) = &mut self.work else { return Ok(()) };
        let output = partition.set_monitored(station, &hosts, now);
        self.carry_out(output).await
    }

    async fn ended(&mut self, value: &str, number: u64, round: Round) -> Result<(), ActorProcessingErr> {
        let Some((partition, station)) = &mut self.work else { return Ok(()) };
        let measure = value.split('@').next().unwrap_or_default();
        metrics::probed(measure, value, &round);
        let output = partition.end_round(station, (value, number), round, self.args.clock.now());
        self.carry_out(output).await
    }

    async fn carry_out(&mut self, output: Output) -> Result<(), ActorProcessingErr> {
        self.args.shard.carrier.carry_out(output).await?;
        let report = self.report();
        if report != self.published {
            metrics::publish(&self.published, &report);
            self.published = report;
        }
        Ok(())
    }

    fn report(&self) -> AggregatorReport {
        self.work.as_ref().map(|(partition, _)| partition.report()).unwrap_or_default()
    }

    fn rows(&self) -> Vec<MonitorRow> {
        let Some((_, station)) = &self.work else { return Vec::new() };
        let prober = self.lead.leads(self.args.clock.now()).then_some(self.args.node.as_str());
        station.watches().map(|watch| MonitorRow::of(watch, prober)).collect()
    }
}
