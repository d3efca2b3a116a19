//! Does what the keeper asks for: words, leases, shards.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorProcessingErr, ActorRef};
use shared::bus::BusError;
use shared::wire::heartbeat::Heartbeat;
use shared::wire::partition::PARTITIONS;

use super::{AggregatorMessage, Child, SupervisorState, is_stale, notices};
use crate::keeper::{Effect, Event, Renewal};
use crate::metrics;

/// How long giving up one lease may take while the role stops; then it runs out by itself.
const GIVE_UP: Duration = Duration::from_secs(2);

/// How an aggregator calls itself in heartbeats.
const ROLE: &str = "aggregator";

impl SupervisorState {
    /// Begins to hear other aggregators, and to look after leases.
    pub(super) async fn keep_leases(
        &mut self,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        if !self.deps.alone {
            let mut words = self.deps.bus.subscribe(&self.deps.subjects.all("hb")).await?;
            let (told, live, deps) = (myself.clone(), self.live.clone(), self.deps.clone());
            self.hearing = Some(tokio::spawn(async move {
                while let Some(word) = words.next().await {
                    let Ok(beat) = Heartbeat::decode(&word.payload) else { continue };
                    for notice in live.heard(&beat, deps.clock.now()) {
                        notices::tell(&deps, &beat, notice).await;
                    }
                    if beat.role != ROLE || beat.group != deps.group {
                        continue;
                    }
                    let Heartbeat { node, run, leaves, partitions, .. } = beat;
                    let message = match partitions {
                        PARTITIONS => AggregatorMessage::Keeper(Event::Heard { node, run, leaves }),
                        _ => AggregatorMessage::OtherPartitions(node, partitions),
                    };
                    if told.cast(message).is_err() {
                        return;
                    }
                }
            }));
        }
        // The timer ends with the actor.
        drop(myself.send_interval(self.deps.times.beat / 2, || AggregatorMessage::Keeper(Event::Tick)));
        self.keeper_step(Event::Tick, myself).await
    }

