//! The fuzzer's side of the harness: FLOWHOOK_FUZZ names the target, FLOWHOOK_DISSECTOR one dissector
//! of the target `dissectors`. With FLOWHOOK_UNPACK the corpus is written there first, one file an
//! input, as libFuzzer wants it.

#![no_main]

#[allow(dead_code, reason = "the tests write the corpora and check them")]
mod corpus;
mod harness;

use std::sync::OnceLock;

use harness::Run;

static RUN: OnceLock<Run> = OnceLock::new();

fn begin() {
    let target = std::env::var("FLOWHOOK_FUZZ").unwrap_or_default();
    let dissector = std::env::var("FLOWHOOK_DISSECTOR").ok();
    let Some(run) = harness::target(&target, dissector.as_deref()) else {
        let known: Vec<_> = harness::TARGETS.iter().map(|(name, _)| *name).collect();
        eprintln!("FLOWHOOK_FUZZ must be one of {known:?}, not '{target}' (dissector: {dissector:?})");
        std::process::exit(2);
    };
    if let Some(folder) = std::env::var_os("FLOWHOOK_UNPACK") {
        let folder = std::path::Path::new(&folder);
        for (number, input) in corpus::inputs(&target, dissector.as_deref()).into_iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{number}")), input).expect("the corpus can be unpacked");
        }
    }
    let _ = RUN.set(run);
}

libfuzzer_sys::fuzz_target!(init: begin(), |data: &[u8]| {
    if let Some(run) = RUN.get() {
        run.input(data);
    }
});
