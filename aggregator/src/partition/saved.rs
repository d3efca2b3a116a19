//! A partition's state is written down, and read by whoever holds the partition next.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message as _;
use shared::geo::GeoCache;
use shared::model::metric::{Metric, Metrics};
use shared::model::network::IpNet;
use shared::model::{Entity, Granularity, HostKey, Timestamp};
use shared::script::ScriptKind;
use shared::store::series::ElementId;

use super::series::{Named, Noted};
use super::{InterfaceState, Partition};
use crate::element::{Hosts, Interface, Network, Tally};
use crate::schedule::Schedule;
use crate::snapshot::{self, HOSTS, State, VERSION};

impl Partition {
    /// Everything that decides what a later delta causes.
    pub fn save(&self) -> Vec<u8> {
        let state = State {
            version: VERSION,
            interfaces: self.interfaces.values().map(InterfaceState::save).collect(),
            producers: self.ingest.save(),
            lost: self.ingest.lost,
            duplicates: self.ingest.duplicates,
            stale: self.ingest.stale,
            alerts: Some(self.alerts.save()),
            failing: self.states.save_failures(),
            memories: self.states.save_memories(),
            noted: self.noted.save(),
            hosts: Vec::new(),
        };
        let mut bytes = state.encode_to_vec();
        for (place, interface) in (0..).zip(self.interfaces.values()) {
            for (key, host) in interface.hosts.iter() {
                prost::encoding::message::encode(HOSTS, &host.save(place, *key), &mut bytes);
            }
        }
        bytes
    }

    /// Puts back what [`Partition::save`] gave. Unless nothing was lost since (`whole`), what is engaged,
    /// and what scripts remember, is what the store says: it knows of more than this state.
    ///
    /// # Errors
    /// Says why the state cannot be read; the partition is as it was.
    pub fn restore(&mut self, bytes: &[u8], whole: bool) -> Result<(), String> {
        let state = State::decode(bytes).map_err(|e| e.to_string())?;
        if state.version == 0 {
            return Err("it has no version".to_owned());
        }
        let mut interfaces = Vec::new();
        for saved in state.interfaces {
            let hosts = Hosts::restored(self.config.host_limits(), saved.hosts_evicted);
            interfaces.push(InterfaceState::restore(saved, hosts, Schedule::new(self.zone.clone()))?);
        }
        for host in state.hosts {
            let interface = interfaces.get_mut(host.interface as usize);
            let interface = interface.ok_or_else(|| format!("there is no interface {}", host.interface))?;
            interface.hosts.restore(host, &mut self.geo)?;
        }
        if whole {
            if let Some(alerts) = state.alerts {
                self.alerts.restore(alerts)?;
            }
            self.states.restore_memories(state.memories)?;
        }
        self.states.restore_failures(state.failing);
        self.ingest.restore(state.producers, state.lost, state.duplicates, state.stale);
        self.noted = Noted::restore(state.noted);
        for network in self.networks.iter() {
            for interface in &mut interfaces {
                interface.networks.entry(network).or_default();
            }
        }
        let place = |state: &InterfaceState| (state.interface.site.clone(), state.interface.id);
        self.interfaces = interfaces.into_iter().map(|state| (place(&state), state)).collect();
        Ok(())
    }

    /// Event time up to which every interface is known.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.interfaces.values().map(InterfaceState::watermark).min()
    }
}

impl InterfaceState {
    fn save(&self) -> snapshot::Interface {
        let Interface { id, name, site, node, tally, live_flows, l7, watermark, collected } = &self.interface;
        let l7 = l7.iter().map(|(name, l7)| snapshot::L7 {
            name: name.clone(),
            flows: l7.flows,
            bytes: l7.bytes,
            category: l7.category as u32,
        });
        let networks = self.networks.iter().map(|(prefix, network)| snapshot::Network {
            prefix: prefix.to_string(),
            tally: Some(network.tally.save()),
        });
        let resume = self.resume.iter().map(|((kind, period), value)| snapshot::Resume {
            kind: kind.name().to_owned(),
            period: period.name().to_owned(),
            value: value.clone(),
        });
        let batches = self.batches.iter().map(|(node, batches)| snapshot::Batches {
            node: node.clone(),
            received: batches.received,
            missing: batches.missing,
        });
        snapshot::Interface {
            id: *id,
            name: name.clone(),
            site: site.clone(),
            node: node.clone(),
            collected: *collected,
            live_flows: *live_flows,
            watermark: watermark.ns(),
            tally: Some(tally.save()),
            l7: l7.collect(),
            networks: networks.collect(),
            health: Some(self.health.save()),
            named: save_metrics(&self.named.0),
            windows: self.schedule.save(),
            jumped: self.schedule.jumped,
            orphans_released: self.orphans_released,
            resume: resume.collect(),
            asked: self.asked,
            hosts_evicted: self.hosts.evicted(),
            epoch: self.epoch,
            ended: self.ended,
            batches: batches.collect(),
        }
    }

