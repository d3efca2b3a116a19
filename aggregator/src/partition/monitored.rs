//! Hosts that are probed, as elements of a partition of their own: their alerts, series and scripts.

use std::collections::BTreeMap;

use shared::model::metric::Metric;
use shared::model::{Category, Entity, Granularity, MonitorHost, Timestamp};
use shared::script::ScriptMeta;
use shared::store::series::SampleBatch;
use shared::wire::delta::Producer;

use super::effects::element_id;
use super::elements::{Elements, Missed};
use super::{InterfaceState, MONITORED, Output, Partition, runs};
use crate::alert::Damping;
use crate::element::Watch;
use crate::element::watch::{Level, Round, Wish};
use crate::schedule::Closed;

/// What stands for a script in alerts of probes that no script asked for.
pub const ACTIVE_MONITORING: &str = "active_monitoring";

/// Where there is no interface: name and id in alerts.
const NO_INTERFACE: (&str, u32) = ("system", 0);

/// What an aggregator looks at by itself, beside what collectors tell: hosts that it probes, lines that
/// it is sent. Its time is the wall clock's.
pub struct Station {
    /// Stands for the interface.
    pub(super) state: InterfaceState,
    /// Hosts that are probed, by what identifies them.
    pub(super) watches: BTreeMap<String, Watch>,
    /// The last time that was given to something.
    pub(super) last: Timestamp,
    meta: ScriptMeta,
    numbered: u64,
}

impl Station {
    /// Hosts that are probed.
    pub fn watches(&self) -> impl Iterator<Item = &Watch> {
        self.watches.values()
    }

    /// Hosts whose round begins at `now`.
    pub fn due(&mut self, now: Timestamp) -> Vec<&Watch> {
        self.watches.values_mut().filter_map(|watch| watch.begin(now).then_some(&*watch)).collect()
    }

    /// Other scripts are in force: alerts of those that are gone are to be released.
    pub fn scripts_changed(&mut self) {
        self.state.orphans_released = false;
    }

    /// `now`, or later: no two things have the same time, from which ids are made.
    pub(super) fn next(&mut self, now: Timestamp) -> Timestamp {
        self.last = now.max(self.last.plus_ns(1));
        self.last
    }
}

impl Partition {
    /// A station of a site and a node.
    pub fn station(&self, site: &str, node: &str) -> Station {
        let (interface, ifid) = NO_INTERFACE;
        let producer = Producer {
            site: site.to_owned(),
            node: node.to_owned(),
            ifid,
            interface: interface.to_owned(),
            epoch: 0,
            sequence: 0,
        };
        let meta = ScriptMeta { category: Category::ActiveMonitoring, ..ScriptMeta::new(ACTIVE_MONITORING) };
        let state = self.new_interface(&producer);
        Station { state, watches: BTreeMap::new(), last: Timestamp::ZERO, meta, numbered: 0 }
    }

    /// From now on these hosts are probed. What was engaged of others is released.
    pub fn set_monitored(
        &mut self,
        station: &mut Station,
        hosts: &BTreeMap<String, MonitorHost>,
        now: Timestamp,
    ) -> Output {
        let mut output = Output::default();
        let mut before = std::mem::take(&mut station.watches);
        for (value, host) in hosts {
            let known = before.remove(value);
            let watch = match known {
                Some(mut watch) if watch.is_same(host) => {
                    watch.describe(host.clone());
                    watch
                }
                known => {
                    before.extend(known.map(|watch| (value.clone(), watch)));
                    station.numbered += 1;
                    Watch::new(host.clone(), station.numbered, self.engaged_level(station, host))
                }
            };
            station.watches.insert(value.clone(), watch);
        }
        let place = station.state.place();
        let same = |value: &str, granularity: Granularity| {
            hosts.get(value).is_some_and(|host| host.granularity == granularity)
        };
        let gone = self.alerts.release_elements(
            place,
            Entity::AmHost,
            |value, script, granularity| match script {
                ACTIVE_MONITORING => !same(value, granularity),
                _ => !hosts.contains_key(value),
            },
            now,
        );
        self.tell(gone, &mut output);
        output
    }

    /// What is engaged of a host that was not known so far.
    fn engaged_level(&self, station: &Station, host: &MonitorHost) -> Level {
        let engaged = self.alerts.current(station.state.place(), Entity::AmHost, &host.value());
        let ours = engaged.into_iter().filter(|alert| alert.script == ACTIVE_MONITORING);
        let level = |alert_type: &str| {
            [Level::Warning, Level::Alert].into_iter().find(|level| level.alert_type() == alert_type)
        };
        ours.filter_map(|alert| level(&alert.alert_type)).max().unwrap_or(Level::Well)
    }

