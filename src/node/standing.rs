//! What is remembered of the roles of this node: which run was the last one, and whether it said goodbye.
//!
//! With a store that is written in one transaction with the events of it; a collector alone has a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use shared::clock::SharedClock;
use shared::events::{Draft, Emitter};
use shared::model::Timestamp;
use shared::store::StoreError;
use shared::store::events::{EventStore, Outgoing, Presence, PresenceState};
use shared::wire::heartbeat::Heartbeat;
use shared::wire::partition::PARTITIONS;

use super::Roles;

/// How often somebody else may have been faster.
const TRIES: u32 = 8;

/// The file of a collector alone.
const FILE: &str = "presence";

/// The roles of this process.
pub(super) struct Standing {
    node: String,
    site: String,
    clock: SharedClock,
    events: Emitter,
    store: Option<Arc<dyn EventStore>>,
    /// What the store knows is what all aggregators know, and no other tells it.
    is_known: bool,
    file: PathBuf,
    roles: Vec<Role>,
    /// It was told that they have started.
    told: bool,
}

struct Role {
    name: &'static str,
    run: u64,
    /// What was known before it started.
    before: Option<PresenceState>,
}

/// Where and by whom roles are looked after.
pub(super) struct Place<'a> {
    pub node: &'a str,
    pub site: &'a str,
    pub state_dir: &'a Path,
    pub clock: SharedClock,
    pub events: Emitter,
    pub store: Option<Arc<dyn EventStore>>,
    /// The store is that of the aggregators.
    pub is_known: bool,
}

impl Standing {
    /// Looks up how the roles ended before; `run` is that of a role now.
    pub async fn read(place: Place<'_>, roles: Roles, run: impl Fn(&str) -> u64) -> Self {
        let Place { node, site, state_dir, clock, events, store, is_known } = place;
        let file = state_dir.join(FILE);
        let known = match &store {
            Some(store) => store.presences().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "nobody knows how this node ended before");
                Vec::new()
            }),
            None => Vec::new(),
        };
        let written = std::fs::read_to_string(&file).ok().filter(|_| store.is_none());
        let written = written.and_then(|text| PresenceState::parse(text.trim()));
        let before = |name: &str| {
            let known = known.iter().find(|known| known.role == name && known.node == node);
            known.map(|known| known.state).or(written)
        };
        let roles = roles.names().map(|name| Role { name, run: run(name), before: before(name) }).collect();
        let (node, site) = (node.to_owned(), site.to_owned());
        Self { node, site, clock, events, store, is_known, file, roles, told: false }
    }

    /// What a role of this process says of itself once a second; nothing of one that is not played.
    pub fn word(&self, role: &str) -> Option<Heartbeat> {
        let role = self.roles.iter().find(|known| known.name == role)?;
        Some(Heartbeat {
            node: self.node.clone(),
            site: self.site.clone(),
            role: role.name.to_owned(),
            group: String::new(),
            run: role.run,
            partitions: if role.name == "collector" { PARTITIONS } else { 0 },
            leaves: false,
            before: ended(role.before).unwrap_or_default().to_owned(),
            sent: Timestamp::ZERO,
        })
    }

    /// Tells that the roles have started, and how they had ended where nobody did.
    pub async fn started(&mut self) {
        self.told = true;
        for role in &self.roles {
            if !self.turned(role, PresenceState::Started).await {
                self.events.tell(self.draft(role.name, "STARTED", ended(role.before)));
            }
        }
        self.write_down(PresenceState::Started);
    }

    /// Tells that they stop.
    pub async fn stopped(&self) {
        if !self.told {
            return;
        }
        for role in &self.roles {
            if !self.turned(role, PresenceState::Stopped).await {
                self.events.tell(self.draft(role.name, "STOPPED", Some("STARTED")));
            }
        }
        self.events.flush().await;
        self.write_down(PresenceState::Stopped);
    }

    /// Takes a state of a role down in the store, with the events of it; false where that was not possible
    /// or an aggregator was faster, which hears the same.
    async fn turned(&self, role: &Role, state: PresenceState) -> bool {
        let Some(store) = &self.store else { return false };
        let after = Presence { role: role.name.to_owned(), node: self.node.clone(), run: role.run, state };
        let mut unanswered = false;
        for _ in 0..TRIES {
            let known = match store.presences().await {
                Ok(known) => {
                    known.into_iter().find(|known| known.role == role.name && known.node == self.node)
                }
                Err(error) => {
                    tracing::warn!(%error, "the state of a role is not taken down");
                    return false;
                }
            };
            if known.as_ref() == Some(&after) {
                // The one that was not answered was done, and its events are queued.
                return unanswered;
            }
            let outgoing = self.told(role, known.as_ref(), state);
            match store.turn_presence(known, after.clone(), self.clock.now(), outgoing).await {
                Ok(true) => {
                    self.events.queued();
                    return true;
                }
                Ok(false) => unanswered = false,
                Err(StoreError::Unavailable(_)) => unanswered = true,
                Err(error) => {
                    tracing::warn!(%error, "the state of a role is not taken down");
                    return false;
                }
            }
        }
        false
    }

    /// What a change tells.
    fn told(&self, role: &Role, known: Option<&Presence>, state: PresenceState) -> Outgoing {
        let of_this_run = known.filter(|known| known.run == role.run).map(|known| known.state.name());
        let is_news =
            known.is_some_and(|known| known.run != role.run && known.state == PresenceState::Started);
        let mut drafts = Vec::new();
        match state {
            PresenceState::Started => {
                if is_news && self.is_known {
                    drafts.push(self.draft(role.name, "LOST", Some("STARTED")));
                }
                drafts.push(self.draft(role.name, "STARTED", ended(known.map(|known| known.state))));
            }
            _ => drafts.push(self.draft(role.name, state.name(), of_this_run.or(Some("STARTED")))),
        }
        self.events.outgoing(drafts)
    }

    fn draft(&self, role: &str, state: &str, before: Option<&str>) -> Draft {
        let object = match state {
            "LOST" => json!({ "site": self.site, "silent_s": null, "told_by": self.node }),
            _ => json!({ "site": self.site, "version": env!("CARGO_PKG_VERSION") }),
        };
        Draft::state(&role.to_uppercase(), &self.node, state, before, object)
    }

    fn write_down(&self, state: PresenceState) {
        if self.store.is_some() {
            return;
        }
        if let Err(error) = std::fs::write(&self.file, state.name()) {
            tracing::debug!(%error, path = %self.file.display(), "not written down that the node is there");
        }
    }
}

/// How a run ended of which this was known last: one that said nothing was lost.
fn ended(known: Option<PresenceState>) -> Option<&'static str> {
    let ended = |state| match state {
        PresenceState::Stopped => PresenceState::Stopped.name(),
        PresenceState::Started | PresenceState::Lost => PresenceState::Lost.name(),
    };
    known.map(ended)
}
