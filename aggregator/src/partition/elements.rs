//! The elements of a run: what their hooks are called with, and whom their alerts are about.

use std::collections::BTreeMap;

use shared::model::network::IpNet;
use shared::model::pool::mac_text;
use shared::model::{Entity, HostKey, Party};
use shared::script::{ElementParams, ScriptKind};

use super::{InterfaceState, Partition};
use crate::alert::Subject;
use crate::element::{Counters, Network};
use crate::run::RunElement;
use crate::schedule::Closed;

/// An element of a run: what its hook sees and whom its alerts are about.
pub(super) struct Element {
    pub(super) run: RunElement,
    pub(super) subject: Subject,
}

impl Partition {
    /// The elements of a run, in order.
    pub(super) fn elements(&self, state: &InterfaceState, kind: ScriptKind, window: Closed) -> Vec<Element> {
        let make = |entity, value: String, info, tally: (BTreeMap<_, _>, BTreeMap<_, _>), local, party| {
            let interface = &state.interface;
            let params = ElementParams {
                granularity: Some(window.granularity),
                entity: Some(entity),
                cur_alerts: self.alerts.current(state.place(), entity, &value),
                entity_value: value.clone(),
                info,
                stats: tally.0,
                delta: tally.1,
                when: window.at,
                ifid: interface.id,
                ts_enabled: self.config.time_series,
            };
            let subject = Subject {
                entity,
                value,
                site: interface.site.clone(),
                node: interface.node.clone(),
                ifid: interface.id,
                interface: interface.name.clone(),
                party,
            };
            Element { run: RunElement { params, local }, subject }
        };
        let granularity = window.granularity;
        match kind {
            ScriptKind::Interface => {
                let tally = &state.interface.tally;
                let mut counts = (tally.total.named(), tally.since_run(granularity).named());
                let (hosts, local) = state.hosts.active();
                for (name, value) in
                    [("live_flows", state.interface.live_flows), ("hosts", hosts), ("local_hosts", local)]
                {
                    counts.0.insert(name.to_owned(), value);
                }
                let name = state.interface.name.clone();
                vec![make(Entity::Interface, name, state.interface.info(), counts, true, None)]
            }
            ScriptKind::Network => {
                let element = |(prefix, network): (&IpNet, &Network)| {
                    let tally = &network.tally;
                    let counts = (tally.total.named(), tally.since_run(granularity).named());
                    make(Entity::Network, prefix.to_string(), Network::info(*prefix), counts, true, None)
                };
                state.networks.iter().map(element).collect()
            }
            ScriptKind::Host => {
                let element = |key: HostKey| {
                    let host = state.hosts.get(key)?;
                    let counts = (host.tally.total.named(), host.tally.since_run(granularity).named());
                    let party = Party {
                        ip: key.ip,
                        port: 0,
                        vlan: key.vlan,
                        mac: host.mac.as_ref().map(mac_text),
                        local: host.local,
                        pool: String::new(),
                        is_attacker: false,
                        is_victim: false,
                    };
                    Some(make(Entity::Host, key.to_string(), host.info(key), counts, host.local, Some(party)))
                };
                state.hosts.of_run(granularity, window.from).into_iter().filter_map(element).collect()
            }
            ScriptKind::Flow | ScriptKind::System => Vec::new(),
        }
    }
}
