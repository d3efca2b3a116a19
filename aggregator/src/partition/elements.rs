//! The elements of a run: what their hooks are called with, and whom their alerts are about.
//!
//! Each is made when its turn comes: a million hosts at once would be a gigabyte.

use std::collections::{BTreeMap, BTreeSet};

use shared::model::network::IpNet;
use shared::model::pool::mac_text;
use shared::model::{AppCategory, ContactKind, Entity, Granularity, HostKey, HostPools, Party};
use shared::script::element::{Counts, InfoValue};
use shared::script::{ElementParams, ScriptKind};

use super::{InterfaceState, Station};
use crate::alert::{AlertState, Subject};
use crate::config::TimeSeriesConfig;
use crate::element::{Counters, Host, Network, Tally, Watch};
use crate::run::RunElement;
use crate::schedule::Closed;

/// How flowhook names itself.
pub(super) const SYSTEM: &str = "flowhook";

/// Which elements of an interface a run calls.
pub(super) enum Keys {
    Interface,
    Networks(Vec<IpNet>),
    Hosts(Vec<HostKey>),
    System,
    Monitored(Vec<String>),
}

/// Elements that runs of one window did not reach.
#[derive(Debug, Default)]
pub(super) struct Missed {
    pub(super) interface: bool,
    pub(super) system: bool,
    pub(super) networks: BTreeSet<IpNet>,
    pub(super) hosts: Vec<HostKey>,
    pub(super) monitored: BTreeSet<String>,
}

/// The elements of one run, in its order.
pub(super) struct Elements<'a> {
    pub(super) state: &'a InterfaceState,
    /// The hosts that are probed, of a station.
    watches: Option<&'a BTreeMap<String, Watch>>,
    window: Closed,
    keys: Keys,
    series: TimeSeriesConfig,
    /// What hooks are told of the run.
    granularity: Granularity,
}

impl<'a> Elements<'a> {
    pub(super) fn new(
        state: &'a InterfaceState,
        kind: ScriptKind,
        window: Closed,
        series: TimeSeriesConfig,
    ) -> Self {
        let keys = match kind {
            ScriptKind::Interface => Keys::Interface,
            ScriptKind::Network => Keys::Networks(state.networks.keys().copied().collect()),
            ScriptKind::Host => Keys::Hosts(state.hosts.of_run(window.granularity, window.from)),
            ScriptKind::System => Keys::System,
            // Flows and log lines are no elements; hosts that are probed are those of a station.
            ScriptKind::Flow | ScriptKind::Syslog | ScriptKind::ActiveMonitoring => Keys::Hosts(Vec::new()),
        };
        Self::of_keys(state, window, series, keys)
    }

    /// Those of a run that is under way.
    pub(super) fn of_keys(
        state: &'a InterfaceState,
        window: Closed,
        series: TimeSeriesConfig,
        keys: Keys,
    ) -> Self {
        Self { state, watches: None, window, keys, series, granularity: window.granularity }
    }

    /// What of it outlives a slice.
    pub(super) fn into_keys(self) -> Keys {
        self.keys
    }

    /// The hosts that a station probes.
    pub(super) fn monitored(station: &'a Station, window: Closed, series: TimeSeriesConfig) -> Self {
        let keys = Keys::Monitored(station.watches.keys().cloned().collect());
        Self { watches: Some(&station.watches), ..Self::of_keys(&station.state, window, series, keys) }
    }

    /// The same, called on demand: the window says whose hook and whose growth.
    pub(super) fn on_demand(self) -> Self {
        Self { granularity: Granularity::Aperiodic, ..self }
    }

    pub(super) fn len(&self) -> usize {
        match &self.keys {
            Keys::Interface | Keys::System => 1,
            Keys::Networks(networks) => networks.len(),
            Keys::Hosts(hosts) => hosts.len(),
            Keys::Monitored(watches) => watches.len(),
        }
    }

