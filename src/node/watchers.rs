//! What a process looks after beside its roles.

use std::sync::Arc;

use shared::bus::BusError;
use shared::settings::{LiveSettings, hits};
use shared::teller::Teller;
use shared::wire::subject::Subjects;

use super::{Node, Roles, answers};
use crate::store_watch;

impl Node {
    /// Tells of a store and a carrier in trouble.
    pub(super) fn watch_carriers(&mut self, roles: Roles, teller: Teller, prefix: &str) {
        if self.nats.is_some() && !roles.aggregator {
            let (bus, subjects) = (Arc::clone(&self.bus), teller.subjects.clone());
            let prefix = prefix.to_owned();
            self.watchers.push(tokio::spawn(answers::until_answered(bus, subjects, prefix)));
        }
        if let Some(health) = self.store.as_ref().and_then(|store| store.health()) {
            self.watchers.push(tokio::spawn(store_watch::store(teller.clone(), health)));
        }
        if let Some(troubles) = self.bus.troubles() {
            self.watchers.push(tokio::spawn(store_watch::bus(teller, troubles)));
        }
    }

    /// Says how often rules have chosen an alert here, to aggregators of other processes.
    pub(super) async fn answer_hits(
        &mut self,
        subjects: &Subjects,
        run: u64,
        settings: &LiveSettings,
    ) -> Result<(), BusError> {
        if self.nats.is_none() {
            return Ok(());
        }
        for role in self.roles.names() {
            let bus = Arc::clone(&self.bus);
            let answering = hits::answer(bus, subjects, (role, &self.name), run, settings.clone()).await?;
            self.watchers.push(tokio::spawn(answering));
        }
        Ok(())
    }
}
