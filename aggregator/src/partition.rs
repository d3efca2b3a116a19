//! The state of one partition: its interfaces, their elements and alerts. Pure over the script
//! engine: a delta goes in, and what it causes comes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use shared::geo::GeoCache;
use shared::model::{AlertAction, Entity, Granularity, HostPools, LocalNetworks, SystemCounters, Timestamp};
use shared::script::ScriptKind;
use shared::script::engine::ScriptEngine;
use shared::script::registry::{Entry, Registry, ScriptSetup};
use shared::store::memory::Remembered;
use shared::store::{EngagedAlert, Transition};
use shared::wire::delta::{Delta, Producer};

use crate::alert::AlertState;
use crate::config::AggregatorConfig;
use crate::ingest::{Ingest, Verdict};
use crate::report::{AggregatorReport, RunCounts};
use crate::run::{RunPlan, ScriptStates};
use crate::schedule::Closed;

mod effects;
mod elements;
mod host_events;
mod interface;
mod log_lines;
mod monitored;
mod on_demand;
mod output;
pub(crate) mod saved;
mod series;
mod stale;

pub use monitored::{ACTIVE_MONITORING, Station};
pub use on_demand::{CallRow, RunAnswer, RunRequest};
pub use output::Output;

pub use interface::{Batches, InterfaceState};

use elements::{Elements, Missed};
use host_events::{ACTIVE, IDLE, are_told_of};
use output::timer_event;
use series::Noted;

