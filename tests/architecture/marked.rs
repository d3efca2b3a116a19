//! Secrets in the code of tests carry the mark by which whatever programs say is looked through.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use shared::secret::mark::{MARK, PRESCRIBED};

use super::{is_test_file, walk};

/// The code of every test, with escapes of line ends and quotes read as what they stand for.
fn tests() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = Vec::new();
    for dir in
        ["tests", "notifier/tests", "src", "shared/src", "collector/src", "aggregator/src", "notifier/src"]
    {
        walk(&root.join(dir), &mut files);
    }
    let code = |path: PathBuf| {
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let whole = name.starts_with("tests/") || is_test_file(&name) || name.ends_with("test_server.rs");
        let text = if whole { text.as_str() } else { text.split_once("#[cfg(test)]")?.1 };
        Some((name, text.replace("\\n", "\n").replace("\\\"", "\"")))
    };
    files.into_iter().filter_map(code).collect()
}

/// Names of what is secret: in the configuration of buses, stores and the API, and what the endpoint kinds'
/// schemas say.
fn secret_names() -> BTreeSet<String> {
    fn is_secret(schema: &Value) -> bool {
        let any = schema["anyOf"].as_array();
        schema["writeOnly"] == true || any.is_some_and(|any| any.iter().any(is_secret))
    }
    let mut names: BTreeSet<String> =
        ["password", "token", "secret", "nkey"].iter().map(|name| (*name).to_owned()).collect();
    for kind in notifier::endpoint::KINDS {
        for part in ["endpoint", "recipient"] {
            let schema = kind.schema();
            let parameters = schema["properties"][part]["properties"].as_object().cloned();
            let secret = parameters.into_iter().flatten().filter(|(_, about)| is_secret(about));
            names.extend(secret.map(|(name, _)| name));
        }
    }
    names
}

/// What `name` is given as a text in `code`, in TOML, JSON or Rust.
fn values<'a>(code: &'a str, name: &str) -> Vec<&'a str> {
    let value = |at: usize| {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '.')) {
            return None;
        }
        let rest = code[at + name.len()..].trim_start_matches('"').trim_start();
        let mut rest = rest.strip_prefix([':', '='])?.trim_start();
        for wrapped in ["Some(", "Secret::new("] {
            rest = rest.strip_prefix(wrapped).unwrap_or(rest);
        }
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split_once(quote).map(|(value, _)| value)
    };
    code.match_indices(name).filter_map(|(at, _)| value(at)).collect()
}

/// The password in an address, after its `://`.
fn password(rest: &str) -> Option<&str> {
    let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''))?;
    let (user, _) = rest[..end].rsplit_once('@')?;
    user.split_once(':').map(|(_, password)| password)
}

/// Passwords in addresses.
fn passwords(code: &str) -> Vec<&str> {
    code.split("://").skip(1).filter_map(password).collect()
}

/// A reference, a value from elsewhere, nothing, or what carries the mark.
fn is_marked(value: &str) -> bool {
    let from_elsewhere = value.starts_with('{') && value.ends_with('}') && !value[1..].contains('{');
    let is_reference = value.starts_with("env:") || value.starts_with("file:");
    let hidden = value.chars().all(|c| c == '*');
    value.contains(MARK)
        || from_elsewhere
        || is_reference
        || hidden
        || PRESCRIBED.iter().any(|part| value.contains(part))
}

#[test]
fn every_secret_of_a_test_is_marked() {
    let names = secret_names();
    assert!(names.contains("webhook_url") && names.contains("signing_secret"), "{names:?}");
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, code) in tests() {
        // What this file looks for is in it.
        if path == file!() {
            continue;
        }
        let mut found: Vec<(&str, &str)> = passwords(&code).into_iter().map(|value| ("://", value)).collect();
        for name in &names {
            found.extend(values(&code, name).into_iter().map(|value| (name.as_str(), value)));
        }
        for line in code.lines().filter(|line| line.contains("const ") && line.contains(": &str = \"")) {
            let (name, value) = line.split_once(": &str = \"").unwrap();
            if ["TOKEN", "PASSWORD", "SECRET"].iter().any(|word| name.contains(word)) {
                found.push(("const", value.trim_end_matches("\";")));
            }
        }
        seen += found.len();
        let bad = found.into_iter().filter(|(_, value)| !is_marked(value));
        wrong.extend(bad.map(|(name, value)| format!("{path}: {name} is {value:?}")));
    }
    assert!(seen > 100, "only {seen} secrets were found");
    assert!(wrong.is_empty(), "secrets without the mark '{MARK}': {wrong:#?}");
}

/// What a program says passes by only where tests look through it.
#[test]
fn whatever_a_tested_program_says_is_looked_through() {
    // What these start is none of ours: a mount, NATS servers; the last reads the resources that were used.
    let others = [
        "tests/support/disk.rs",
        "tests/multi_site/server.rs",
        "tests/chaos/servers.rs",
        "tests/capture_truth.rs",
    ];
    for (path, code) in tests() {
        let looks = path == "tests/support/program.rs" || path == file!() || others.contains(&path.as_str());
        if path.starts_with("tests/") && !looks {
            for way in [".output()", ".spawn()", "wait_with_output"] {
                assert!(
                    !code.contains(way),
                    "{path} runs a program by {way}, and not by `Said` or `Running`"
                );
            }
        }
    }
}