    /// Lets the run begin at the element that the last one did not reach.
    pub(super) fn begin_at(&mut self, value: &str) {
        match &mut self.keys {
            Keys::Interface | Keys::System => {}
            Keys::Monitored(watches) => {
                let place = watches.iter().position(|watch| watch == value);
                watches.rotate_left(place.unwrap_or(0));
            }
            Keys::Networks(networks) => {
                let place = networks.iter().position(|network| network.to_string() == value);
                networks.rotate_left(place.unwrap_or(0));
            }
            Keys::Hosts(hosts) => {
                let key = value.parse().ok();
                let place = hosts.iter().position(|host| Some(*host) == key);
                hosts.rotate_left(place.unwrap_or(0));
            }
        }
    }

    /// The one at which the next run begins after one that reached so many; none when it reached all.
    pub(super) fn next_after(&self, reached: usize) -> Option<String> {
        self.value(reached).filter(|_| reached < self.len())
    }

    /// Adds those that a run which reached so many did not reach.
    pub(super) fn add_missed(&self, reached: usize, missed: &mut Missed) {
        match &self.keys {
            Keys::Interface => missed.interface |= reached == 0,
            Keys::System => missed.system |= reached == 0,
            Keys::Networks(networks) => missed.networks.extend(networks.iter().skip(reached)),
            Keys::Hosts(hosts) => missed.hosts.extend(hosts.iter().skip(reached)),
            Keys::Monitored(watches) => {
                missed.monitored.extend(watches.iter().skip(reached).cloned());
            }
        }
    }

    fn watch(&self, n: usize) -> Option<&Watch> {
        let Keys::Monitored(watches) = &self.keys else { return None };
        self.watches?.get(watches.get(n)?)
    }

    /// The identifying string of the n-th.
    pub(super) fn value(&self, n: usize) -> Option<String> {
        match &self.keys {
            Keys::Interface => Some(self.state.interface.name.clone()),
            Keys::System => Some(SYSTEM.to_owned()),
            Keys::Networks(networks) => networks.get(n).map(ToString::to_string),
            Keys::Hosts(hosts) => hosts.get(n).map(ToString::to_string),
            Keys::Monitored(watches) => watches.get(n).cloned(),
        }
    }

    /// What the n-th one's hooks are called with.
    pub(super) fn get(&self, n: usize, alerts: &AlertState, pools: &HostPools) -> Option<RunElement> {
        let state = self.state;
        let (entity, info, (stats, delta, calls), local) = match &self.keys {
            Keys::Interface => {
                let (mut stats, delta, calls) = self.counts(&state.interface.tally);
                let (hosts, local) = state.hosts.active();
                let live_flows = state.interface.live_flows;
                stats.extend([("live_flows", live_flows), ("hosts", hosts), ("local_hosts", local)]);
                (Entity::Interface, state.interface.info(), (stats, delta, calls), true)
            }
            Keys::System => {
                let (mut stats, delta, calls) = self.counts(&state.health);
                stats.extend([("hosts", state.hosts.len() as u64), ("engaged_alerts", alerts.len() as u64)]);
                stats.extend(state.levels.iter().copied());
                let info = vec![("name", InfoValue::Text(SYSTEM.to_owned()))];
                (Entity::System, info, (stats, delta, calls), true)
            }
            Keys::Networks(networks) => {
                let prefix = networks.get(n)?;
                let counts = self.counts(&state.networks.get(prefix)?.tally);
                (Entity::Network, Network::info(*prefix), counts, true)
            }
            Keys::Monitored(_) => {
                let watch = self.watch(n)?;
                let (mut stats, delta, calls) = self.counts(&watch.tally);
                stats.extend(watch.levels());
                (Entity::AmHost, watch.info(), (stats, delta, calls), true)
            }
            Keys::Hosts(hosts) => {
                let key = *hosts.get(n)?;
                let host = state.hosts.get(key)?;
                let (mut stats, delta, calls) = self.counts(&host.tally);
                add_contacts(&mut stats, host);
                (Entity::Host, host.info(key, pools), (stats, delta, calls), host.local)
            }
        };
        let entity_value = self.value(n)?;
        let params = ElementParams {
            granularity: Some(self.granularity),
            hook: Some(self.window.granularity),
            entity: Some(entity),
            cur_alerts: alerts.current(state.place(), entity, &entity_value),
            entity_value,
            info,
            stats,
            delta,
            categories: self.categories(n),
            l7: self.protocols(),
            first_run: calls.first,
            missed: calls.missed,
            when: self.window.at,
            ifid: state.interface.id,
            ts_enabled: self.series.keeps(entity, local),
        };
        Some(RunElement { params, local })
    }