    fn restore(saved: snapshot::Interface, hosts: Hosts, mut schedule: Schedule) -> Result<Self, String> {
        let category =
            |number: u32| shared::model::AppCategory::ALL.get(number as usize).copied().unwrap_or_default();
        let l7 = saved.l7.into_iter().map(|l7| {
            let snapshot::L7 { name, flows, bytes, category: number } = l7;
            (name, shared::wire::delta::L7Counters { flows, bytes, category: category(number) })
        });
        let interface = Interface {
            id: saved.id,
            name: saved.name,
            site: saved.site,
            node: saved.node,
            tally: Tally::restore(&saved.tally.unwrap_or_default()),
            live_flows: saved.live_flows,
            l7: l7.collect(),
            watermark: Timestamp::from_ns(saved.watermark),
            collected: saved.collected,
        };
        let mut networks = BTreeMap::new();
        for snapshot::Network { prefix, tally } in saved.networks {
            let prefix: IpNet = prefix.parse().map_err(|_| format!("'{prefix}' is no prefix"))?;
            networks.insert(prefix, Network { tally: Tally::restore(&tally.unwrap_or_default()) });
        }
        schedule.restore(&saved.windows, saved.jumped)?;
        let resume = saved.resume.into_iter().filter_map(|snapshot::Resume { kind, period, value }| {
            let kind = ScriptKind::ALL.into_iter().find(|known| known.name() == kind)?;
            Some(((kind, granularity(&period)?), value))
        });
        let batches = saved.batches.into_iter().map(|snapshot::Batches { node, received, missing }| {
            (node, super::Batches { received, missing })
        });
        Ok(Self {
            interface,
            hosts,
            networks,
            health: Tally::restore(&saved.health.unwrap_or_default()),
            named: Named(restore_metrics(saved.named)),
            schedule,
            orphans_released: saved.orphans_released,
            resume: resume.collect(),
            asked: saved.asked,
            epoch: saved.epoch,
            levels: Arc::default(),
            ended: saved.ended,
            batches: batches.collect(),
        })
    }
}

impl Noted {
    fn save(&self) -> Vec<snapshot::Noted> {
        let noted = self.elements.iter().map(|(element, metrics)| {
            let ElementId { site, ifid, entity, value } = element;
            snapshot::Noted {
                site: site.clone(),
                ifid: *ifid,
                entity: entity.name().to_owned(),
                value: value.clone(),
                metrics: save_metrics(metrics),
            }
        });
        noted.collect()
    }

    fn restore(saved: Vec<snapshot::Noted>) -> Self {
        let mut noted = Self::default();
        for snapshot::Noted { site, ifid, entity, value, metrics } in saved {
            let Some(entity) = entity_of(&entity) else { continue };
            let element = ElementId { site, ifid, entity, value };
            noted.elements.insert(element, restore_metrics(metrics));
        }
        noted
    }
}

fn save_metrics(metrics: &Metrics) -> Vec<snapshot::Metric> {
    let saved = metrics.iter().map(|(name, Metric { gauge, sum, count })| snapshot::Metric {
        name: name.clone(),
        gauge: *gauge,
        sum: *sum,
        count: *count,
    });
    saved.collect()
}

fn restore_metrics(saved: Vec<snapshot::Metric>) -> Metrics {
    let metric = |saved: snapshot::Metric| {
        let snapshot::Metric { name, gauge, sum, count } = saved;
        (name, Metric { gauge, sum, count })
    };
    saved.into_iter().map(metric).collect()
}

/// The period of a name.
pub(crate) fn granularity(name: &str) -> Option<Granularity> {
    let all = std::iter::once(Granularity::Aperiodic).chain(Granularity::PERIODS);
    all.into_iter().find(|known| known.name() == name)
}

/// The entity of a name.
pub(crate) fn entity_of(name: &str) -> Option<Entity> {
    Entity::ALL.into_iter().find(|known| known.name() == name)
}

impl Hosts {
    fn restore(&mut self, saved: snapshot::Host, geo: &mut GeoCache) -> Result<(), String> {
        let (key, mut host) = crate::element::Host::restore(saved)?;
        host.locate(key, geo);
        self.put(key, host);
        Ok(())
    }
}

/// The host that a saved one is.
pub(crate) fn host_key(ip: &[u8], vlan: u32) -> Result<HostKey, String> {
    let v4 = <[u8; 4]>::try_from(ip).map(std::net::IpAddr::from);
    let ip = v4.or_else(|_| <[u8; 16]>::try_from(ip).map(std::net::IpAddr::from));
    let ip = ip.map_err(|_| "an address of a wrong length".to_owned())?;
    let vlan = u16::try_from(vlan).map_err(|_| format!("{vlan} is no VLAN"))?;
    Ok(HostKey::new(ip, vlan))
}
