//! A recipient in the configuration: `[[notifier.recipient]]`.

use serde::{Deserialize, Serialize};
use shared::model::{AlertAction, AlertRule, Category, Entity, Severity};

use super::Params;
use crate::criteria::{Criteria, Part};
use crate::gate::GateConfig;

/// One recipient: where its deliveries go and what it wants. A list that is absent or empty
/// filters nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipientConfig {
    /// Unique name.
    pub name: String,
    /// Name of its endpoint.
    pub endpoint: String,
    /// False gives it nothing.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Least severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_severity: Option<Severity>,
    /// Gravest severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum_severity: Option<Severity>,
    /// Least score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_score: Option<u32>,
    /// Of a flow only the alerts that weighed more than all before them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub predominant_only: bool,
    /// Categories.
    #[serde(default)]
    pub categories: Vec<Category>,
    /// Entities.
    #[serde(default)]
    pub entities: Vec<Entity>,
    /// Names of host pools.
    #[serde(default)]
    pub host_pools: Vec<String>,
    /// Names of actively monitored hosts.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Script keys or alert types.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Parts that a local host of the alert plays.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Part>,
    /// What happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<AlertAction>,
    /// Sites.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<String>,
    /// Is told of its own site's alerts alone, by the notifiers of that site: also when the site is cut
    /// off, and never by a hub. Takes the place of `sites`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub local: bool,
    /// Names of interfaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// Rules of which one has to choose the alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<AlertRule>,
    /// Rules of which none may choose it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<AlertRule>,
    /// An expression over the alert that has to be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Deliveries tried in a minute at most; no bound when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_minute: Option<u32>,
    /// What is held back, told together, told again.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub gate: GateConfig,
    /// Try again what was sent without its answer being read, also where the far end cannot tell a
    /// repetition from a second message.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retry_unknown: bool,
    /// Another recipient, who gets what is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Parameters of the endpoint's kind for this recipient.
    #[serde(default)]
    pub params: Params,
}

fn is_usual(gate: &GateConfig) -> bool {
    *gate == GateConfig::default()
}

fn yes() -> bool {
    true
}

impl RecipientConfig {
    /// What it wants.
    pub fn criteria(&self) -> Criteria {
        Criteria {
            minimum_severity: self.minimum_severity,
            categories: self.categories.clone(),
            entities: self.entities.clone(),
            host_pools: self.host_pools.clone(),
            hosts: self.hosts.clone(),
            checks: self.checks.clone(),
            maximum_severity: self.maximum_severity,
            minimum_score: self.minimum_score,
            predominant_only: self.predominant_only,
            roles: self.roles.clone(),
            actions: self.actions.clone(),
            sites: self.sites.clone(),
            interfaces: self.interfaces.clone(),
            only: self.only.clone(),
            except: self.except.clone(),
            when: self.when.clone(),
        }
    }
}
