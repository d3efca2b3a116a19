//! What a process tells of itself: its roles and interfaces, when they begin and when they end.

use serde_json::{Value, json};
use shared::events::Draft;

use super::{Node, Roles};
use crate::config::Config;

/// Names of the interfaces that are read live; files come to their end by themselves.
pub(super) fn live_interfaces(config: &Config, roles: Roles) -> Vec<String> {
    let interfaces = config.collector.interface.iter().filter(|interface| interface.files.is_empty());
    interfaces.filter(|_| roles.collector).map(|interface| interface.name.clone()).collect()
}

impl Node {
    /// Tells that the roles of this process have started, and what it captures.
    pub(super) async fn tell_started(&self) {
        // Nobody knows how it ended: a process that was killed told nothing.
        self.tell_roles("STARTED", None);
        self.tell_interfaces("CAPTURING", None);
        self.events.flush().await;
    }

    /// Tells that they stop.
    pub(super) async fn tell_stopped(&self) {
        self.tell_interfaces("STOPPED", Some("CAPTURING"));
        self.tell_roles("STOPPED", Some("STARTED"));
        self.events.flush().await;
    }

    fn tell_roles(&self, state: &str, before: Option<&str>) {
        let roles = [
            ("COLLECTOR", self.roles.collector),
            ("AGGREGATOR", self.roles.aggregator),
            ("NOTIFIER", self.roles.notifier),
        ];
        let object = json!({ "version": env!("CARGO_PKG_VERSION") });
        for (role, _) in roles.into_iter().filter(|(_, played)| *played) {
            self.events.tell(Draft::state(role, &self.name, state, before, object.clone()));
        }
    }

    fn tell_interfaces(&self, state: &str, before: Option<&str>) {
        for interface in &self.interfaces {
            let id = format!("{}/{interface}", self.name);
            let object: Value = json!({ "name": interface, "node": self.name });
            self.events.tell(Draft::state("INTERFACE", &id, state, before, object));
        }
    }
}
