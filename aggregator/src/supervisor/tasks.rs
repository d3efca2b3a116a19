//! The supervisor's tasks: none ends by itself, and one that does is started again.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ractor::ActorRef;
use shared::bus::BusError;

use super::{AggregatorMessage, SupervisorState, roll_call};
use crate::api::ApiServer;
use crate::{outbox, prune, writer};

/// A task of the aggregator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Stores ended flows.
    Flows,
    /// Stores alerts for the notifier.
    Alerts,
    /// Tells other processes what users have edited.
    Documents,
    /// Tells the notifier whether alerts are acknowledged.
    Acknowledged,
    /// Deletes what is older than its retention.
    Prune,
    /// Tells alert transitions.
    Outbox,
    /// Looks after sessions of profiles.
    Sessions,
    /// Answers other aggregators about live elements.
    Live,
    /// Tells which nodes have gone without a word.
    RollCall,
    /// Serves the REST API.
    Api,
}

impl Task {
    /// All but the API.
    pub(super) const WORK: [Self; 9] = [
        Self::Flows,
        Self::Alerts,
        Self::Documents,
        Self::Acknowledged,
        Self::Prune,
        Self::Outbox,
        Self::Live,
        Self::RollCall,
        Self::Sessions,
    ];
}

impl SupervisorState {
    /// Starts a task, but not [`Task::Api`], which needs its server. When it is started, it misses
    /// nothing that is put on the bus.
    pub(super) async fn start_work(
        &mut self,
        task: Task,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), BusError> {
        let deps = &self.deps;
        let alerts = Arc::clone(&deps.alerts);
        let work = match task {
            Task::Flows => {
                let batches = writer::flow_batches(&deps.bus, &deps.subjects).await?;
                writer::flows(batches, Arc::clone(&deps.flows)).boxed()
            }
            Task::Alerts => {
                let requests = writer::alert_requests(&deps.bus, &deps.subjects).await?;
                writer::alerts(requests, alerts).boxed()
            }
            Task::Documents => {
                let requests = writer::document_requests(&deps.bus, &deps.subjects).await?;
                writer::documents(requests, Arc::clone(&deps.documents)).boxed()
            }
            Task::Acknowledged => {
                let requests = writer::acknowledged_requests(&deps.bus, &deps.subjects).await?;
                writer::acknowledged(requests, alerts).boxed()
            }
            Task::Prune => {
                let (flows, series) = (Arc::clone(&deps.flows), Arc::clone(&deps.series));
                let (clock, config) = (Arc::clone(&deps.clock), deps.config.clone());
                prune::prune(prune::Stores { alerts, flows, series }, clock, config).boxed()
            }
            Task::Outbox => {
                let (bus, woken) = (Arc::clone(&deps.bus), Arc::clone(&self.outbox));
                outbox::run(bus, deps.subjects.clone(), alerts, woken).boxed()
            }
            Task::Sessions => Arc::clone(&self.api_deps.sessions).run().boxed(),
            Task::Live | Task::RollCall if self.deps.alone => return Ok(()),
            Task::Live => {
                let questions = deps.bus.subscribe(&deps.subjects.live(&deps.node)).await?;
                writer::live(questions, self.live.clone()).boxed()
            }
            Task::RollCall => {
                let words = deps.bus.subscribe(&deps.subjects.all("hb")).await?;
                roll_call::watch(deps.clone(), words).boxed()
            }
            Task::Api => return Ok(()),
        };
        self.watch(task, work.map(Ok).boxed(), myself);
        Ok(())
    }

    /// Serves the API.
    pub(super) fn start_api(&mut self, server: ApiServer, myself: &ActorRef<AggregatorMessage>) {
        // A restart takes the same port, also when it was a free one.
        self.api_deps.listen_on(server.address);
        self.api = Some(server.handle());
        self.watch(Task::Api, server.run().boxed(), myself);
    }

    fn watch(
        &mut self,
        task: Task,
        work: BoxFuture<'static, Result<(), String>>,
        myself: &ActorRef<AggregatorMessage>,
    ) {
        let supervisor = myself.clone();
        let watched = async move {
            let cause = match AssertUnwindSafe(work).catch_unwind().await {
                Ok(Ok(())) => "it ended".to_owned(),
                Ok(Err(cause)) => cause,
                Err(_) => "it panicked".to_owned(),
            };
            // A supervisor that has gone need not be told.
            let _ = supervisor.cast(AggregatorMessage::Ended(task, cause));
        };
        if let Some(before) = self.tasks.insert(task, tokio::spawn(watched)) {
            before.abort();
        }
    }
}
