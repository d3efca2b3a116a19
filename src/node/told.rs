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
    pub(super) async fn tell_started(&mut self) {
        if let Some(standing) = &mut self.standing {
            standing.started().await;
        }
        self.tell_interfaces("CAPTURING", None);
        self.events.flush().await;
    }

    /// Tells that they stop.
    pub(super) async fn tell_stopped(&self) {
        self.tell_interfaces("STOPPED", Some("CAPTURING"));
        self.events.flush().await;
        if let Some(standing) = &self.standing {
            standing.stopped().await;
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