/// The latest time that is taken for one: 2200-01-01T00:00:00Z.
const LATEST: Timestamp = Timestamp::from_secs(7_258_118_400);

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

    /// Applies a delta and runs the hooks of the windows it closes.
    pub fn apply(&mut self, delta: &Delta) -> Output {
        let mut output = Output::default();
        let plausible = Timestamp::ZERO..=LATEST;
        if ![delta.from, delta.to, delta.watermark].iter().all(|time| plausible.contains(time)) {
            // One such watermark would close every window there will ever be.
            self.count_error("delta_times_implausible", 1);
            return output;
        }
        let (missing, refused) = (self.ingest.missing(), self.alerts.refused);
        match self.ingest.judge(&delta.producer) {
            Verdict::New => {}
            Verdict::Stale(first) => {
                self.refuse_stale(delta, first, &mut output);
                return output;
            }
            Verdict::Duplicate | Verdict::Late => return output,
        }
        let key = (delta.producer.site.clone(), delta.producer.ifid);
        let mut state = self.interfaces.remove(&key).unwrap_or_else(|| self.new_interface(&delta.producer));
        if state.begins_anew(delta) {
            self.alerts.begin_anew(state.place());
            state = self.new_interface(&delta.producer);
        }
        state.levels = Arc::clone(&self.levels);
        if state.interface.node != delta.producer.node {
            // Of one site, two nodes whose interfaces have the same id are taken for one interface.
            self.count_error("interface_changed_node", 1);
        }
        let cause = {
            let Producer { node, epoch, sequence, .. } = &delta.producer;
            format!("{node}/{epoch}/{sequence}")
        };
        // Windows that ended before this delta began.
        state.interface.watermark = state.interface.watermark.max(delta.from);
        let closed = state.schedule.close_until(delta.from);
        self.run_windows(&mut state, &closed, &cause, &mut output);
        // A late batch makes them fewer; what was told to be missing stays told.
        let now_missing = self.ingest.missing();
        state.health.total.summaries_missing += now_missing.saturating_sub(missing);
        state.counts_batch(&delta.producer.node, now_missing.cast_signed() - missing.cast_signed());
        for (key, before) in state.apply(delta, &mut self.geo, self.hosts_told) {
            if let Some(host) = state.hosts.get(key) {
                let (interface, at) = (&state.interface, delta.from);
                output.events.push(host_events::draft(interface, key, host, ACTIVE, before, at));
            }
        }
        self.note_of_flows(&state, delta);
        let mut closed = state.schedule.close_until(delta.watermark);
        if delta.end_of_stream {
            closed.extend(state.schedule.close_all());
        }
        self.run_windows(&mut state, &closed, &cause, &mut output);
        state.health.total.alerts_refused += self.alerts.refused - refused;
        self.interfaces.insert(key, state);
        output.caused_by(delta.traceparent.as_deref());
        output
    }

    fn run_windows(
        &mut self,
        state: &mut InterfaceState,
        closed: &[Closed],
        cause: &str,
        output: &mut Output,
    ) {
        for window in closed {
            // The end of a stream closes windows early: the time that was not seen makes nobody idle.
            let seen = window.at.min(state.interface.watermark);
            if !std::mem::replace(&mut state.orphans_released, true) {
                let released = self.alerts.release_orphans(state.place(), runs(&self.registry), seen);
                self.tell(released, output);
            }
            for gone in state.hosts.mark_idle(seen) {
                let value = gone.to_string();
                let released = self.alerts.element_gone(state.place(), Entity::Host, &value, seen);
                self.tell(released, output);
                if let Some(host) = state.hosts.get(gone).filter(|_| are_told_of(gone, self.hosts_told)) {
                    let (interface, before) = (&state.interface, Some(ACTIVE));
                    output.events.push(host_events::draft(interface, gone, host, IDLE, before, seen));
                }
            }
            let mut missed = Missed::default();
            for (kind, entity) in KINDS {
                self.run(state, kind, entity, *window, &mut missed, output);
            }
            output.samples.extend(self.sample(state, *window, cause));
            state.ran(window.granularity, &mut missed);
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
        missed: &mut Missed,
        output: &mut Output,
    ) {
        if self.registry.for_element(kind, window.granularity).next().is_none() {
            return;
        }
        let first = state.resume.remove(&(kind, window.granularity));
        let mut elements = Elements::new(state, kind, window, self.config.time_series);
        if let Some(first) = first {
            elements.begin_at(&first);
        }
        let (health, reached) = self.run_over(&elements, (kind, entity), window, output);
        output.events.push(timer_event(&elements, entity, window, reached));
        elements.add_missed(reached, missed);
        let next = elements.next_after(reached);
        state.health.add(&health);
        if let Some(next) = next {
            state.resume.insert((kind, window.granularity), next);
        }
    }

    /// Calls the scripts of a kind for these elements, and carries out what they ask for. Tells how it
    /// went, and how many elements were reached, in the order of the run.
    fn run_over(
        &mut self,
        elements: &Elements<'_>,
        (kind, entity): (ScriptKind, Entity),
        window: Closed,
        output: &mut Output,
    ) -> (SystemCounters, usize) {
        let interface = &elements.state.interface;
        let plan = RunPlan {
            engine: &self.engine,
            registry: &self.registry,
            kind,
            granularity: window.granularity,
            only: None,
            site: &interface.site,
            ifid: interface.id,
            interface: &interface.name,
            collected: interface.collected,
            when: window.at,
            deadline: self.config.run_deadline(window.granularity),
            quarantine_after: self.quarantine_after,
            pools: &self.pools,
        };
        let outcome =
            plan.run(elements.len(), |n| elements.get(n, &self.alerts, &self.pools), &mut self.states);
        let reached = outcome.reached;
        let missed = (elements.len() - reached) as u64;
        let runs = RunCounts {
            runs: 1,
            reached: reached as u64,
            missed,
            micros: u64::try_from(outcome.took.as_micros()).unwrap_or(u64::MAX),
        };
        let (period, name) = (window.granularity.name().to_owned(), kind.name().to_owned());
        self.report.runs.entry((period, name)).or_default().add(&runs);
        let (errors, quarantined) = (outcome.errors.values().sum::<u64>(), outcome.quarantined.len() as u64);
        *self.report.hooks.entry(window.granularity.name().to_owned()).or_default() += outcome.calls;
        self.carry_out(outcome, entity, window, elements, output);
        if missed > 0 {
            self.count_error("elements_not_reached", missed);
        }
        let health = SystemCounters {
            elements_not_reached: missed,
            script_errors: errors,
            scripts_quarantined: quarantined,
            ..SystemCounters::default()
        };
        (health, reached)
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