    /// A round of probes has ended; `number` tells of which host, if it is still there.
    pub fn end_round(
        &mut self,
        station: &mut Station,
        (value, number): (&str, u64),
        round: Round,
        now: Timestamp,
    ) -> Output {
        let mut output = Output::default();
        let now = station.next(now);
        let Station { state, watches, meta, .. } = station;
        let Some(watch) = watches.get_mut(value).filter(|watch| watch.number == number) else {
            return output;
        };
        let wishes = watch.step(now, round);
        // A round is seen whole, whatever the last run of scripts saw.
        self.alerts.begin_run(false);
        let subject = watch.subject(&state.interface);
        if self.config.time_series.keeps(Entity::AmHost, true) {
            self.noted.put(element_id(&subject), series_of(watch));
        }
        let damping = Damping {
            engage_after: 1,
            hold_seconds: watch.host.hold_s,
            flap_engages: self.config.alerts.flap_engages,
            flap_window_s: self.config.alerts.flap_window_s,
        };
        let granularity = watch.granularity();
        for wish in wishes {
            let told = match wish {
                Wish::Trigger(request) => {
                    self.alerts.trigger(&request, meta, &subject, granularity, now, &damping)
                }
                Wish::Release(level) => {
                    let kind = Some(level.alert_type());
                    self.alerts.release(kind, meta, &subject, granularity, now)
                }
            };
            self.tell(told.into_iter().collect(), &mut output);
        }
        output
    }

    /// Runs the scripts of the periods that have ended by `now`, when this node `leads`.
    pub fn end_periods(&mut self, station: &mut Station, now: Timestamp, leads: bool) -> Output {
        let mut output = Output::default();
        station.state.schedule.data(now);
        station.state.interface.watermark = now;
        let mut closed = station.state.schedule.close_until(now);
        // What was slept through is run once.
        let last = |of: &Closed, all: &[Closed]| {
            !all.iter().any(|c| c.granularity == of.granularity && c.at > of.at)
        };
        let all = closed.clone();
        closed.retain(|window| leads && last(window, &all));
        for window in closed {
            if !std::mem::replace(&mut station.state.orphans_released, true) {
                let runs = runs(&self.registry);
                let known = |script: &str, entity, period| {
                    script == ACTIVE_MONITORING || runs(script, entity, period)
                };
                let released = self.alerts.release_orphans(station.state.place(), known, now);
                drop(runs);
                self.tell(released, &mut output);
            }
            let mut missed = Missed::default();
            if self.registry.for_element(MONITORED.0, window.granularity).next().is_some() {
                let first = station.state.resume.remove(&(MONITORED.0, window.granularity));
                let mut elements = Elements::monitored(station, window, self.config.time_series);
                if let Some(first) = first {
                    elements.begin_at(&first);
                }
                let (health, reached) = self.run_over(&elements, MONITORED, window, &mut output);
                elements.add_missed(reached, &mut missed);
                let next = elements.next_after(reached);
                station.state.health.add(&health);
                if let Some(next) = next {
                    station.state.resume.insert((MONITORED.0, window.granularity), next);
                }
            }
            let cause = format!("station/{}", station.state.interface.node);
            output.samples.extend(self.batch(&station.state, window, &cause, Vec::new()));
            for (value, watch) in &mut station.watches {
                watch.tally.ran(window.granularity, !missed.monitored.contains(value));
            }
        }
        output
    }

    /// What was measured in the minute that is under way: nothing of it is lost by a stop.
    pub fn flush_station(&mut self, station: &Station) -> Option<SampleBatch> {
        let minute = station.state.schedule.minute()?;
        let cause =
            format!("stop/{}/{}", station.state.interface.node, station.state.interface.watermark.ns());
        self.batch(&station.state, minute, &cause, Vec::new())
    }
}

/// What the last round puts into the host's series.
fn series_of(watch: &Watch) -> Vec<(&'static str, Metric)> {
    let Some((_, round)) = &watch.last else { return Vec::new() };
    let up = if round.rtts_us.is_empty() { 0.0 } else { 1.0 };
    let mut series = vec![("up", up), ("loss", round.loss())];
    series.extend(round.rtt_ms().map(|ms| ("rtt", ms)));
    series.extend(round.days_left().map(|days| ("days_left", days)));
    series.into_iter().map(|(name, value)| (name, Metric::once(true, value))).collect()
}

#[cfg(test)]
mod tests;
