//! `flowhook flows`: capture files to flow records, and back to text.

use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use collector::capture;
use collector::config::InterfaceConfig;
use collector::decode::Decoder;
use collector::flow::FlowTable;
use collector::flow_alert::Place;
use collector::hooks::HookRunner;
use collector::pipeline::{Item, Pipeline, PipelineParts};
use shared::model::{FlowRecord, HostPools, LocalNetworks, Timestamp};
use shared::script::ScriptError;
use shared::script::observer::Observer;
use shared::script::registry::ScriptSetup;
use shared::script::source::ScriptSource;
use shared::wire::flow_file::{FlowFileReader, FlowFileWriter, MAGIC};

use super::print_json;
use super::progress::{Bar, Watched};
use crate::config::Config;
use crate::exit::{self, Failure};
use crate::node::{self, NodeError, geo_bases, script_lists};

/// `flowhook flows …`
#[derive(Debug, Args)]
pub struct FlowsArgs {
    /// Capture files, read as one stream ordered by time (- for standard input), or one file of flows
    /// written by --write
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Write the flows to this file in their binary form and print only totals
    #[arg(long, short, value_name = "FILE.fhf")]
    write: Option<PathBuf>,
    /// Also make the summaries of hosts that a node sends to its aggregator: nobody reads them here,
    /// this is to measure what they cost
    #[arg(long)]
    summaries: bool,
}

/// Reads captures through the collector's core, flow scripts included, without bus or store. Alerts
/// are counted and not delivered.
pub fn flows(config: &Config, args: &FlowsArgs, progress: bool) -> Result<(), Failure> {
    match args.files.as_slice() {
        [one] if is_flow_file(one) => print_flows(one),
        files => {
            // On a terminal the flows themselves tell how far it is.
            let progress = progress && (args.write.is_some() || !std::io::stdout().is_terminal());
            capture_flows(config, files, args, progress)
        }
    }
}

fn is_flow_file(path: &Path) -> bool {
    // Of a pipe the first bytes can be read only once.
    if !path.is_file() {
        return false;
    }
    let mut magic = [0; MAGIC.len()];
    let read = File::open(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
    read.is_ok() && magic == *MAGIC
}

fn print_flows(path: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(exit::DAMAGED, anyhow::anyhow!("{}: {error}", path.display()))
    };
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut reader = FlowFileReader::new(BufReader::new(file)).map_err(|error| failed(&error))?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    while let Some(batch) = reader.next_batch().map_err(|error| failed(&error))? {
        for flow in &batch.flows {
            if write_line(&mut out, flow).is_err() {
                // Whoever was reading has gone.
                return Ok(());
            }
        }
    }
    let _ = out.flush();
    Ok(())
}

fn write_line(out: &mut impl Write, flow: &FlowRecord) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, flow)?;
    out.write_all(b"\n")
}

fn capture_flows(
    config: &Config,
    files: &[PathBuf],
    args: &FlowsArgs,
    progress: bool,
) -> Result<(), Failure> {
    let wrong = config.check();
    if !wrong.is_empty() {
        return Err(NodeError::Config(wrong).into());
    }
    let source = capture::files::open(files)?;
    let sources = node::script_sources(config).map_err(NodeError::from)?;
    let (mut pipeline, wrong) = pipeline(config, sources, args.summaries, false, None)?;
    if let Some(error) = wrong {
        return Err(NodeError::Config(vec![error.to_string()]).into());
    }
    let to = args.write.as_deref();
    let mut source = Watched::new(source, Bar::on_terminal(progress));
    let mut failure = None;
    let result = match to {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            let mut writer = FlowFileWriter::new(BufWriter::with_capacity(1 << 20, file))
                .with_context(|| format!("cannot write {}", path.display()))?;
            let result = collector::offline::run(&mut source, &mut pipeline, |item| {
                if let Item::Flows(batch) = item
                    && failure.is_none()
                {
                    failure = writer.write(&batch).err();
                }
            });
            failure = failure.or(writer.finish().err());
            result
        }
        None => {
            let mut out = BufWriter::new(std::io::stdout().lock());
            let result = collector::offline::run(&mut source, &mut pipeline, |item| {
                if let Item::Flows(batch) = item
                    && let Ok(read) = batch.read()
                {
                    let _ = read.flows.iter().try_for_each(|flow| write_line(&mut out, flow));
                }
            });
            let _ = out.flush();
            result
        }
    };
    drop(source);
    if to.is_some() {
        print_json(&pipeline.report())?;
    }
    if let Some(error) = failure {
        return Err(Failure::new(exit::FAILED, anyhow::anyhow!("the flows could not be written: {error}")));
    }
    result.map_err(|error| Failure::new(exit::capture_code(&error), error))
}

/// A pipeline of one unnamed interface with these scripts, and what is wrong with one of them.
pub fn pipeline(
    config: &Config,
    sources: Vec<ScriptSource>,
    summaries: bool,
    alerts: bool,
    observer: Option<Observer>,
) -> Result<(Pipeline, Option<ScriptError>), Failure> {
    let setup = ScriptSetup {
        sources,
        settings: config.scripts.settings.clone(),
        limits: config.scripts.limits.clone(),
        lists: script_lists(config)?,
        geo: geo_bases(config)?,
        pools: Arc::new(HostPools::new(config.pool.clone())),
        exclusions: crate::settings::of_file(config).alone().exclusions,
        broken: Vec::new(),
        alerts_off: !config.scripts.alerts,
    };
    let (hooks, mut errors, _) =
        HookRunner::load(&setup, config.collector.periodic_update_s, Timestamp::ZERO);
    if let Some(observer) = observer {
        hooks.observe(observer);
    }
    let apps = config.collector.app_table().map_err(|wrong| NodeError::Config(vec![wrong]))?;
    let prefixes = config.node.local_networks.iter().filter_map(|network| network.parse().ok());
    let pipeline = Pipeline::new(PipelineParts {
        place: Place {
            site: config.node.site.clone(),
            node: config.node_name(),
            ifid: 0,
            interface: "flows".to_owned(),
        },
        epoch: 0,
        networks: Arc::new(LocalNetworks::new(prefixes)),
        // The same hashes every time, so that a run is the same every time.
        decoder: Decoder::new(config.collector.decoder(&InterfaceConfig::of_files("flows", Vec::new()), 0)),
        feed: None,
        table: FlowTable::with_apps(config.collector.table(hooks.periodic_s(), 0), apps),
        hooks,
        summary_interval_s: config.collector.summary_interval_s,
        summaries,
        alerts,
    });
    Ok((pipeline, errors.pop()))
}
