//! Writes captures of generated traffic, the same bytes for the same arguments.
//!
//! - `trace mixed OUT [PACKETS] [SEED] [FOLDER]`: the captures of `FOLDER` (`../shared/captures`) again
//!   and again, each time with other client addresses, woven together over 300 s;
//! - `trace manyflows OUT [PACKETS] [SEED]`: five packets a flow, 2,000 new flows a second;
//! - `trace synflood OUT [SYNS] [SEED]`: spoofed SYNs, and some hundred connections that go on;
//! - `trace live OUT FLOWS [PACKETS]`: FLOWS connections begin, then PACKETS packets of all in turn.
//!
//! The output is streamed: memory does not grow with its length.

#![allow(clippy::expect_used, clippy::print_stdout, clippy::print_stderr, reason = "a tool for benches")]

mod draw;
mod frame;
mod live;
mod manyflows;
mod mixed;
mod payload;
mod pcap;
mod synflood;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use pcap::Pcap;

const USAGE: &str = "usage: trace mixed OUT [PACKETS] [SEED] [FOLDER]
       trace manyflows OUT [PACKETS] [SEED]
       trace synflood OUT [SYNS] [SEED]
       trace live OUT FLOWS [PACKETS]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trace: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> anyhow::Result<()> {
    let [kind, path, rest @ ..] = arguments else { bail!(USAGE) };
    let number = |place: usize, default: u64| match rest.get(place) {
        Some(text) => text.parse().with_context(|| format!("'{text}' is not a number")),
        None => Ok(default),
    };
    let most = if kind == "mixed" { 3 } else { 2 };
    if rest.len() > most {
        bail!(USAGE);
    }
    // What is missing is found before an older file is overwritten.
    let open = || -> anyhow::Result<_> {
        let file = File::create(path).with_context(|| format!("cannot write {path}"))?;
        Ok(Pcap::new(BufWriter::with_capacity(1 << 20, file))?)
    };
    let written = match kind.as_str() {
        "mixed" => {
            let root = Path::new(env!("CARGO_MANIFEST_DIR"));
            let folder = rest.get(2).map_or_else(|| root.join("../shared/captures"), PathBuf::from);
            let captures = mixed::load(&folder)?;
            let mut out = open()?;
            mixed::write(&mut out, &captures, number(0, 2_000_000)?, number(1, 1)?)?;
            out.finish()?
        }
        "manyflows" => {
            let mut out = open()?;
            manyflows::write(&mut out, number(0, 5_000_000)?, number(1, 1)?)?;
            out.finish()?
        }
        "synflood" => {
            let mut out = open()?;
            synflood::write(&mut out, number(0, 10_000_000)?, number(1, 1)?)?;
            out.finish()?
        }
        "live" if !rest.is_empty() => {
            let flows = u32::try_from(number(0, 0)?).context("that many flows have no addresses")?;
            let mut out = open()?;
            live::write(&mut out, flows, number(1, 8_000_000)?)?;
            out.finish()?
        }
        _ => bail!(USAGE),
    };
    println!(
        "{path}: {} packets, {} bytes a packet",
        written.packets,
        written.bytes / written.packets.max(1)
    );
    Ok(())
}
