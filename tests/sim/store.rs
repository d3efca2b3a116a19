//! A store in memory with the promises of the real ones, whose answers may be lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use shared::model::query::{AlertQuery, Page, StoredAlert};
use shared::model::{Alert, Granularity, Timestamp};
use shared::store::memory::{MemoryStore, Remembered};
use shared::store::partitions::{PartitionStore, Saved, Snapshot, Step};
use shared::store::series::{ElementId, SampleBatch, Series, SeriesQuery, SeriesStore, TopQuery};
use shared::store::{AlertMark, AlertStore, EngagedAlert, StoreError, Transition};

use crate::world::{Bug, Shared, World};

#[derive(Default)]
pub struct Tables {
    pub partitions: BTreeMap<u32, Saved>,
    pub engaged: BTreeMap<String, EngagedAlert>,
    /// Transitions by number; what was told has no alert any more.
    pub outbox: BTreeMap<i64, (String, Option<Alert>)>,
    pub remembered: BTreeMap<(u32, String, u32, String, String), String>,
    pub series: BTreeMap<String, SampleBatch>,
    /// Fences of each partition's writes that were taken, in order.
    pub fences: BTreeMap<u32, Vec<u64>>,
    /// Commits under a fence that was not the newest.
    pub refused: u64,
}

pub struct NodeStore {
    pub world: Arc<World>,
    pub node: String,
}

impl NodeStore {
    async fn ask<T>(&self, act: impl FnOnce(&mut Tables) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let failed = |what: &str| Err(StoreError::Statement(what.to_owned()));
        self.world.sleep_ms(20).await;
        self.world.until(&self.node, |trouble| trouble.asleep || trouble.no_store).await;
        if self.world.fails(1) {
            return failed("could not serialize access");
        }
        if self.world.trouble(&self.node).full {
            return Err(StoreError::Disk("database or disk is full".to_owned()));
        }
        let answer = {
            let mut shared = self.world.lock();
            let Shared { tables, .. } = &mut *shared;
            act(tables)?
        };
        let lost = self.world.fails(1);
        self.world.sleep_ms(20).await;
        self.world.until(&self.node, |trouble| trouble.asleep || trouble.no_store).await;
        if lost { failed("connection lost") } else { Ok(answer) }
    }
}

fn not_simulated<T>() -> Result<T, StoreError> {
    Err(StoreError::Statement("not simulated".to_owned()))
}

fn check(partition: u32, fence: u64, tables: &mut Tables) -> Result<(), StoreError> {
    let current = tables.partitions.get(&partition).map_or(0, |saved| saved.fence);
    if fence < current {
        tables.refused += 1;
        return Err(StoreError::StaleFence { partition, fence, current });
    }
    Ok(())
}

#[async_trait]
impl PartitionStore for NodeStore {
    async fn saved(&self, partition: u32) -> Result<Option<Saved>, StoreError> {
        self.ask(|tables| Ok(tables.partitions.get(&partition).cloned())).await
    }

    async fn claim(&self, partition: u32, fence: u64) -> Result<Saved, StoreError> {
        self.ask(|tables| {
            if !self.world.has(Bug::FenceForgotten) {
                check(partition, fence, tables)?;
            }
            tables.fences.entry(partition).or_default().push(fence);
            let saved = tables.partitions.entry(partition).or_default();
            saved.fence = fence;
            Ok(saved.clone())
        })
        .await
    }

