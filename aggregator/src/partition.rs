//! The state of one partition: its interfaces, their elements and alerts. Pure over the script
//! engine: a delta goes in, and what it causes comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use shared::geo::GeoCache;
use shared::model::{AlertAction, Entity, Granularity, HostPools, LocalNetworks};
use shared::script::ScriptKind;
use shared::script::engine::ScriptEngine;
use shared::script::registry::{Entry, Registry, ScriptSetup};
use shared::store::memory::Remembered;
use shared::store::{EngagedAlert, Transition};

use crate::alert::AlertState;
use crate::config::AggregatorConfig;
use crate::ingest::Ingest;
use crate::report::AggregatorReport;
use crate::run::ScriptStates;

mod effects;
mod elements;
mod host_events;
mod interface;
mod log_lines;
mod monitored;
mod on_demand;
mod output;
mod running;
pub(crate) mod saved;
mod series;
mod stale;
mod step;
mod walk;

pub use monitored::{ACTIVE_MONITORING, Station};
pub use on_demand::{CallRow, RunAnswer, RunRequest};
pub use output::Output;

pub use interface::{Batches, InterfaceState};

use series::Noted;
use step::UnderWay;

/// Kinds of elements, in the order in which they run.
const KINDS: [(ScriptKind, Entity); 4] = [
    (ScriptKind::Interface, Entity::Interface),
    (ScriptKind::Network, Entity::Network),
    (ScriptKind::Host, Entity::Host),
    // Last: it sees how the others went.
    (ScriptKind::System, Entity::System),
];

/// Hosts that are probed; they run by themselves.
const MONITORED: (ScriptKind, Entity) = (ScriptKind::ActiveMonitoring, Entity::AmHost);

