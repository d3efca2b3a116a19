//! What users edit while the program runs: settings of scripts, exclusions, silences, host pools,
//! hosts to probe, endpoints, recipients, hooks.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StoreError;
use super::events::Outgoing;
use crate::model::Timestamp;

/// What a document is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// Settings of a script, by its key.
    Scripts,
    /// Alerts that are not raised.
    Exclusions,
    /// Alerts that nobody is told of.
    Silences,
    /// Host pools.
    Pools,
    /// Hosts that are probed.
    Monitor,
    /// Ways by which notifications leave. Secrets in them are sealed ([`crate::seal`]).
    Endpoints,
    /// Who is notified of what. Secrets in them are sealed.
    Recipients,
    /// Hooks on events.
    Hooks,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Scripts,
        Self::Exclusions,
        Self::Silences,
        Self::Pools,
        Self::Monitor,
        Self::Endpoints,
        Self::Recipients,
        Self::Hooks,
    ];

    /// The snake-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scripts => "scripts",
            Self::Exclusions => "exclusions",
            Self::Silences => "silences",
            Self::Pools => "pools",
            Self::Monitor => "monitor",
            Self::Endpoints => "endpoints",
            Self::Recipients => "recipients",
            Self::Hooks => "hooks",
        }
    }

    /// True for what the notifier checks, and what the configuration file says for good.
    pub const fn is_the_notifiers(self) -> bool {
        matches!(self, Self::Endpoints | Self::Recipients)
    }

    /// Reads a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One version of a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Document {
    /// What it is.
    pub kind: DocumentKind,
    /// Unique among its kind.
    pub name: String,
    /// Its content; null where this version says that it was deleted.
    pub value: Value,
    /// Grows by one with each change, also over a deletion.
    pub revision: u64,
    /// Who changed it.
    pub by: String,
    /// When.
    #[schema(value_type = String)]
    pub at: Timestamp,
}

/// Whether a change was made.
#[derive(Clone, Debug, PartialEq)]
pub enum Put {
    /// It was; the version that is in force now.
    Done(Document),
    /// Somebody else was faster: the revision in force, 0 when there is no such document.
    Conflict(u64),
}

/// A change of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which kind.
    pub kind: DocumentKind,
    /// Which one.
    pub name: String,
    /// The new content; `None` deletes it.
    pub value: Option<Value>,
    /// The revision that is changed, 0 for one that must not be there; `None` changes any.
    pub expected: Option<u64>,
    /// Who changes it.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Which events a change has: of the version that is in force now and the one before it, whose content is
/// null where that one was deleted.
pub type Tell = Arc<dyn Fn(&Document, Option<&Document>) -> Outgoing + Send + Sync>;

/// Documents with their history.
#[async_trait]
pub trait DocumentStore: Send + Sync + 'static {
    /// Makes a change, in one transaction with its line in the history. To delete what is not there
    /// is a conflict.
    async fn change(&self, change: Change) -> Result<Put, StoreError> {
        self.change_and_tell(change, Arc::new(|_, _| Outgoing::default())).await
    }

    /// The same, and its events are queued in the same transaction: no kill parts them from the change.
    async fn change_and_tell(&self, change: Change, tell: Tell) -> Result<Put, StoreError>;

    /// Documents of a kind, or all, by kind and name.
    async fn documents(&self, kind: Option<DocumentKind>) -> Result<Vec<Document>, StoreError>;

    /// The versions of a document, newest first, `limit` at most.
    async fn versions(
        &self,
        kind: DocumentKind,
        name: &str,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError>;
}