    async fn commit(&self, step: Step) -> Result<(), StoreError> {
        let has = |bug| self.world.has(bug);
        let half = has(Bug::HalfACommit) && self.world.fails(5);
        self.ask(|tables| {
            let Step { partition, fence, at, transitions, remembered, samples, state } = step;
            if !has(Bug::FenceForgotten) {
                check(partition, fence, tables)?;
            }
            tables.fences.entry(partition).or_default().push(fence);
            for batch in samples {
                match tables.series.contains_key(&batch.key) {
                    true if has(Bug::SeriesTwice) => {
                        tables.series.insert(format!("{} again", batch.key), batch);
                    }
                    true => {}
                    false => drop(tables.series.insert(batch.key.clone(), batch)),
                }
            }
            for transition in transitions.into_iter().filter(|_| !half) {
                let told = match transition {
                    Transition::Engage(engaged) => {
                        tables.engaged.insert(engaged.alert.id.clone(), engaged.clone());
                        engaged.alert
                    }
                    Transition::Update(engaged) => {
                        if let Some(known) = tables.engaged.get_mut(&engaged.alert.id) {
                            *known = engaged;
                        }
                        continue;
                    }
                    Transition::Worsen(engaged, at) => {
                        let told = engaged.update(at);
                        if let Some(known) = tables.engaged.get_mut(&engaged.alert.id) {
                            *known = engaged;
                        }
                        told
                    }
                    Transition::Release(alert) => {
                        tables.engaged.remove(&alert.id);
                        alert
                    }
                    Transition::Store(alert) => alert,
                };
                let id = told.transition_id();
                if !tables.outbox.values().any(|(known, _)| *known == id) {
                    let number = tables.outbox.len() as i64 + 1;
                    tables.outbox.insert(number, (id, Some(told)));
                }
            }
            for Remembered { partition, site, ifid, script, key, value } in remembered {
                let place = (partition, site, ifid, script, key);
                match value {
                    Some(value) => drop(tables.remembered.insert(place, value)),
                    None => drop(tables.remembered.remove(&place)),
                }
            }
            let saved = tables.partitions.entry(partition).or_default();
            (saved.fence, saved.done) = (fence, at);
            if let Some(state) = state {
                saved.snapshot = Some(Snapshot { at, state });
            }
            Ok(())
        })
        .await
    }

    async fn highest_fence(&self) -> Result<u64, StoreError> {
        not_simulated()
    }
}

#[async_trait]
impl MemoryStore for NodeStore {
    async fn remembered(&self, partition: u32) -> Result<Vec<Remembered>, StoreError> {
        self.ask(|tables| {
            let all = tables.remembered.iter().filter(|((of, ..), _)| *of == partition);
            let read = |((partition, site, ifid, script, key), value): (
                &(u32, String, u32, String, String),
                &String,
            )| {
                Remembered {
                    partition: *partition,
                    site: site.clone(),
                    ifid: *ifid,
                    script: script.clone(),
                    key: key.clone(),
                    value: Some(value.clone()),
                }
            };
            Ok(all.map(read).collect())
        })
        .await
    }

    async fn remember(&self, _: Vec<Remembered>) -> Result<(), StoreError> {
        not_simulated()
    }
}

#[async_trait]
impl SeriesStore for NodeStore {
    async fn add_samples(&self, _: SampleBatch) -> Result<(), StoreError> {
        not_simulated()
    }

    async fn series(&self, _: SeriesQuery) -> Result<Vec<Series>, StoreError> {
        not_simulated()
    }

    async fn top(&self, _: TopQuery) -> Result<Vec<(ElementId, u64)>, StoreError> {
        not_simulated()
    }

    async fn prune_series(&self, _: Granularity, _: Timestamp) -> Result<u64, StoreError> {
        not_simulated()
    }
}

#[async_trait]
impl AlertStore for NodeStore {
    async fn add_history(&self, _: Vec<Alert>) -> Result<u64, StoreError> {
        not_simulated()
    }

    async fn history(&self, _: AlertQuery) -> Result<Page<StoredAlert>, StoreError> {
        not_simulated()
    }

    async fn mark(&self, _: AlertQuery, _: AlertMark, _: &str, _: Timestamp) -> Result<u64, StoreError> {
        not_simulated()
    }

    async fn delete_history(&self, _: AlertQuery) -> Result<u64, StoreError> {
        not_simulated()
    }

    async fn apply(&self, _: Vec<Transition>) -> Result<(), StoreError> {
        not_simulated()
    }

    async fn engaged(&self, partition: Option<u32>) -> Result<Vec<EngagedAlert>, StoreError> {
        self.ask(|tables| {
            let all = tables.engaged.values();
            Ok(all.filter(|engaged| partition.is_none_or(|p| engaged.partition == p)).cloned().collect())
        })
        .await
    }

    async fn outbox(&self, limit: usize) -> Result<Vec<(i64, Alert)>, StoreError> {
        self.ask(|tables| {
            let waiting =
                tables.outbox.iter().filter_map(|(number, (_, alert))| Some((*number, alert.clone()?)));
            Ok(waiting.take(limit).collect())
        })
        .await
    }

    async fn outbox_told(&self, numbers: Vec<i64>) -> Result<(), StoreError> {
        self.ask(|tables| {
            for number in numbers {
                if let Some((_, alert)) = tables.outbox.get_mut(&number) {
                    *alert = None;
                }
            }
            Ok(())
        })
        .await
    }

    async fn prune_history(&self, _: Timestamp) -> Result<u64, StoreError> {
        not_simulated()
    }
}
