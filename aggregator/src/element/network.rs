//! The configured local networks of one interface.

use shared::model::NetworkCounters;
use shared::model::network::IpNet;
use shared::script::element::InfoValue;

use super::Tally;

/// One local network.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Counters.
    pub tally: Tally<NetworkCounters>,
}

impl Network {
    /// Fields of `entity_info`.
    pub fn info(prefix: IpNet) -> Vec<(&'static str, InfoValue)> {
        ["network", "prefix", "name"].map(|name| (name, InfoValue::Text(prefix.to_string()))).into()
    }
}
