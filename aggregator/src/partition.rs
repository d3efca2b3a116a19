//! The state of one partition: its interfaces, their elements and alerts. Pure over the script
//! engine: a delta goes in, and what it causes comes out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use shared::model::network::IpNet;
use shared::model::pool::mac_text;
use shared::model::{Entity, Granularity, HostKey, LocalNetworks, Party, Timestamp};
use shared::script::engine::ScriptEngine;
use shared::script::registry::{Registry, ScriptInfo};
use shared::script::{ElementParams, ScriptKind};
use shared::store::{EngagedAlert, Transition};
use shared::wire::delta::Delta;
use shared::wire::proto::HttpPost;

use crate::alert::{AlertState, Subject};
use crate::config::AggregatorConfig;
use crate::element::{Counters, Hosts, Interface, Network};
use crate::ingest::{Ingest, Verdict};
use crate::report::AggregatorReport;
use crate::run::{RunElement, RunPlan, ScriptStates};
use crate::schedule::{Closed, Schedule};

mod effects;

/// What a delta caused.
#[derive(Debug, Default)]
pub struct Output {
    /// Changes of the alert state, to be stored before the delta is acknowledged.
    pub transitions: Vec<Transition>,
    /// Scripts' HTTP posts.
    pub posts: Vec<HttpPost>,
    /// Scripts' own messages: site, subject, payload.
    pub messages: Vec<(String, String, String)>,
}

/// One interface with its elements.
pub struct InterfaceState {
    /// The interface.
    pub interface: Interface,
    /// Its hosts.
    pub hosts: Hosts,
    /// The local networks as seen on it.
    pub networks: BTreeMap<IpNet, Network>,
    schedule: Schedule,
    /// The element at which the next run of a kind and period begins, because the last one did not
    /// reach it.
    resume: BTreeMap<(ScriptKind, Granularity), String>,
}

/// The state of one partition.
pub struct Partition {
    engine: ScriptEngine,
    registry: Registry,
    quarantine_after: u32,
    config: AggregatorConfig,
    zone: TimeZone,
    networks: Arc<LocalNetworks>,
    alerts: AlertState,
    ingest: Ingest,
    states: ScriptStates,
    interfaces: BTreeMap<(String, u32), InterfaceState>,
    report: AggregatorReport,
}

/// An element of a run: what its hook sees and whom its alerts are about.
struct Element {
    run: RunElement,
    subject: Subject,
}

impl Partition {
    /// A partition without interfaces; `engaged` is what was engaged before a restart.
    pub fn new(
        number: u32,
        engine: ScriptEngine,
        registry: Registry,
        quarantine_after: u32,
        config: AggregatorConfig,
        networks: Arc<LocalNetworks>,
        engaged: Vec<EngagedAlert>,
    ) -> Self {
        let zone = config.zone().unwrap_or(TimeZone::UTC);
        Self {
            engine,
            registry,
            quarantine_after,
            config,
            zone,
            networks,
            alerts: AlertState::new(number, engaged),
            ingest: Ingest::default(),
            states: ScriptStates::default(),
            interfaces: BTreeMap::new(),
            report: AggregatorReport::default(),
        }
    }

    /// What this partition has done.
    pub fn report(&self) -> AggregatorReport {
        let mut report = self.report.clone();
        let mut error = |kind: &str, count: u64| {
            if count > 0 {
                *report.errors.entry(kind.to_owned()).or_default() += count;
            }
        };
        error("delta_gaps", self.ingest.missing());
        error("delta_duplicates", self.ingest.duplicates);
        error("alerts_refused", self.alerts.refused);
        error("hosts_evicted", self.interfaces.values().map(|i| i.hosts.evicted()).sum());
        error("windows_jumped", self.interfaces.values().map(|i| i.schedule.jumped).sum());
        report
    }

    /// Interfaces by site and id.
    pub fn interfaces(&self) -> impl Iterator<Item = &InterfaceState> {
        self.interfaces.values()
    }

    /// Loaded scripts.
    pub fn scripts(&self) -> Vec<ScriptInfo> {
        self.registry.infos()
    }

    /// Applies a delta and runs the hooks of the windows it closes.
    pub fn apply(&mut self, delta: &Delta) -> Output {
        let mut output = Output::default();
        if self.ingest.judge(&delta.producer) != Verdict::New {
            return output;
        }
        let key = (delta.producer.site.clone(), delta.producer.ifid);
        let mut state = self.interfaces.remove(&key).unwrap_or_else(|| self.new_interface(delta));
        // Windows that ended before this delta began.
        state.interface.watermark = state.interface.watermark.max(delta.from);
        let closed = state.schedule.close_until(delta.from);
        self.run_windows(&mut state, &closed, &mut output);
        state.apply(delta);
        let mut closed = state.schedule.close_until(delta.watermark);
        if delta.end_of_stream {
            closed.extend(state.schedule.close_all());
        }
        self.run_windows(&mut state, &closed, &mut output);
        self.interfaces.insert(key, state);
        output
    }

