//! One script over one capture, with both cores in this thread and nothing around them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use aggregator::partition::{Output, Partition};
use aggregator::syslog::parse;
use collector::pipeline::Item;
use shared::clock::{Clock, SystemClock};
use shared::model::{AlertAction, FlowRecord, LocalNetworks};
use shared::script::LogEvent;
use shared::script::engine::ScriptEngine;
use shared::script::observer::Observer;
use shared::script::registry::{Registry, ScriptSettings, ScriptSetup};
use shared::script::source::ScriptSource;
use shared::store::Transition;

use crate::cli::flows;
use crate::config::Config;
use crate::exit::{self, Failure};

/// How often there was something, by its name.
pub type Counts = BTreeMap<String, u64>;

/// What came of it.
pub struct Trial {
    /// Alerts stored and engaged, by type.
    pub alerts: BTreeMap<String, u64>,
    /// The capture's flows.
    pub flows: Vec<FlowRecord>,
    /// What the aggregator's core knows at the end of it.
    pub partition: Partition,
}

/// The configuration with one script, every hook of which is on.
pub fn alone(source: &ScriptSource, settings: ScriptSettings, config: &Config) -> Result<Config, Failure> {
    let engine = ScriptEngine::new(config.scripts.limits.clone());
    let key = engine.compile(source).map_err(Failure::config)?.meta().key.clone();
    let mut config = config.clone();
    config.scripts.settings = BTreeMap::from([(key, ScriptSettings { enabled: Some(true), ..settings })]);
    // Nobody waits for it, and whoever watches it has it interpreted, which costs more than it would cost.
    config.scripts.limits.operations_per_second = u64::MAX;
    config.scripts.limits.costly_operations_per_second = u64::MAX;
    Ok(config)
}

/// The aggregator's core with one script.
pub fn partition(
    source: &ScriptSource,
    config: &Config,
    observer: &dyn Fn() -> Option<Observer>,
) -> Result<Partition, Failure> {
    let engine = ScriptEngine::new(config.scripts.limits.clone());
    let (registry, _) = Registry::load(&engine, vec![source.clone()], &config.scripts.settings);
    if let Some(observer) = observer() {
        engine.observe(observer);
    }
    let prefixes = config.node.local_networks.iter().filter_map(|network| network.parse().ok());
    let networks = Arc::new(LocalNetworks::new(prefixes));
    let geo = crate::node::geo_bases(config)?;
    let setup = ScriptSetup { limits: config.scripts.limits.clone(), geo, ..ScriptSetup::default() };
    Ok(Partition::new(0, engine, registry, &setup, config.aggregator.clone(), networks, Vec::new()))
}

/// The lines of a file, each as if this machine had sent it now; of one that is none of syslog, what is wrong.
pub fn events(log: &Path) -> Result<Vec<Result<LogEvent, String>>, Failure> {
    let text = std::fs::read(log)
        .map_err(|error| Failure::new(exit::INPUT, anyhow::anyhow!("{}: {error}", log.display())))?;
    let read = |line| parse::line(IpAddr::V4(Ipv4Addr::LOCALHOST), line, SystemClock.now());
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(|line| read(line).map_err(|cause| cause.to_string())).collect())
}

/// Runs `source` over the lines of a file, each as if this machine had sent it now. Gives alerts by type,
/// and the lines that are none of syslog, by what is wrong.
pub fn lines(
    source: &ScriptSource,
    log: &Path,
    settings: ScriptSettings,
    config: &Config,
    observer: &dyn Fn() -> Option<Observer>,
) -> Result<(Counts, Counts), Failure> {
    let config = alone(source, settings, config)?;
    let mut partition = partition(source, &config, observer)?;
    let mut station = partition.station(&config.node.site, "test");
    let (mut alerts, mut malformed) = (Counts::new(), Counts::new());
    for event in events(log)? {
        match event {
            Err(cause) => *malformed.entry(cause).or_default() += 1,
            Ok(event) => {
                let mut output = Output::default();
                partition.log_line(&mut station, &event, &mut output);
                for transition in output.transitions {
                    if let Transition::Store(alert) = transition {
                        *alerts.entry(alert.alert_type).or_default() += 1;
                    }
                }
            }
        }
    }
    Ok((alerts, malformed))
}

/// Runs `source` over `capture`, every hook on; `observer` makes who watches the calls. With `keep`,
/// the flows are kept.
pub fn run(
    source: &ScriptSource,
    capture: &Path,
    settings: ScriptSettings,
    config: &Config,
    observer: &dyn Fn() -> Option<Observer>,
    keep: bool,
) -> Result<Trial, Failure> {
    let config = alone(source, settings, config)?;
    let (mut pipeline, failed) = flows::pipeline(&config, vec![source.clone()], true, true, observer())?;
    if let Some(error) = failed {
        return Err(Failure::config(error));
    }
    let partition = partition(source, &config, observer)?;
    let mut trial = Trial { alerts: Counts::new(), flows: Vec::new(), partition };
    let mut file = collector::capture::files::open(&[capture.to_owned()])?;
    let read = collector::offline::run(&mut *file, &mut pipeline, |item| match item {
        Item::Alert(alert) => *trial.alerts.entry(alert.alert_type).or_default() += 1,
        Item::Delta(delta) => {
            for transition in trial.partition.apply(&delta).transitions {
                let alert = match transition {
                    Transition::Engage(engaged) => engaged.alert,
                    Transition::Store(alert) => alert,
                    Transition::Update(_) | Transition::Worsen(..) | Transition::Release(_) => continue,
                };
                if alert.action != AlertAction::Release {
                    *trial.alerts.entry(alert.alert_type).or_default() += 1;
                }
            }
        }
        Item::Flows(batch) if keep => {
            trial.flows.extend(batch.read().map(|read| read.flows).unwrap_or_default());
        }
        _ => {}
    });
    read.map_err(|error| Failure::new(exit::capture_code(&error), error))?;
    Ok(trial)
}
