//! One capture interface.

use std::collections::BTreeMap;

use shared::model::{InterfaceCounters, Timestamp};
use shared::script::element::InfoValue;
use shared::wire::delta::{L7Counters, Producer};

use super::Tally;

/// One interface.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// Interface id.
    pub id: u32,
    /// Interface name.
    pub name: String,
    /// Site.
    pub site: String,
    /// Node that captures on it.
    pub node: String,
    /// Counters.
    pub tally: Tally<InterfaceCounters>,
    /// Live flows at the last summary.
    pub live_flows: u64,
    /// Flows and bytes by layer-7 protocol.
    pub l7: BTreeMap<String, L7Counters>,
    /// Event time up to which everything is known.
    pub watermark: Timestamp,
    /// True when exporters report its flows.
    pub collected: bool,
}

impl Interface {
    /// An interface of `producer`.
    pub fn new(producer: &Producer) -> Self {
        Self {
            id: producer.ifid,
            name: producer.interface.clone(),
            site: producer.site.clone(),
            node: producer.node.clone(),
            ..Self::default()
        }
    }

    /// Adds flows and bytes by protocol.
    pub fn add_l7(&mut self, l7: &BTreeMap<String, L7Counters>) {
        for (name, counters) in l7 {
            let sum = self.l7.entry(name.clone()).or_default();
            sum.flows = sum.flows.saturating_add(counters.flows);
            sum.bytes = sum.bytes.saturating_add(counters.bytes);
            sum.category = counters.category;
        }
    }

    /// Fields of `entity_info`.
    pub fn info(&self) -> Vec<(&'static str, InfoValue)> {
        vec![
            ("name", InfoValue::Text(self.name.clone())),
            ("id", InfoValue::Int(self.id.into())),
            ("site", InfoValue::Text(self.site.clone())),
            ("node", InfoValue::Text(self.node.clone())),
            ("live_flows", InfoValue::Int(i64::try_from(self.live_flows).unwrap_or(i64::MAX))),
        ]
    }
}