/// The state of one partition.
pub struct Partition {
    number: u32,
    engine: ScriptEngine,
    registry: Registry,
    quarantine_after: u32,
    pools: Arc<HostPools>,
    config: AggregatorConfig,
    zone: TimeZone,
    networks: Arc<LocalNetworks>,
    /// Where addresses are.
    geo: GeoCache,
    alerts: AlertState,
    ingest: Ingest,
    states: ScriptStates,
    interfaces: BTreeMap<(String, u32), InterfaceState>,
    noted: Noted,
    report: AggregatorReport,
    /// Of one in so many hosts events are told; 0 is of none.
    hosts_told: u32,
    /// How full the process around it is, by names of [`SYSTEM_LEVELS`](shared::model::entity_field).
    levels: Arc<[(&'static str, u64)]>,
    /// How far a delta has been gone through that takes more than one slice.
    under_way: Option<UnderWay>,
    /// Runs end now, as at their deadline.
    hurried: bool,
}

impl Partition {
    /// A partition without interfaces; `engaged` is what was engaged before a restart.
    pub fn new(
        number: u32,
        engine: ScriptEngine,
        registry: Registry,
        setup: &ScriptSetup,
        config: AggregatorConfig,
        networks: Arc<LocalNetworks>,
        engaged: Vec<EngagedAlert>,
    ) -> Self {
        let zone = config.zone().unwrap_or(TimeZone::UTC);
        let limits = config.alerts.limits();
        Self {
            number,
            engine,
            registry,
            quarantine_after: setup.limits.quarantine_after,
            pools: Arc::clone(&setup.pools),
            config,
            zone,
            networks,
            geo: GeoCache::new(setup.geo.clone()),
            alerts: AlertState::new(number, engaged).with_limits(limits).with_exclusions(setup),
            ingest: Ingest::default(),
            states: ScriptStates::default(),
            interfaces: BTreeMap::new(),
            noted: Noted::default(),
            report: AggregatorReport::default(),
            hosts_told: 0,
            levels: Arc::default(),
            under_way: None,
            hurried: false,
        }
    }

    /// The same, telling events of one in so many hosts.
    #[must_use]
    pub fn telling_hosts(self, one_in: u32) -> Self {
        Self { hosts_told: one_in, ..self }
    }

    /// How full the process around it is now, for scripts of the system.
    pub fn observe(&mut self, levels: &[(&'static str, u64)]) {
        self.levels = levels.into();
    }

    /// Puts back what scripts remembered before a restart.
    pub fn recall(&mut self, remembered: Vec<Remembered>) {
        self.states.recall(remembered);
    }

    /// Takes on other scripts. What has not changed keeps its state; alerts of what is no more are
    /// released with the next run.
    pub fn reload_scripts(&mut self, setup: &ScriptSetup) {
        self.engine.set_lists(setup.lists.clone());
        if self.geo.set(&setup.geo) {
            self.interfaces.values_mut().for_each(|interface| interface.hosts.forget_places());
        }
        self.pools = Arc::clone(&setup.pools);
        self.alerts.set_exclusions(setup);
        // What is wrong with scripts was told by whoever changed them.
        let (registry, _) = Registry::of_setup_again(&self.engine, setup, &self.registry);
        let before = std::mem::replace(&mut self.registry, registry);
        let same = |entry: &Entry| self.registry.scripts().iter().any(|other| other.is_same(entry));
        let changed = before.scripts().iter().filter(|entry| !same(entry));
        let changed: Vec<String> = changed.map(|entry| entry.script.meta().key.clone()).collect();
        self.states.forget(&changed);
        for interface in self.interfaces.values_mut() {
            interface.orphans_released = false;
        }
    }

    /// What this partition has done.
    pub fn report(&self) -> AggregatorReport {
        let mut report = self.report.clone();
        report.noted.clone_from(&self.noted.totals);
        let mut error = |kind: &str, count: u64| {
            if count > 0 {
                *report.errors.entry(kind.to_owned()).or_default() += count;
            }
        };
        error("delta_gaps", self.ingest.missing());
        error("delta_duplicates", self.ingest.duplicates);
        error("summaries_stale", self.ingest.stale);
        error("alerts_refused", self.alerts.refused);
        error("hosts_evicted", self.interfaces.values().map(|i| i.hosts.evicted()).sum());
        error("windows_jumped", self.interfaces.values().map(|i| i.schedule.jumped).sum());
        report
    }

    /// Interfaces by site and id.
    pub fn interfaces(&self) -> impl Iterator<Item = &InterfaceState> {
        self.interfaces.values()
    }

    /// Takes what the store has for what is engaged.
    pub fn reconcile(&mut self, engaged: Vec<EngagedAlert>) {
        self.alerts.reconcile(engaged);
    }

    /// Engaged alerts and hosts kept.
    pub fn levels(&self) -> (u64, u64) {
        let hosts: usize = self.interfaces.values().map(|interface| interface.hosts.len()).sum();
        (self.alerts.len() as u64, hosts as u64)
    }

    fn tell(&mut self, transitions: Vec<Transition>, output: &mut Output) {
        for transition in &transitions {
            let (alert, action) = match transition {
                Transition::Engage(engaged) => (&engaged.alert, AlertAction::Engage),
                Transition::Worsen(engaged, _) => (&engaged.alert, AlertAction::Update),
                Transition::Release(alert) | Transition::Store(alert) => (alert, alert.action),
                Transition::Update(_) => continue,
            };
            let actions = self.report.alerts.entry(alert.alert_type.clone()).or_default();
            *actions.entry(action.to_string()).or_default() += 1;
            if matches!(action, AlertAction::Engage | AlertAction::Store) {
                *self.report.alerts_by_severity.entry(alert.severity.to_string()).or_default() += 1;
            }
        }
        output.transitions.extend(transitions);
    }

    fn count_error(&mut self, kind: &str, count: u64) {
        *self.report.errors.entry(kind.to_owned()).or_default() += count;
    }
}

/// Tells whether a script is still called for elements of an entity and a period.
fn runs(registry: &Registry) -> impl Fn(&str, Entity, Granularity) -> bool + '_ {
    move |script, entity, granularity| {
        let mut kinds = KINDS.iter().chain([&MONITORED]);
        let kind = kinds.find(|(_, of)| *of == entity).map(|(kind, _)| *kind);
        if granularity == Granularity::Aperiodic {
            // Called by hand: it may be again.
            let mut metas = registry.scripts().iter().map(|entry| entry.script.meta());
            return metas.any(|meta| meta.key == script && Some(meta.kind) == kind);
        }
        let mut entries = kind.into_iter().flat_map(|kind| registry.for_element(kind, granularity));
        entries.any(|entry| entry.script.meta().key == script)
    }
}

#[cfg(test)]
mod tests;