    /// One step of the keeper with all that follows from it at once.
    pub(super) async fn keeper_step(
        &mut self,
        event: Event,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            // What is asked for is asked for at the time of the step: the keeper knows it by that.
            let asked = self.watch.elapsed();
            let effects = self.keeper.step(asked, event);
            for effect in effects.clone() {
                match effect {
                    Effect::Beat { leaves } => self.beat(leaves),
                    Effect::SameName => self.same_name()?,
                    Effect::Take(partition) if self.deps.alone => {
                        events.push_back(self.take(partition, asked).await);
                    }
                    Effect::Take(partition) => {
                        let (take, told) = (self.take(partition, asked), myself.clone());
                        // A supervisor that has gone has no use for a lease, which runs out by itself.
                        tokio::spawn(async move { drop(told.cast(AggregatorMessage::Keeper(take.await))) });
                    }
                    Effect::Renew(partition, lease) => {
                        let (leases, told) = (Arc::clone(&self.deps.leases), myself.clone());
                        tokio::spawn(async move {
                            let outcome = match leases.renew(&lease).await {
                                Ok(Some(lease)) => Renewal::Kept(lease),
                                Ok(None) => Renewal::Lost,
                                Err(error) => {
                                    tracing::warn!(%error, partition, "lease not renewed");
                                    Renewal::Unknown
                                }
                            };
                            let renewed = Event::Renewed { partition, asked, outcome };
                            drop(told.cast(AggregatorMessage::Keeper(renewed)));
                        });
                    }
                    Effect::GiveUp(lease) => {
                        // One that another has claimed is told by the end of its shard.
                        let is_lost = |effect: &Effect| matches!(effect, Effect::Kill(p) if lease_name(*p) == lease.name);
                        let partition = lease.name.strip_prefix("p.").and_then(|number| number.parse().ok());
                        if let Some(partition) = partition.filter(|_| !effects.iter().any(is_lost)) {
                            self.tell_lease(partition, "RELEASED");
                        }
                        let leases = Arc::clone(&self.deps.leases);
                        let give_up = async move {
                            let given = tokio::time::timeout(GIVE_UP, leases.give_up(&lease)).await;
                            if !matches!(given, Ok(Ok(()))) {
                                tracing::warn!(name = lease.name, "lease not given up; it runs out");
                            }
                        };
                        match self.deps.alone {
                            true => give_up.await,
                            false => drop(tokio::spawn(give_up)),
                        }
                    }
                    Effect::Start(partition, fence) => {
                        tracing::debug!(partition, fence, "partition taken");
                        self.tell_lease(partition, "TAKEN");
                        if let Err(error) = self.start_shard(partition, fence, myself).await {
                            if is_stale(&error) {
                                events.extend([Event::Stale(partition), Event::Ended(partition)]);
                                continue;
                            }
                            self.failed(Child::Shard(partition), &error.to_string(), myself)?;
                        }
                    }
                    Effect::Stop(partition) => match self.shards.get(&partition) {
                        Some(shard) => shard.stop(None),
                        None => events.push_back(Event::Ended(partition)),
                    },
                    Effect::Kill(partition) => match self.shards.get(&partition).cloned() {
                        Some(shard) => {
                            tracing::error!(partition, "lease lost: the shard is ended");
                            metrics::lease_lost();
                            self.tell_lease(partition, "LOST");
                            shard.kill();
                        }
                        None => events.push_back(Event::Ended(partition)),
                    },
                }
            }
        }
        self.live.set_cluster(self.keeper.members().map(str::to_owned).collect());
        Ok(())
    }

    /// Stops all shards, and gives their leases up as soon as each has put its state away.
    pub(super) async fn hand_over(&mut self) {
        for shard in self.shards.values() {
            shard.stop(None);
        }
        // Others may take what is free from now on; all at once, because nobody waits for this one.
        let effects = self.keeper.step(self.watch.elapsed(), Event::Leave);
        if effects.contains(&Effect::Beat { leaves: true }) {
            self.beat(true);
        }
        let mut given = Vec::new();
        for (partition, shard) in std::mem::take(&mut self.shards) {
            if shard.wait(Some(Duration::from_secs(10))).await.is_err() {
                tracing::error!(partition, "a shard did not stop within 10 s");
                continue;
            }
            self.tell_shard(partition, "STOPPED");
            for effect in self.keeper.step(self.watch.elapsed(), Event::Ended(partition)) {
                if let Effect::GiveUp(lease) = effect {
                    self.tell_lease(partition, "RELEASED");
                    let leases = Arc::clone(&self.deps.leases);
                    given.push(async move { tokio::time::timeout(GIVE_UP, leases.give_up(&lease)).await });
                }
            }
        }
        for given in futures::future::join_all(given).await {
            if !matches!(given, Ok(Ok(()))) {
                tracing::warn!("a lease was not given up; it runs out");
            }
        }
    }

    /// A shard has gone.
    pub(super) async fn shard_ended(
        &mut self,
        partition: u32,
        stale: bool,
        myself: &ActorRef<AggregatorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        if self.shards.remove(&partition).is_some() {
            self.tell_shard(partition, "STOPPED");
        }
        self.live.set(self.shards.clone());
        if stale {
            self.keeper_step(Event::Stale(partition), myself).await?;
        }
        self.keeper_step(Event::Ended(partition), myself).await
    }

    fn take(&self, partition: u32, asked: Duration) -> impl Future<Output = Event> + use<> {
        let (leases, holder) = (Arc::clone(&self.deps.leases), self.deps.node.clone());
        async move {
            let lease = match leases.take(&lease_name(partition), &holder).await {
                Ok(lease) => lease,
                Err(error) => {
                    tracing::warn!(%error, partition, "lease not taken");
                    None
                }
            };
            Event::Taken { partition, asked, lease }
        }
    }

    fn beat(&self, leaves: bool) {
        let deps = &self.deps;
        let beat = Heartbeat {
            node: deps.node.clone(),
            site: deps.site.clone(),
            role: ROLE.to_owned(),
            group: deps.group.clone(),
            run: deps.run,
            partitions: PARTITIONS,
            leaves,
            before: String::new(),
            sent: deps.clock.now(),
        };
        let (bus, subject) = (Arc::clone(&deps.bus), deps.subjects.heartbeat(&deps.node));
        tokio::spawn(async move {
            if let Err(error) = bus.publish(&subject, beat.encode()).await
                && !matches!(error, BusError::Closed)
            {
                tracing::warn!(%error, "heartbeat lost");
            }
        });
    }

    /// Another aggregator divides the same into other partitions: what one wrote the other would not find.
    pub(super) fn other_partitions(&self, node: &str, partitions: u32) -> Result<(), ActorProcessingErr> {
        let cause = format!("aggregator '{node}' has {partitions} partitions and this one {PARTITIONS}");
        if self.watch.elapsed() < self.deps.times.silent {
            return Err(format!("{cause}: their number must not change in a running cluster").into());
        }
        tracing::error!("{cause}: one of them is of another release; it must be stopped");
        Ok(())
    }

    /// Two nodes that are taken for one would hold everything both: the later one ends.
    fn same_name(&self) -> Result<(), ActorProcessingErr> {
        let node = &self.deps.node;
        if self.watch.elapsed() < self.deps.times.silent {
            return Err(format!("node.name: another aggregator is called '{node}' already").into());
        }
        tracing::error!(node, "another aggregator has this one's name; give each node its own node.name");
        Ok(())
    }
}

/// The lease of a partition.
fn lease_name(partition: u32) -> String {
    format!("p.{partition}")
}
