//! The configured local networks of one interface.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::model::NetworkCounters;
use shared::model::network::IpNet;

use super::Tally;

/// One local network.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Counters.
    pub tally: Tally<NetworkCounters>,
}

impl Network {
    /// Fields of `entity_info`.
    pub fn info(prefix: IpNet) -> BTreeMap<String, Value> {
        let text = json!(prefix.to_string());
        BTreeMap::from([
            ("network".to_owned(), text.clone()),
            ("prefix".to_owned(), text.clone()),
            ("name".to_owned(), text),
        ])
    }
}
