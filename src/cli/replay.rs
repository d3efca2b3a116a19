//! `flowhook replay`: capture files through every role, then a report.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use collector::config::InterfaceConfig;
use shared::clock::Stopwatch;
use shared::telemetry::Telemetry;

use super::progress::{self, Bar};
use super::run::{runtime, stop_signal};
use super::{Output, print, print_json};
use crate::config::{BusKind, Config, StoreKind};
use crate::exit::{self, Failure};
use crate::node::{Node, NodeOptions, Roles};

/// `flowhook replay …`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Capture files (pcap or pcapng, plain or compressed by gzip or zstd; - for standard input), read as
    /// one stream ordered by time
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Collect flows from NetFlow, IPFIX and sFlow datagrams to these UDP ports in the files
    #[arg(long, value_name = "PORT")]
    collect: Vec<u16>,
    /// Write each ended flow as a JSON line to this file
    #[arg(long, value_name = "FILE.jsonl")]
    flows_out: Option<PathBuf>,
    /// Keep state in this folder instead of a temporary one
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Keep serving the API after the report, until Ctrl-C
    #[arg(long)]
    serve: bool,
    /// Seconds to wait for deliveries after the last packet
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    drain: u64,
}

/// Replays.
pub fn replay(mut config: Config, args: &ReplayArgs, output: Output, progress: bool) -> Result<(), Failure> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let scratch;
    config.node.state_dir = match &args.state {
        Some(dir) => dir.clone(),
        None => {
            scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
            scratch.path().to_owned()
        }
    };
    config.bus.kind = BusKind::Memory;
    config.store.kind = StoreKind::Sqlite;
    config.collector.interface = vec![InterfaceConfig::of_files("replay", args.files.clone())];
    config.collector.interface[0].collect_ports.clone_from(&args.collect);
    config.aggregator.api.enabled = args.serve;
    // What hosts and log lines are now has nothing to do with a capture.
    config.aggregator.monitor.enabled = false;
    config.aggregator.syslog.listen.clear();
    // A capture may be older than any retention.
    config.aggregator.flow_retention_days = 0;
    config.aggregator.alert_retention_days = 0;
    let telemetry = Telemetry::start(&config.telemetry, &config.node_name()).map_err(Failure::config)?;
    let result = runtime()?.block_on(replay_files(&config, args, output, progress, &telemetry));
    telemetry.shutdown();
    result
}

async fn replay_files(
    config: &Config,
    args: &ReplayArgs,
    output: Output,
    progress: bool,
    telemetry: &Telemetry,
) -> Result<(), Failure> {
    let flow_sink = match &args.flows_out {
        Some(path) => {
            let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Some(Arc::new(Mutex::new(BufWriter::new(file))))
        }
        None => None,
    };
    let stop = stop_signal()?;
    tokio::pin!(stop);
    let watch = Stopwatch::start();
    let options = NodeOptions {
        flow_sink: flow_sink.clone().map(|sink| sink as collector::interface::FlowSink),
        metrics: Some(telemetry.prometheus_source()),
        // The same hashes every time, so that a replay is the same every time.
        seed: 0,
    };
    let node = Node::start(config, Roles::ALL, options).await?;
    tokio::select! {
        () = node.captured() => {}
        () = show_progress(&node, Bar::on_terminal(progress)) => {}
        () = &mut stop => {
            node.stop().await;
            return Err(Failure::new(exit::FAILED, anyhow::anyhow!("interrupted")));
        }
    }
    let mut interrupted = false;
    let drained = tokio::select! {
        drained = node.drained(Duration::from_secs(args.drain)) => drained,
        () = &mut stop => {
            interrupted = true;
            false
        }
    };
    let mut report = node.report().await;
    report.elapsed_s = watch.elapsed().as_secs_f64();
    let flushed = flow_sink.as_ref().is_none_or(|s| s.lock().is_ok_and(|mut s| s.flush().is_ok()));
    match output {
        Output::Json => print_json(&report)?,
        Output::Text => print(&report.text()),
    }
    if !drained && !interrupted {
        tracing::warn!(seconds = args.drain, "some deliveries are still owed; --state DIR keeps them");
    }
    if args.serve && !interrupted {
        if let Some(address) = node.api_address() {
            print(&format!("\nserving http://{address}/api/v1/ until Ctrl-C\n"));
        }
        stop.await;
    }
    let failure = node.collector().and_then(|c| c.failure());
    node.stop().await;
    if !flushed {
        return Err(Failure::new(exit::FAILED, anyhow::anyhow!("the flows file could not be written whole")));
    }
    match failure {
        Some(error) => Err(Failure::new(exit::capture_code(&error), anyhow::anyhow!("{error}"))),
        None => Ok(()),
    }
}

/// Shows how far the files have been read; never ends.
async fn show_progress(node: &Node, bar: Option<Bar>) {
    let Some(bar) = bar else { return std::future::pending().await };
    loop {
        tokio::time::sleep(progress::INTERVAL).await;
        if let Some(progress) = node.collector().and_then(|c| c.progress()) {
            bar.show(&progress);
        }
    }
}
