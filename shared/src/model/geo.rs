//! Where an address is and who runs its network, as far as databases say.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What is known of the place of one address; texts are empty and the number 0 where it is not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct GeoPlace {
    /// Country, by its two letters (ISO 3166-1).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub country: String,
    /// Country, by its English name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub country_name: String,
    /// Continent, by its two letters: `AF`, `AN`, `AS`, `EU`, `NA`, `OC`, `SA`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub continent: String,
    /// City, by its English name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub city: String,
    /// Latitude in degrees, north positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// Longitude in degrees, east positive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// Number of the autonomous system.
    #[serde(skip_serializing_if = "is_zero")]
    pub asn: u32,
    /// Who runs the autonomous system.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub as_name: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The places of both sides of a flow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FlowGeo {
    /// The client's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<Arc<GeoPlace>>,
    /// The server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Arc<GeoPlace>>,
}
