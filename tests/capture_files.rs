//! Capture files as users have them: compressed, piped, cut, in pieces.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::program::{Said, flowhook, run, run_fails, run_json, text};
use crate::support::{data, has_program};

/// The flow records of the files, as the program prints them.
fn flows(paths: &[PathBuf]) -> String {
    let output = run(&args("flows", paths));
    assert!(output.status.success(), "{paths:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stderr.is_empty(), "no progress where there is no terminal");
    String::from_utf8(output.stdout).unwrap()
}

fn args<'a>(command: &'a str, paths: &'a [PathBuf]) -> Vec<&'a str> {
    [command].into_iter().chain(paths.iter().map(|path| text(path))).collect()
}

/// Runs with `input` piped into it.
fn run_piped(args: &[&str], input: &[u8]) -> Output {
    flowhook(args).said_to(input)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn write(dir: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn plain_compressed_and_piped_captures_give_the_same_flow_records() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["demo.pcap", "demo.pcapng"] {
        let plain = std::fs::read(data(name)).unwrap();
        let expected = flows(&[data(name)]);
        assert!(expected.lines().count() > 10);
        for bytes in [gzip(&plain), zstd(&plain)] {
            // The name says nothing, the first bytes everything.
            assert!(flows(&[write(dir.path(), "any name", &bytes)]) == expected);
        }
        for bytes in [&plain, &gzip(&plain), &zstd(&plain)] {
            let output = run_piped(&["flows", "-"], bytes);
            assert!(output.status.success() && output.stdout == expected.as_bytes());
        }
    }
}

#[test]
fn a_replay_of_standard_input_is_the_replay_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (from_file, from_stdin) = (dir.path().join("file.jsonl"), dir.path().join("stdin.jsonl"));
    let demo = data("demo.pcap");
    let mut report = run_json(&["replay", text(&demo), "-O", "json", "--flows-out", text(&from_file)]);
    let args = ["replay", "-", "-O", "json", "--flows-out", text(&from_stdin)];
    let output = run_piped(&args, &zstd(&std::fs::read(&demo).unwrap()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut piped: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for report in [&mut report, &mut piped] {
        report.as_object_mut().unwrap().remove("elapsed_s").unwrap();
    }
    assert_eq!(piped, report);
    assert!(std::fs::read(from_stdin).unwrap() == std::fs::read(from_file).unwrap());
}

#[test]
fn standard_input_is_read_once_and_beside_files() {
    let plain = std::fs::read(data("demo.pcap")).unwrap();
    for command in ["flows", "replay"] {
        let output = run_piped(&[command, "-", "-"], &plain);
        assert_eq!(output.status.code(), Some(4));
        assert!(String::from_utf8_lossy(&output.stderr).contains("only once"));
    }
    let pieces = dealt(&plain, 2);
    let dir = tempfile::tempdir().unwrap();
    let odd = write(dir.path(), "odd", &pieces[1]);
    let output = run_piped(&["flows", "-", text(&odd)], &gzip(&pieces[0]));
    assert!(output.status.success());
    assert!(output.stdout == flows(&[data("demo.pcap")]).into_bytes());
}

/// The packets of a classic little-endian capture, dealt like cards to `count` captures.
fn dealt(capture: &[u8], count: usize) -> Vec<Vec<u8>> {
    let (header, mut rest) = capture.split_at(24);
    let mut pieces = vec![header.to_vec(); count];
    for number in 0.. {
        let Some(length) = rest.get(8..12) else { break };
        let record = 16 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
        pieces[number % count].extend_from_slice(&rest[..record]);
        rest = &rest[record..];
    }
    pieces
}

#[test]
fn pieces_in_any_order_are_the_whole() {
    if !has_program("editcap") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let whole = data("demo.pcap");
    let base = dir.path().join("piece.pcap");
    let made = Command::new("editcap").args(["-c", "97", text(&whole), text(&base)]).said().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut pieces: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    pieces.sort();
    assert!(pieces.len() > 5, "{pieces:?}");
    let expected = flows(&[whole]);
    for turn in 0..6 {
        pieces.sort_by_key(|path| shuffled(turn, path));
        assert!(flows(&pieces) == expected, "{pieces:?}");
    }
}

/// A place in an order that is another one each turn.
fn shuffled(turn: u64, path: &Path) -> u64 {
    let seed = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    text(path).bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn overlapping_files_are_merged_as_mergecap_merges_them() {
    if !has_program("mergecap") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pieces = dealt(&std::fs::read(data("demo.pcap")).unwrap(), 3);
    // Other formats and compressions side by side.
    let a = write(dir.path(), "a", &zstd(&pieces[0]));
    let b = write(dir.path(), "b", &pieces[1]);
    let c = write(dir.path(), "c", &gzip(&pieces[2]));
    let plain: Vec<_> = (0..3).map(|n| write(dir.path(), &format!("{n}.pcap"), &pieces[n])).collect();
    let merged = dir.path().join("merged.pcapng");
    let mut command = Command::new("mergecap");
    let made = command.args(["-F", "pcapng", "-w", text(&merged)]).args(&plain).said().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(flows(&[a, b, c]) == flows(&[merged]));
}

#[test]
fn a_cut_compressed_capture_reports_what_was_whole_and_says_where_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let plain = std::fs::read(data("demo.pcap")).unwrap();
    for (bytes, name) in [(gzip(&plain), "gzip"), (zstd(&plain), "zstd")] {
        let cut = write(dir.path(), "cut", &bytes[..bytes.len() / 2]);
        let said = run_fails(&["replay", text(&cut)], 5);
        let expected = format!("cut is cut short: {name} stream at byte {}", bytes.len() / 2);
        assert!(said.contains(&expected), "{said}");
        let output = run(&["flows", text(&cut)]);
        assert!(output.stdout.iter().filter(|byte| **byte == b'\n').count() > 1, "{said}");
    }
}
