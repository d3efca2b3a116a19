//! Log lines of other programs and devices, for scripts of kind `syslog`: the actor.
//!
//! Its supervisor starts it, when `aggregator.syslog.listen` says where to listen. It owns a partition
//! of its own. [`listen`] receives, [`parse`] reads, the partition decides, and what is to be done is
//! carried out here. A restart loses the lines that are under way.

use std::net::IpAddr;

use ractor::thread_local::ThreadLocalActor;
use ractor::{ActorProcessingErr, ActorRef};
use shared::clock::SharedClock;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::metrics;
use crate::partition::{Output, Partition, Station};
use crate::report::AggregatorReport;
use crate::shard::ShardArgs;

pub mod listen;
pub mod parse;
#[cfg(test)]
mod tests;

use listen::Sockets;

/// Lines that wait for the actor; beyond them those of UDP are lost and counted, those of TCP wait.
const WAITING: usize = 1024;

/// Lines handled at once.
const BATCH: usize = 64;

/// Batches on their way to the actor.
const CREDIT: usize = 2;

/// One line as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who sent it.
    pub source: IpAddr,
    /// The line, without what ends it.
    pub bytes: Vec<u8>,
}

/// What the actor needs.
pub struct SyslogArgs {
    /// Its partition, bus and store.
    pub shard: ShardArgs,
    /// Site of this node.
    pub site: String,
    /// Name of this node.
    pub node: String,
    /// Wall clock.
    pub clock: SharedClock,
    /// Where lines come.
    pub sockets: Sockets,
}

/// Messages to the actor.
pub enum SyslogMessage {
    /// Lines, with the credit that lets the next ones come.
    Lines(Vec<Line>, tokio::sync::OwnedSemaphorePermit),
    /// What has been done.
    Report(oneshot::Sender<AggregatorReport>),
}

/// The actor.
#[derive(Default)]
pub struct SyslogActor;

/// Its state.
pub struct SyslogState {
    args: SyslogArgs,
    partition: Box<Partition>,
    station: Station,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    /// Lines that could not be read.
    malformed: u64,
    published: AggregatorReport,
}

impl ThreadLocalActor for SyslogActor {
    type Msg = SyslogMessage;
    type State = SyslogState;
    type Arguments = SyslogArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        mut args: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let partition = args.shard.partition().await?;
        let station = partition.station(&args.site, &args.node);
        let (sender, mut lines) = mpsc::channel(WAITING);
        let (udp, tcp) = args.sockets.open()?;
        let credit = std::sync::Arc::new(Semaphore::new(CREDIT));
        let pump = async move {
            let mut batch = Vec::new();
            while lines.recv_many(&mut batch, BATCH).await > 0 {
                let Ok(place) = std::sync::Arc::clone(&credit).acquire_owned().await else { return };
                if myself.cast(SyslogMessage::Lines(std::mem::take(&mut batch), place)).is_err() {
                    return;
                }
            }
        };
        let tasks = vec![
            tokio::spawn(listen::udp(udp, sender.clone())),
            tokio::spawn(listen::tcp(tcp, sender)),
            tokio::spawn(pump),
        ];
        let published = AggregatorReport::default();
        Ok(SyslogState { args, partition, station, tasks, malformed: 0, published })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SyslogMessage::Lines(lines, place) => {
                state.lines(&lines).await?;
                drop(place);
            }
            // Who asked may have gone; then nobody needs the answer.
            SyslogMessage::Report(reply) => drop(reply.send(state.report())),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        Ok(())
    }
}

impl SyslogState {
    async fn lines(&mut self, lines: &[Line]) -> Result<(), ActorProcessingErr> {
        if let Some(scripts) = self.args.shard.scripts.news() {
            self.partition.reload_scripts(&scripts);
        }
        let mut output = Output::default();
        for line in lines {
            match parse::line(line.source, &line.bytes, self.args.clock.now()) {
                Ok(event) => {
                    metrics::log_lines("read", 1);
                    self.partition.log_line(&mut self.station, &event, &mut output);
                }
                Err(cause) => {
                    metrics::log_lines(cause.name(), 1);
                    self.malformed += 1;
                    tracing::debug!(source = %line.source, %cause, "log line dropped");
                }
            }
        }
        self.args.shard.carrier.carry_out(output).await?;
        let report = self.report();
        metrics::publish(&self.published, &report);
        self.published = report;
        Ok(())
    }

    fn report(&self) -> AggregatorReport {
        let mut report = self.partition.report();
        if self.malformed > 0 {
            report.errors.insert("log_lines_malformed".to_owned(), self.malformed);
        }
        report
    }
}
