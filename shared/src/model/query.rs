//! Questions asked of stores and of live nodes, and the pages that answer them.

use serde::{Deserialize, Serialize};

use super::alert::{Alert, AlertAction};
use super::category::Category;
use super::entity::Entity;
use super::severity::Severity;
use super::time::Timestamp;

/// How many rows a page holds when the question does not say.
pub const DEFAULT_LIMIT: usize = 100;
/// How many rows a page holds at most.
pub const MAX_LIMIT: usize = 1000;

/// One page of rows, and where the next begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// The rows.
    pub items: Vec<T>,
    /// Opaque start of the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which alerts of the history to return. Every absent field means any.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertQuery {
    /// This row alone.
    pub row: Option<i64>,
    /// Transitions of the alert with this id.
    pub id: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// At least this severity.
    pub min_severity: Option<Severity>,
    /// This entity.
    pub entity: Option<Entity>,
    /// This entity value.
    pub entity_value: Option<String>,
    /// This category.
    pub category: Option<Category>,
    /// This type.
    pub alert_type: Option<String>,
    /// This action.
    pub action: Option<AlertAction>,
    /// Acknowledged or not.
    pub acknowledged: Option<bool>,
    /// Rows after this row number (newest first, so: with smaller numbers).
    pub before_row: Option<i64>,
    /// Rows at most.
    pub limit: usize,
}

/// A row of the alert history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StoredAlert {
    /// Row number, for acknowledging and paging.
    pub row: i64,
    /// True when an operator has acknowledged it.
    pub acknowledged: bool,
    /// Who did, first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub acknowledged_at: Option<Timestamp>,
    /// What an operator calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Who said so, last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labelled_by: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub labelled_at: Option<Timestamp>,
    /// The transition.
    #[serde(flatten)]
    pub alert: Alert,
}

/// Which ended flows to return. Every absent field means any.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowQuery {
    /// Last seen not before.
    pub from: Option<Timestamp>,
    /// Last seen before.
    pub to: Option<Timestamp>,
    /// On this interface.
    pub ifid: Option<u32>,
    /// Client or server has this address.
    pub host: Option<std::net::IpAddr>,
    /// Client or server has this port.
    pub port: Option<u16>,
    /// Layer-7 protocol name.
    pub l7: Option<String>,
    /// Rows after this number (live flows: flow id; stored flows: row number, newest first).
    pub after: Option<i64>,
    /// Rows at most.
    pub limit: usize,
}
