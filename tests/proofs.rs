//! Each built-in check is shown to fire on traffic that it is for, and to stay quiet on traffic that
//! looks like it and is not: through the collector's core and, for elements, the summaries on the wire
//! and the aggregator's core. `docs/checks.md` names the tests.

use aggregator::config::AggregatorConfig;
use aggregator::partition::Partition;
use shared::geo::GeoBases;
use shared::model::Alert;
use shared::script::engine::ScriptEngine;
use shared::script::lists::List;
use shared::script::registry::Registry;
use shared::store::Transition;
use shared::wire::delta::Delta;

use crate::support::mmdb::{self, Mmdb};
use crate::support::traffic::{Watching, Wire, networks};

/// `check [settings]: traffic on which it fires, traffic on which it is quiet;` becomes two tests.
macro_rules! proofs {
    ($($check:ident [$($method:ident($($argument:expr),*)),*]: $fires:expr, $quiet:expr;)+) => {
        /// The checks that are proved here.
        pub const CHECKS: &[&str] = &[$(stringify!($check)),+];

        $(mod $check {
            use super::*;

            #[test]
            fn fires() {
                let proof = Proof::of(stringify!($check))$(.$method($($argument),*))*;
                assert!(!proof.alerts($fires).is_empty());
            }

            #[test]
            fn stays_quiet() {
                let proof = Proof::of(stringify!($check))$(.$method($($argument),*))*;
                let alerts = proof.alerts($quiet);
                assert!(alerts.is_empty(), "{alerts:?}");
            }
        })+
    };
}

mod attacks;
mod elements;
mod floods;
mod industry;
mod lists;
mod logs;
mod moves;
pub mod show;
mod tls;

/// Every check that is proved, with the module of its two tests.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let modules = [
        ("attacks", attacks::CHECKS),
        ("elements", elements::CHECKS),
        ("floods", floods::CHECKS),
        ("industry", industry::CHECKS),
        ("lists", lists::CHECKS),
        ("logs", logs::CHECKS),
        ("moves", moves::CHECKS),
        ("tls", tls::CHECKS),
    ];
    modules.into_iter().flat_map(|(module, checks)| checks.iter().map(move |check| (*check, module)))
}

/// One check, alone on a wire.
pub struct Proof {
    check: &'static str,
    watching: Watching,
    loses: Option<usize>,
    hosts: usize,
    deadline_ms: u64,
    disk: Option<u64>,
}

impl Proof {
    /// The check with its own configuration.
    pub fn of(check: &'static str) -> Self {
        let watching = Watching { only: Some(check.to_owned()), ..Watching::default() };
        Self { check, watching, loses: None, hosts: 10_000, deadline_ms: 60_000, disk: None }
    }

    /// Another configuration, as JSON.
    pub fn config(mut self, json: &str) -> Self {
        self.watching.configs.insert(self.check.to_owned(), serde_json::from_str(json).unwrap());
        self
    }

    /// A list.
    pub fn list(mut self, name: &str, text: &str) -> Self {
        let mut list = List::default();
        list.add(text);
        self.watching.lists.insert(name, list);
        self
    }

    /// Databases of places, in which the usual server is in New Zealand.
    pub fn places(mut self) -> Self {
        self.watching.geo = places();
        self
    }

    /// The wire carries export datagrams.
    pub fn collects(mut self) -> Self {
        self.watching.collects = true;
        self
    }

    /// This built-in script runs beside the check: for checks of what others do.
    pub fn beside(mut self, script: &str) -> Self {
        self.watching.beside = Some((script.to_owned(), None));
        self
    }

    /// This host script runs beside the check.
    pub fn beside_one_that(mut self, min: &str) -> Self {
        let text = format!("#{{ kind: \"host\", hooks: #{{ min: |params| {{ {min} }} }} }}");
        self.watching.beside = Some(("beside".to_owned(), Some(text)));
        self
    }

    /// Room for so many flows.
    pub fn flows(mut self, flows: usize) -> Self {
        self.watching.max_flows = Some(flows);
        self
    }

    /// A run may take so many milliseconds.
    pub fn deadline(mut self, milliseconds: u64) -> Self {
        self.deadline_ms = milliseconds;
        self
    }

    /// A disk of so many bytes, on which everything that is seen is kept.
    pub fn disk(mut self, size: u64) -> Self {
        self.disk = Some(size);
        self
    }

    /// Of the summaries, this one gets lost.
    pub fn loses(mut self, number: usize) -> Self {
        self.loses = Some(number);
        self
    }

    /// Room for so many hosts.
    pub fn hosts(mut self, hosts: usize) -> Self {
        self.hosts = hosts;
        self
    }

    /// The alerts of the check, stored and engaged, on what `show` shows.
    pub fn alerts(&self, show: impl FnOnce(&mut Wire)) -> Vec<Alert> {
        let mut alerts = self.all_alerts(show);
        alerts.retain(|alert| alert.script == self.check);
        alerts
    }

    /// The same with those of what runs beside it.
    pub fn all_alerts(&self, show: impl FnOnce(&mut Wire)) -> Vec<Alert> {
        let mut wire = Wire::watched(&self.watching);
        show(&mut wire);
        let (mut alerts, mut summaries) = wire.end();
        // Only what something comes after is missed.
        if let Some(number) = self.loses.filter(|number| number + 1 < summaries.len()) {
            summaries.remove(number);
        }
        let mut partition = self.partition();
        let mut kept = 0;
        for delta in summaries {
            kept += delta.interface.counters.bytes;
            if let Some(size) = self.disk {
                partition.observe(&[("disk_free", size.saturating_sub(kept)), ("disk_size", size)]);
            }
            // As it comes over the wire.
            let output = partition.apply(&Delta::decode(&delta.encode()).unwrap());
            alerts.extend(output.transitions.into_iter().filter_map(|transition| match transition {
                Transition::Engage(engaged) => Some(engaged.alert),
                Transition::Store(alert) => Some(alert),
                Transition::Update(_) | Transition::Worsen(..) | Transition::Release(_) => None,
            }));
        }
        alerts
    }

    fn partition(&self) -> Partition {
        let setup = self.watching.setup();
        let engine = ScriptEngine::new(setup.limits.clone());
        engine.set_lists(setup.lists.clone());
        let (registry, errors) = Registry::load(&engine, setup.sources.clone(), &setup.settings);
        assert!(errors.is_empty(), "{errors:?}");
        let (max_hosts, run_deadline_ms) = (self.hosts, self.deadline_ms);
        let config = AggregatorConfig { max_hosts, run_deadline_ms, ..AggregatorConfig::default() };
        Partition::new(0, engine, registry, &setup, config, networks(), Vec::new())
    }
}

/// Databases of two networks of documentation.
pub fn places() -> GeoBases {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, mmdb: Mmdb| {
        let path = dir.path().join(name);
        std::fs::write(&path, mmdb.bytes()).unwrap();
        path
    };
    GeoBases::load(&[write("city", mmdb::city()), write("asn", mmdb::asn())]).unwrap()
}
