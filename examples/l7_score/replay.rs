//! Has the program replay every capture of the table, and adds up its flow records.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

use super::expected::{self, Counts, Names};
use super::score::Score;
use super::squeeze;

/// Timeouts beyond the length of any capture without its pauses.
const CONFIG: &str = "[telemetry]\nlog = \"error\"\n\
    [scripts]\nbuiltin = false\n\
    [collector]\nflow_idle_s = 86400\nflow_closed_s = 86400\nflow_active_s = 0\n";

/// Compares what `program` finds in the captures of `folder` with its table, whose names the file
/// `names` translates.
pub fn compare(folder: &Path, names: &Path, program: &Path) -> anyhow::Result<Score> {
    let names = Names::read(names)?;
    let expected = expected::read(&folder.join("expected.tsv"), &names)?;

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
        let output = Command::new(program)
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
    Ok(score)
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
