//! What elements counted in a window goes into their time series.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use shared::model::metric::{Metric, Metrics, add_metrics};
use shared::model::packed::Packed;
use shared::model::{Entity, Granularity, HostCounters, HostKey, Timestamp};
use shared::store::series::{ElementId, Sample, SampleBatch};
use shared::wire::delta::{Delta, L7Counters};

use super::elements::SYSTEM;
use super::{InterfaceState, Partition};
use crate::config::TimeSeriesConfig;
use crate::element::{Counters, Tally};
use crate::schedule::Closed;

/// Names that the scripts of one partition may give to numbers altogether.
const MAX_NAMES: usize = 10_000;

/// What scripts noted since the last sample, by element.
#[derive(Debug, Default)]
pub(super) struct Noted {
    pub(super) elements: BTreeMap<ElementId, Metrics>,
    /// What was noted under each name since the start.
    pub totals: Metrics,
}

impl Noted {
    /// Adds a number; false when there are too many names.
    pub(super) fn add(&mut self, element: ElementId, name: String, metric: Metric) -> bool {
        if self.totals.len() >= MAX_NAMES && !self.totals.contains_key(&name) {
            return false;
        }
        self.totals.entry(name.clone()).or_default().add(&metric);
        self.elements.entry(element).or_default().entry(name).or_default().add(&metric);
        true
    }
}

impl Noted {
    /// Adds levels of an element that no script noted.
    pub(super) fn put(&mut self, element: ElementId, levels: Vec<(&'static str, Metric)>) {
        let levels = levels.into_iter().map(|(name, metric)| (name.to_owned(), metric));
        add_metrics(self.elements.entry(element).or_default(), levels.collect());
    }
}

/// What was counted under names since the last minute.
#[derive(Debug, Default)]
pub(super) struct Named(pub(super) Metrics);

impl Named {
    /// Adds how many batches of a node have come, and how many more are known not to have come; negative when
    /// one comes late. The sums over all windows are right, whenever each has come.
    pub(super) fn add_batches(&mut self, node: &str, received: u64, missing: i64) {
        let (received, missing) = (received as f64, missing as f64);
        for (name, count) in [("expected", received + missing), ("received", received), ("missing", missing)]
        {
            let metric = Metric { gauge: false, sum: count, count: 1 };
            for key in [format!("batches.{name}"), format!("batches.{node}.{name}")] {
                self.0.entry(key).or_default().add(&metric);
            }
        }
    }

    /// Adds flows and bytes of layer-7 protocols.
    pub(super) fn add_l7(&mut self, l7: &BTreeMap<String, L7Counters>) {
        for (name, counters) in l7 {
            for (what, count) in [("flows", counters.flows), ("bytes", counters.bytes)] {
                let metric = Metric { gauge: false, sum: count as f64, count: 1 };
                self.0.entry(format!("l7.{name}.{what}")).or_default().add(&metric);
            }
        }
    }
}

impl Partition {
    /// What flow scripts noted is the interface's.
    pub(super) fn note_of_flows(&mut self, state: &InterfaceState, delta: &Delta) {
        for (name, metric) in &delta.interface.metrics {
            let InterfaceState { interface, .. } = state;
            let (site, value) = (interface.site.clone(), interface.name.clone());
            let element = ElementId { site, ifid: interface.id, entity: Entity::Interface, value };
            if !self.noted.add(element, name.clone(), *metric) {
                self.count_error("script_names_refused", 1);
            }
        }
    }

    /// What is kept of a window that has ended; `cause` is the same whenever its delta comes.
    pub(super) fn sample(
        &mut self,
        state: &mut InterfaceState,
        window: Closed,
        largest: Largest,
        cause: &str,
    ) -> Option<SampleBatch> {
        let config = &self.config.time_series;
        let samples = match window.granularity {
            // The longer windows are these minutes, added up.
            Granularity::Min => state.minute(config, largest),
            _ => Vec::new(),
        };
        self.batch(state, window, cause, samples)
    }

    /// These samples, and what was noted since the last ones.
    pub(super) fn batch(
        &mut self,
        state: &InterfaceState,
        window: Closed,
        cause: &str,
        mut samples: Vec<Sample>,
    ) -> Option<SampleBatch> {
        let of_scripts = std::mem::take(&mut self.noted.elements).into_iter();
        samples.extend(of_scripts.map(|(element, metrics)| Sample {
            element,
            counters: Packed::default(),
            metrics,
        }));
        if samples.is_empty() {
            return None;
        }
        let (site, ifid) = (&state.interface.site, state.interface.id);
        let key = format!("{site}/{ifid}/{cause}/{}/{}", window.granularity.name(), window.at.ns());
        let inside = window.at.plus_ns(-1);
        let periods = Granularity::PERIODS.into_iter().filter(|period| *period >= window.granularity);
        let windows = periods.map(|period| (period, period.next_boundary(inside, &self.zone))).collect();
        Some(SampleBatch { key, windows, samples })
    }

