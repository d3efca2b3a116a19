//! The fuzz targets' corpora, replayed, and each input changed in some thousand ways, the same ones
//! every time. `just fuzz` looks further.

pub mod corpus;
mod harness;
pub mod mutate;
mod seeds;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use collector::l7::DISSECTORS;

use mutate::Mutations;

/// Changed inputs tried per input on file.
const CHANGES: usize = 25;

/// Runs the harness on an input; a panic names the input, so that it can be put into a test.
fn check(target: &str, dissector: Option<&str>, input: &[u8]) {
    let run = harness::target(target, dissector).expect("the target is known");
    let outcome = catch_unwind(AssertUnwindSafe(|| run.input(input)));
    assert!(outcome.is_ok(), "{target} {dissector:?} panics on {}", corpus::hex(input));
}

#[test]
fn every_target_stands_its_corpus_and_changes_of_it() {
    for (target, _) in harness::TARGETS {
        let lines = corpus::lines(target);
        assert!(!lines.is_empty(), "{target} has no corpus");
        let mut mutations = Mutations::new(lines.len() as u64);
        // A file or a script costs more than a payload.
        let changes = if matches!(*target, "capture_file" | "config" | "script" | "pipeline" | "collected") {
            10
        } else {
            CHANGES
        };
        for (number, (name, input)) in lines.iter().enumerate() {
            let dissector = (!name.is_empty()).then_some(name.as_str());
            check(target, dissector, input);
            let other = &lines[(number * 7 + 1) % lines.len()].1;
            for _ in 0..changes {
                check(target, dissector, &mutations.change(input, other));
            }
        }
    }
}

#[test]
fn every_dissector_is_fuzzed_with_seeds_of_its_own() {
    let seeded: BTreeSet<String> = corpus::lines("dissectors").into_iter().map(|(name, _)| name).collect();
    let missing: Vec<_> = DISSECTORS.iter().map(|d| d.name).filter(|name| !seeded.contains(*name)).collect();
    assert!(missing.is_empty(), "no seeds for {missing:?}: see `just fuzz-corpus`");
    let gone: Vec<_> = seeded.iter().filter(|name| DISSECTORS.iter().all(|d| d.name != **name)).collect();
    assert!(gone.is_empty(), "seeds for dissectors that are no more: {gone:?}");
    assert!(DISSECTORS.len() <= 256, "one byte chooses the dissector");
    let by_byte = corpus::inputs("dissectors", None);
    for (place, dissector) in DISSECTORS.iter().enumerate() {
        let chosen = harness::target("dissectors", Some(dissector.name));
        assert!(matches!(chosen, Some(harness::Run::Dissector(chosen)) if chosen == *dissector));
        assert!(by_byte.iter().any(|input| usize::from(input[0]) == place), "{}", dissector.name);
    }
}

#[test]
fn the_corpora_are_small() {
    if let Some(recorded) = std::env::var_os("FLOWHOOK_FUZZ_RECORD") {
        seeds::write(&std::fs::read_to_string(recorded).expect("the recorded inputs can be read"));
    }
    let mut all = 0;
    for (target, _) in harness::TARGETS {
        all += std::fs::metadata(corpus::path(target)).expect("there is a corpus").len();
        for (name, input) in corpus::lines(target) {
            assert!(input.len() <= corpus::MAX_INPUT, "{target} {name}: {} bytes", input.len());
        }
    }
    assert!(all < 1 << 20, "{all} bytes");
}
