//! What is recognised in the captures beside the repository, against an independent classifier: the
//! same comparison as `just l7-score` prints, with its floors.

#![allow(clippy::print_stdout, reason = "the report, when a floor does not hold")]

#[path = "../examples/l7_score/expected.rs"]
mod expected;
#[path = "../examples/l7_score/floors.rs"]
mod floors;
#[path = "../examples/l7_score/print.rs"]
mod print;
#[path = "../examples/l7_score/replay.rs"]
mod replay;
#[path = "../examples/l7_score/score.rs"]
mod score;
#[path = "../examples/l7_score/squeeze.rs"]
mod squeeze;

use std::path::Path;

use crate::support::{data, shared_captures};

#[test]
fn recognition_stays_above_its_floors() {
    let Some(folder) = shared_captures() else { return };
    let program = Path::new(env!("CARGO_BIN_EXE_flowhook"));
    let score = replay::compare(&folder, &data("l7-names.tsv"), program).unwrap();
    print::report(&score);
    assert_eq!(floors::broken(&score), Vec::<String>::new());
    assert!(score.captures > 100, "{} captures", score.captures);
}