    /// What was counted in the minutes that are under way: nothing of it is lost by a stop.
    pub fn flush(&mut self) -> Vec<SampleBatch> {
        let mut interfaces = std::mem::take(&mut self.interfaces);
        let mut batches = Vec::new();
        for state in interfaces.values_mut() {
            let Some(minute) = state.schedule.minute() else { continue };
            let cause = format!("stop/{}/{}", state.interface.node, state.interface.watermark.ns());
            let (config, mut largest) =
                (&self.config.time_series, Largest::new(self.config.time_series.max_hosts));
            state.look_for_largest(config, minute.from, None, usize::MAX, &mut largest);
            batches.extend(self.sample(state, minute, largest, &cause));
            state.sampled();
        }
        self.interfaces = interfaces;
        batches
    }
}

impl InterfaceState {
    /// Looks for the hosts of which the series tell, among at most `most` behind one; gives the last of them,
    /// unless there are no more.
    pub(super) fn look_for_largest(
        &self,
        config: &TimeSeriesConfig,
        from: Timestamp,
        after: Option<HostKey>,
        most: usize,
        largest: &mut Largest,
    ) -> Option<HostKey> {
        if !config.local_hosts && !config.remote_hosts {
            return None;
        }
        let (mut seen, mut last) = (0, None);
        for (key, host) in self.hosts.behind(after, most) {
            (seen, last) = (seen + 1, Some(*key));
            if config.keeps(Entity::Host, host.local) && host.last_counted >= from {
                largest.add(bytes_in_minute(&host.tally), *key);
            }
        }
        last.filter(|_| seen == most)
    }

    /// What each element has counted since the last minute.
    fn minute(&mut self, config: &TimeSeriesConfig, largest: Largest) -> Vec<Sample> {
        let named = std::mem::take(&mut self.named).0;
        let (site, ifid) = (self.interface.site.clone(), self.interface.id);
        let id = |entity, value: String| ElementId { site: site.clone(), ifid, entity, value };
        let sample =
            |entity, value, counters, metrics| Sample { element: id(entity, value), counters, metrics };
        let mut samples = Vec::new();
        if config.interfaces {
            let mut metrics = named;
            let level = Metric::once(true, self.interface.live_flows as f64);
            add_metrics(&mut metrics, Metrics::from([("live_flows".to_owned(), level)]));
            let name = self.interface.name.clone();
            samples.push(sample(Entity::Interface, name, grown(&self.interface.tally), metrics));
        }
        if config.networks {
            let networks = self.networks.iter();
            let networks = networks.map(|(prefix, network)| (prefix.to_string(), grown(&network.tally)));
            samples.extend(networks.map(|(name, n)| sample(Entity::Network, name, n, Metrics::new())));
        }
        if config.local_hosts || config.remote_hosts {
            let kept = largest.keys().into_iter().filter_map(|key| Some((key, self.hosts.get(key)?)));
            let counted = kept.map(|(key, host)| (key.to_string(), grown(&host.tally)));
            samples.extend(counted.map(|(name, n)| sample(Entity::Host, name, n, Metrics::new())));
        }
        if config.system {
            samples.push(sample(Entity::System, SYSTEM.to_owned(), grown(&self.health), Metrics::new()));
        }
        samples.retain(|sample| !sample.counters.is_empty() || !sample.metrics.is_empty());
        samples
    }
}

/// The hosts with the most bytes, found without keeping all of them.
#[derive(Default)]
pub(super) struct Largest {
    most: usize,
    heap: BinaryHeap<Reverse<(u64, Reverse<HostKey>)>>,
}

impl Largest {
    pub(super) fn new(most: usize) -> Self {
        Self { most, heap: BinaryHeap::new() }
    }

    fn add(&mut self, bytes: u64, key: HostKey) {
        let host = Reverse((bytes, Reverse(key)));
        if self.heap.len() < self.most {
            self.heap.push(host);
        } else if let Some(mut least) = self.heap.peek_mut().filter(|least| **least > host) {
            *least = host;
        }
    }

    /// In order of the addresses.
    fn keys(self) -> Vec<HostKey> {
        let mut keys: Vec<HostKey> = self.heap.into_iter().map(|Reverse((_, Reverse(key)))| key).collect();
        keys.sort_unstable();
        keys
    }
}

fn bytes_in_minute(tally: &Tally<HostCounters>) -> u64 {
    let HostCounters { bytes_sent, bytes_rcvd, .. } = tally.since_sample();
    bytes_sent.saturating_add(bytes_rcvd)
}

fn grown<C: Counters>(tally: &Tally<C>) -> Packed {
    tally.since_sample().pack()
}
