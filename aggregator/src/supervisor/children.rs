//! Starts the actors: shards, who probes hosts, and who reads log lines.

use std::collections::BTreeSet;
use std::sync::Arc;

use ractor::thread_local::{ThreadLocalActor, ThreadLocalActorSpawner};
use ractor::{ActorCell, ActorProcessingErr, ActorRef};
use shared::events::Draft;
use shared::wire::partition;

use super::{AggregatorMessage, Child, SHARD_THREADS, SupervisorState};
use crate::carrier::Carrier;
use crate::monitor::{MonitorActor, MonitorArgs};
use crate::shard::{ShardActor, ShardArgs};
use crate::syslog::{SyslogActor, SyslogArgs};

impl SupervisorState {
    pub(super) async fn start_shard(
        &mut self,
        partition: u32,
        fence: u64,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        // One that waited to be started again may have been started under another lease meanwhile.
        if self.shards.contains_key(&partition) {
            return Ok(());
        }
        let args = self.shard_args(partition, fence);
        let spawner = self.spawners[partition as usize % SHARD_THREADS].clone();
        let (actor, _) = ShardActor::spawn_linked(None, args, myself.get_cell(), spawner).await?;
        self.children.insert(actor.get_id(), Child::Shard(partition));
        self.tell_shard(partition, "STARTED");
        self.shards.insert(partition, actor);
        self.live.set(self.shards.clone());
        Ok(())
    }

    /// Tells that a shard is in another state.
    pub(super) fn tell_shard(&self, partition: u32, state: &str) {
        let object = serde_json::json!({ "site": self.deps.site, "node": self.deps.node });
        // Whether another process has held it before is not known here.
        let before = (state != "STARTED").then_some("STARTED");
        self.deps.events.tell(Draft::state("SHARD", &partition.to_string(), state, before, object));
    }

    /// Tells that the lease of a partition is in another state here.
    pub(super) fn tell_lease(&mut self, partition: u32, state: &str) {
        // One that came too late to be used is not told.
        let is_news = match state {
            "TAKEN" => self.told_leases.insert(partition),
            _ => self.told_leases.remove(&partition),
        };
        if !is_news {
            return;
        }
        let object =
            serde_json::json!({ "site": self.deps.site, "node": self.deps.node, "group": self.deps.group });
        let before = (state != "TAKEN").then_some("TAKEN");
        self.deps.events.tell(Draft::state("LEASE", &partition.to_string(), state, before, object));
    }

    fn shard_args(&self, partition: u32, fence: u64) -> ShardArgs {
        let carrier = Carrier {
            bus: Arc::clone(&self.deps.bus),
            subjects: self.deps.subjects.clone(),
            alerts: Arc::clone(&self.deps.alerts),
            memory: Arc::clone(&self.deps.memory),
            partitions: Arc::clone(&self.deps.partitions),
            series: Arc::clone(&self.deps.series),
            events: self.deps.events.clone(),
            outbox: Arc::clone(&self.outbox),
        };
        ShardArgs {
            partition,
            fence,
            site: self.deps.config.only_own_site.then(|| self.deps.site.clone()),
            carrier,
            networks: Arc::clone(&self.deps.networks),
            config: self.deps.config.clone(),
            scripts: self.deps.scripts.clone(),
            backlog: self.backlog.clone(),
            levels: Arc::clone(&self.deps.levels),
            clock: Arc::clone(&self.deps.clock),
            refused: BTreeSet::new(),
            at_once: self.deps.alone,
        }
    }

    pub(super) async fn start_monitor(
        &mut self,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let args = MonitorArgs {
            shard: self.shard_args(partition::OF_MONITOR, 0),
            site: self.deps.site.clone(),
            node: self.deps.node.clone(),
            settings: self.deps.settings.clone(),
            clock: Arc::clone(&self.deps.clock),
        };
        let (actor, _) = MonitorActor::spawn_linked(None, args, myself.get_cell(), self.own_thread()).await?;
        self.live.set_monitor(actor.clone());
        self.keep(Child::Monitor, actor.get_cell());
        Ok(())
    }

    /// Does nothing where nobody listens.
    pub(super) async fn start_syslog(
        &mut self,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let Some(sockets) = &self.syslog else { return Ok(()) };
        let args = SyslogArgs {
            shard: self.shard_args(partition::OF_SYSLOG, 0),
            site: self.deps.site.clone(),
            node: self.deps.node.clone(),
            clock: Arc::clone(&self.deps.clock),
            sockets: sockets.again()?,
        };
        let (actor, _) = SyslogActor::spawn_linked(None, args, myself.get_cell(), self.own_thread()).await?;
        self.live.set_syslog(actor.clone());
        self.keep(Child::Syslog, actor.get_cell());
        Ok(())
    }

    /// Shards are busy in their threads: probes would wait for them.
    fn own_thread(&self) -> ThreadLocalActorSpawner {
        self.spawners[SHARD_THREADS].clone()
    }

    fn keep(&mut self, child: Child, actor: ActorCell) {
        self.children.insert(actor.get_id(), child);
        self.others.insert(child, actor);
    }
}
