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
//!
//! Ends with 1 when less is recognised, or more of it wrongly, than `floors.rs` allows.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool that reports on the terminal")]

mod expected;
mod floors;
mod print;
mod replay;
mod score;
mod squeeze;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

const USAGE: &str = "usage: l7_score [FOLDER] [--flowhook PROGRAM]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("l7_score: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// False when a floor does not hold.
fn run() -> anyhow::Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (folder, program) = arguments()?;
    let folder = folder.unwrap_or_else(|| root.join("../shared/captures"));
    let table = folder.join("expected.tsv");
    if !table.is_file() {
        println!("nothing to score: {} is not there", table.display());
        return Ok(true);
    }
    let names = root.join("tests/data/l7-names.tsv");
    let score = replay::compare(&folder, &names, &program)?;
    print::report(&score);
    let below = floors::broken(&score);
    for floor in &below {
        println!("BELOW THE FLOOR: {floor}");
    }
    Ok(below.is_empty())
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
