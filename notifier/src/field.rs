//! Fields by which alerts are compared. Pure.

use serde::{Deserialize, Serialize};
use shared::model::Alert;

/// What two alerts may have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// Site.
    Site,
    /// Name of the interface.
    Interface,
    /// Entity.
    Entity,
    /// Which one.
    EntityValue,
    /// Type.
    Type,
    /// Severity.
    Severity,
    /// Category.
    Category,
    /// Script.
    Script,
    /// Address of the client, or of the host of a host alert.
    Client,
    /// Address of the server.
    Server,
    /// Pool of the client.
    Pool,
}

impl Field {
    fn of(self, alert: &Alert) -> String {
        let client = alert.client.as_ref();
        match self {
            Self::Site => alert.site.clone(),
            Self::Interface => alert.interface.clone(),
            Self::Entity => alert.entity.name().to_owned(),
            Self::EntityValue => alert.entity_value.clone(),
            Self::Type => alert.alert_type.clone(),
            Self::Severity => alert.severity.name().to_owned(),
            Self::Category => alert.category.name().to_owned(),
            Self::Script => alert.script.clone(),
            Self::Client => client.map(|party| party.ip.to_string()).unwrap_or_default(),
            Self::Server => alert.server.as_ref().map(|party| party.ip.to_string()).unwrap_or_default(),
            Self::Pool => client.map(|party| party.pool.clone()).unwrap_or_default(),
        }
    }
}

/// The same for alerts that have these fields in common, and for no others.
pub fn key(fields: &[Field], alert: &Alert) -> String {
    // As JSON, so that no value can pretend to be two.
    serde_json::to_string(&fields.iter().map(|field| field.of(alert)).collect::<Vec<_>>()).unwrap_or_default()
}
