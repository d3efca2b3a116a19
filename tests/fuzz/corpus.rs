//! The corpora: a text file a target, an input a line, in hex. Lines of dissectors begin with the
//! dissector's name. Lines that begin with `#` are comments.

use std::path::PathBuf;

use collector::l7::DISSECTORS;

/// Bytes of one input at most.
pub const MAX_INPUT: usize = 2048;

/// The file that holds a target's corpus.
pub fn path(target: &str) -> PathBuf {
    // The same datagrams, further into the program.
    let target = if target == "collected" { "exports" } else { target };
    // This file is part of two packages, the fuzzer and the integration tests.
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = [root.join("corpus"), root.join("tests/fuzz/corpus")];
    let [fuzzer, tests] = folder.map(|folder| folder.join(format!("{target}.txt")));
    if fuzzer.parent().is_some_and(std::path::Path::is_dir) { fuzzer } else { tests }
}

/// The lines of a target's corpus: a dissector's name, else nothing, and the input.
pub fn lines(target: &str) -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read_to_string(path(target)).unwrap_or_default();
    let line = |line: &str| {
        let (name, digits) = line.rsplit_once(' ').unwrap_or(("", line));
        (name.to_owned(), unhex(digits))
    };
    text.lines().filter(|text| !text.is_empty() && !text.starts_with('#')).map(line).collect()
}

/// The inputs of a target as the fuzzer takes them: of all dissectors, the first byte says which.
pub fn inputs(target: &str, dissector: Option<&str>) -> Vec<Vec<u8>> {
    let place = |name: &str| DISSECTORS.iter().position(|dissector| dissector.name == name);
    lines(target)
        .into_iter()
        .filter(|(name, _)| dissector.is_none_or(|wanted| wanted == name))
        .map(|(name, mut input)| {
            if let (None, Some(place)) = (dissector, place(&name)) {
                input.insert(0, place as u8);
            }
            input
        })
        .collect()
}

/// Hex digits of bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hex digits.
pub fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
