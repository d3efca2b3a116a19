//! Leases that run out on virtual time, and whose answers may be lost.

use std::sync::Arc;

use async_trait::async_trait;
use shared::bus::BusError;
use shared::lease::{Lease, Leases, TTL};
use tokio::time::Instant;

use crate::world::{Shared, World};

pub struct NodeLeases {
    pub world: Arc<World>,
    pub node: String,
}

impl NodeLeases {
    async fn ask<T>(&self, act: impl FnOnce(&mut Shared) -> T) -> Result<T, BusError> {
        let unknown = || BusError::Unreachable("a seed says so".to_owned());
        self.world.way(&self.node).await;
        if self.world.lock().leases_away || self.world.fails(1) {
            return Err(unknown());
        }
        let answer = {
            let mut shared = self.world.lock();
            shared.leases.retain(|_, (_, at)| at.is_some_and(|at| at.elapsed() < TTL));
            act(&mut shared)
        };
        let lost = self.world.fails(1);
        self.world.way(&self.node).await;
        if lost { Err(unknown()) } else { Ok(answer) }
    }
}

#[async_trait]
impl Leases for NodeLeases {
    async fn take(&self, name: &str, holder: &str) -> Result<Option<Lease>, BusError> {
        let (name, holder) = (name.to_owned(), holder.to_owned());
        self.ask(|shared| {
            if shared.leases.contains_key(&name) {
                return None;
            }
            shared.last_revision += 1;
            let revision = shared.last_revision;
            let lease = Lease { name: name.clone(), holder, fence: revision, revision };
            shared.leases.insert(name, (lease.clone(), Some(Instant::now())));
            Some(lease)
        })
        .await
    }

    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, BusError> {
        self.ask(|shared| {
            let revision = shared.last_revision + 1;
            let (held, at) = shared.leases.get_mut(&lease.name).filter(|(held, _)| held == lease)?;
            (held.revision, *at) = (revision, Some(Instant::now()));
            let renewed = held.clone();
            shared.last_revision = revision;
            Some(renewed)
        })
        .await
    }

    async fn give_up(&self, lease: &Lease) -> Result<(), BusError> {
        self.ask(|shared| shared.leases.retain(|_, (held, _)| held != lease)).await
    }

    async fn holder(&self, name: &str) -> Result<Option<String>, BusError> {
        self.ask(|shared| shared.leases.get(name).map(|(lease, _)| lease.holder.clone())).await
    }
}
