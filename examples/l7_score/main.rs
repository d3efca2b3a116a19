//! How well layer-7 protocols are recognised: `l7_score [FOLDER] [--flowhook PROGRAM]`.
//!
//! Replays every capture that `FOLDER/expected.tsv` names through the program and compares what its
//! flow records say with that table: the answer of an independent classifier, one row for each
//! capture and protocol with packets, bytes and flows. The classifier's names are translated one to
//! one by `tests/data/l7-names.tsv`, never by file.
//!
//! The table says nothing of single flows, so what agrees in a capture is the smaller of the two
//! counts of a name. Pauses are cut and timeouts are long, so that no flow is split: the classifier has
//! no timeouts.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that reports on the terminal")]

mod expected;
mod print;
mod score;
mod squeeze;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use serde_json::Value;

use expected::{Counts, Names};
use score::Score;

/// Timeouts beyond the length of any capture without its pauses.
const CONFIG: &str = "[telemetry]\nlog = \"error\"\n\
    [scripts]\nbuiltin = false\n\
    [collector]\nflow_idle_s = 86400\nflow_closed_s = 86400\nflow_active_s = 0\n";

const USAGE: &str = "usage: l7_score [FOLDER] [--flowhook PROGRAM]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("l7_score: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (folder, program) = arguments()?;
    let folder = folder.unwrap_or_else(|| root.join("../shared/captures"));
    let table = folder.join("expected.tsv");
    if !table.is_file() {
        println!("nothing to score: {} is not there", table.display());
        return Ok(());
    }
    let names = Names::read(&root.join("tests/data/l7-names.tsv"))?;
    let expected = expected::read(&table, &names)?;

    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let config = scratch.path().join("config.toml");
    fs::write(&config, CONFIG)?;
    let (copy, flows) = (scratch.path().join("capture.pcap"), scratch.path().join("flows.jsonl"));

    let mut score = Score::default();
    for (capture, theirs) in &expected {
        let path = folder.join(capture);
        if !path.is_file() {
            bail!("{} is in expected.tsv and not in the folder", path.display());
        }
        squeeze::squeeze(&path, &copy)?;
        let _ = fs::remove_file(&flows);
        let output = Command::new(&program)
            .arg("--config")
            .arg(&config)
            .args(["-O", "json", "replay"])
            .arg(&copy)
            .arg("--flows-out")
            .arg(&flows)
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        if !output.status.success() {
            score.failed.push((capture.clone(), String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let ours = match fs::read_to_string(&flows) {
            Ok(records) => count(&records).with_context(|| format!("flow records of {capture}"))?,
            Err(_) => BTreeMap::new(),
        };
        score.compare(capture, theirs, &ours);
    }
    print::report(&score);
    Ok(())
}

fn arguments() -> anyhow::Result<(Option<PathBuf>, PathBuf)> {
    let mut folder = None;
    // Cargo puts examples into a folder beside the program.
    let mut program = std::env::current_exe()?
        .parent()
        .and_then(Path::parent)
        .context("this program has no folder")?
        .join("flowhook");
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--flowhook") => program = arguments.next().context(USAGE)?.into(),
            Some(option) if option.starts_with('-') => bail!(USAGE),
            _ if folder.is_none() => folder = Some(argument.into()),
            _ => bail!(USAGE),
        }
    }
    Ok((folder, program))
}

/// Adds up flow records (JSON lines) by protocol.
fn count(records: &str) -> anyhow::Result<BTreeMap<String, Counts>> {
    let mut counts: BTreeMap<String, Counts> = BTreeMap::new();
    for line in records.lines() {
        let flow: Value = serde_json::from_str(line)?;
        let both = |key: &str| -> u64 {
            ["cli2srv", "srv2cli"].iter().filter_map(|side| flow[side][key].as_u64()).sum()
        };
        let name = flow["l7"].as_str().context("a record without l7")?;
        let guessed = flow["l7_source"].as_str().is_some_and(|source| source.contains("guess"));
        counts.entry(spoken_name(name).to_owned()).or_default().add(Counts {
            flows: 1,
            packets: both("packets"),
            bytes: both("bytes"),
            guessed: u64::from(guessed),
        });
    }
    Ok(counts)
}

/// The name under which the classifier counts a flow: of `TLS.YouTube` the application.
fn spoken_name(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, application)| application)
}