    /// Bytes of a host or the interface by what they were for.
    fn categories(&self, n: usize) -> Vec<(AppCategory, u64)> {
        match &self.keys {
            Keys::Hosts(hosts) => {
                let host = hosts.get(n).and_then(|key| self.state.hosts.get(*key));
                let used = host.filter(|host| host.facts.is_some()).map(Host::categories).unwrap_or_default();
                used.into_iter().map(|(kind, (sent, rcvd))| (kind, sent.saturating_add(rcvd))).collect()
            }
            Keys::Interface => {
                let mut categories = BTreeMap::<AppCategory, u64>::new();
                for counters in self.state.interface.l7.values() {
                    let bytes = categories.entry(counters.category).or_default();
                    *bytes = bytes.saturating_add(counters.bytes);
                }
                categories.into_iter().collect()
            }
            Keys::Networks(_) | Keys::System | Keys::Monitored(_) => Vec::new(),
        }
    }

    /// Flows and bytes of the interface by protocol.
    fn protocols(&self) -> Vec<(String, u64, u64)> {
        match &self.keys {
            Keys::Interface => {
                let protocols = self.state.interface.l7.iter();
                protocols.map(|(name, counters)| (name.clone(), counters.flows, counters.bytes)).collect()
            }
            _ => Vec::new(),
        }
    }

    fn counts<C: Counters>(&self, tally: &Tally<C>) -> (Counts, Counts, Calls) {
        let period = self.window.granularity;
        let calls = Calls { first: tally.is_first(period), missed: tally.missed(period).into() };
        (tally.total().counts(), tally.since_run(period).counts(), calls)
    }

    /// Whom alerts on the n-th are about.
    pub(super) fn subject(&self, n: usize) -> Option<Subject> {
        let interface = &self.state.interface;
        let (entity, party) = match &self.keys {
            Keys::Interface => (Entity::Interface, None),
            Keys::System => (Entity::System, None),
            Keys::Networks(_) => (Entity::Network, None),
            Keys::Hosts(hosts) => (Entity::Host, hosts.get(n).and_then(|key| self.party(*key))),
            Keys::Monitored(_) => return self.watch(n).map(|watch| watch.subject(interface)),
        };
        Some(Subject {
            entity,
            value: self.value(n)?,
            site: interface.site.clone(),
            node: interface.node.clone(),
            ifid: interface.id,
            interface: interface.name.clone(),
            party,
            flow: None,
        })
    }

    fn party(&self, key: HostKey) -> Option<Party> {
        let host = self.state.hosts.get(key)?;
        Some(Party {
            ip: key.ip,
            port: 0,
            vlan: key.vlan,
            mac: host.mac.as_ref().map(mac_text),
            local: host.local,
            pool: String::new(),
            geo: host.geo.clone(),
            is_attacker: false,
            is_victim: false,
            other: Default::default(),
        })
    }
}

/// What there was before a call.
struct Calls {
    /// No run of the period has reached the element.
    first: bool,
    /// The last runs of the period, so many, did not.
    missed: u32,
}

/// How many others the host got in touch with, every kind in its place.
fn add_contacts(stats: &mut Counts, host: &Host) {
    match &host.contacts {
        Some(contacts) => stats.extend(contacts.counts()),
        None => stats.extend(ContactKind::ALL.map(|kind| (kind.counter(), 0))),
    }
}

#[cfg(test)]
mod tests;