    fn new_interface(&self, delta: &Delta) -> InterfaceState {
        InterfaceState {
            interface: Interface::new(&delta.producer),
            hosts: Hosts::new(self.config.host_limits()),
            networks: self.networks.iter().map(|prefix| (prefix, Network::default())).collect(),
            schedule: Schedule::new(self.zone.clone()),
            resume: BTreeMap::new(),
        }
    }

    fn run_windows(&mut self, state: &mut InterfaceState, closed: &[Closed], output: &mut Output) {
        for window in closed {
            // The end of a stream closes windows early: the time that was not seen makes nobody idle.
            let seen = window.at.min(state.interface.watermark);
            for gone in state.hosts.mark_idle(seen) {
                let value = gone.to_string();
                let released = self.alerts.element_gone(state.interface.id, Entity::Host, &value, seen);
                self.tell(released, output);
            }
            for (kind, entity) in [
                (ScriptKind::Interface, Entity::Interface),
                (ScriptKind::Network, Entity::Network),
                (ScriptKind::Host, Entity::Host),
            ] {
                self.run(state, kind, entity, *window, output);
            }
            state.ran(window.granularity);
            if window.granularity == Granularity::Day && seen == window.at {
                state.hosts.forget_idle();
            }
        }
    }

    fn run(
        &mut self,
        state: &mut InterfaceState,
        kind: ScriptKind,
        entity: Entity,
        window: Closed,
        output: &mut Output,
    ) {
        if self.registry.for_element(kind, window.granularity).next().is_none() {
            return;
        }
        let mut elements = self.elements(state, kind, window);
        if let Some(first) = state.resume.remove(&(kind, window.granularity)) {
            let place = elements.iter().position(|element| element.subject.value == first).unwrap_or(0);
            elements.rotate_left(place);
        }
        let (runs, subjects): (Vec<RunElement>, Vec<Subject>) =
            elements.into_iter().map(|element| (element.run, element.subject)).unzip();
        let plan = RunPlan {
            engine: &self.engine,
            registry: &self.registry,
            kind,
            granularity: window.granularity,
            ifid: state.interface.id,
            collected: state.interface.collected,
            when: window.at,
            deadline: Duration::from_millis(self.config.run_deadline_ms),
            quarantine_after: self.quarantine_after,
        };
        let outcome = plan.run(&runs, &mut self.states);
        if let Some(next) = subjects.get(outcome.reached) {
            state.resume.insert((kind, window.granularity), next.value.clone());
            self.count_error("elements_not_reached", (subjects.len() - outcome.reached) as u64);
        }
        *self.report.hooks.entry(window.granularity.name().to_owned()).or_default() += outcome.calls;
        self.carry_out(outcome, state, entity, window, &subjects, output);
    }

    /// The elements of a run, in order.
    fn elements(&self, state: &InterfaceState, kind: ScriptKind, window: Closed) -> Vec<Element> {
        let make = |entity, value: String, info, tally: (BTreeMap<_, _>, BTreeMap<_, _>), local, party| {
            let interface = &state.interface;
            let params = ElementParams {
                granularity: Some(window.granularity),
                entity: Some(entity),
                cur_alerts: self.alerts.current(interface.id, entity, &value),
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
                state.hosts.of_run(granularity, window.at).into_iter().filter_map(element).collect()
            }
            ScriptKind::Flow | ScriptKind::System => Vec::new(),
        }
    }

    fn tell(&mut self, transitions: Vec<Transition>, output: &mut Output) {
        for transition in &transitions {
            let alert = match transition {
                Transition::Engage(engaged) => &engaged.alert,
                Transition::Release(alert) | Transition::Store(alert) => alert,
                Transition::Update(_) => continue,
            };
            let actions = self.report.alerts.entry(alert.alert_type.clone()).or_default();
            *actions.entry(alert.action.to_string()).or_default() += 1;
            if alert.action != shared::model::AlertAction::Release {
                *self.report.alerts_by_severity.entry(alert.severity.to_string()).or_default() += 1;
            }
        }
        output.transitions.extend(transitions);
    }

    fn count_error(&mut self, kind: &str, count: u64) {
        *self.report.errors.entry(kind.to_owned()).or_default() += count;
    }
}

impl InterfaceState {
    fn apply(&mut self, delta: &Delta) {
        self.schedule.data(delta.from);
        let interface = &mut self.interface;
        interface.node.clone_from(&delta.producer.node);
        interface.name.clone_from(&delta.producer.interface);
        interface.collected = delta.interface.collected;
        interface.live_flows = delta.interface.live_flows;
        interface.watermark = interface.watermark.max(delta.watermark);
        interface.tally.add(&delta.interface.counters);
        interface.add_l7(&delta.interface.l7);
        for host in &delta.hosts {
            self.hosts.apply(host, delta.from);
        }
        for network in &delta.networks {
            self.networks.entry(network.network).or_default().tally.add(&network.counters);
        }
    }

    fn ran(&mut self, granularity: Granularity) {
        self.interface.tally.ran(granularity);
        self.hosts.ran(granularity);
        for network in self.networks.values_mut() {
            network.tally.ran(granularity);
        }
    }

    /// Event time up to which the interface is known.
    pub fn watermark(&self) -> Timestamp {
        self.interface.watermark
    }
}

#[cfg(test)]
mod tests;
