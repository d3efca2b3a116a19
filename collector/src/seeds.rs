//! Tests leave the bytes they feed as seeds for the fuzzer: `just fuzz-corpus` names the file in
//! FLOWHOOK_FUZZ_RECORD.

use std::fmt::Write as _;
use std::io::Write as _;

/// Appends a line to the file, when there is one: the target, a name or `-`, and the input in hex.
pub(crate) fn record(target: &str, name: &str, input: &[u8]) {
    let Some(path) = std::env::var_os("FLOWHOOK_FUZZ_RECORD") else { return };
    let mut line = format!("{target} {name} ");
    for byte in input {
        write!(line, "{byte:02x}").unwrap();
    }
    line.push('\n');
    // One write a line, so that tests side by side do not mix theirs.
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}
