//! Who may import what (ARCHITECTURE.md, "Invariants").

mod marked;

use std::path::{Path, PathBuf};

/// Every Rust file of the workspace's own sources, with its path from the root.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for dir in ["src", "shared/src", "collector/src", "aggregator/src", "notifier/src"] {
        walk(&root.join(dir), &mut files);
    }
    assert!(files.len() > 50, "the sources are where they should be");
    let name = |path: &PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

/// Code without comments and without the tests at a file's foot.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]").next().unwrap_or("");
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// True when `code` names the crate or module `name` as a path or an import.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !word(before) && before != Some(':') && !word(after) && code[at + name.len()..].starts_with("::")
            || code[..at].ends_with("use ") && matches!(after, Some(';' | ' '))
    })
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path.ends_with("/corpus.rs")
        || path.contains("/tests/")
        || path.contains("/testing")
}

/// Fails when a file outside `allowed` names one of `crates`.
fn only(crates: &[&str], allowed: &[&str]) {
    let allowed_here = |path: &str| allowed.iter().any(|a| path.starts_with(a));
    let wrong: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| !allowed_here(path) && !is_test_file(path))
        .flat_map(|(path, text)| {
            let code = code(&text);
            let found = crates.iter().filter(move |name| names(&code, name));
            found.map(move |name| format!("{path} names {name}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn roles_do_not_name_each_other() {
    for (role, others) in [
        ("collector", ["aggregator", "notifier"]),
        ("aggregator", ["collector", "notifier"]),
        ("notifier", ["collector", "aggregator"]),
    ] {
        let manifest =
            std::fs::read_to_string(format!("{}/{role}/Cargo.toml", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for other in others {
            assert!(!manifest.contains(&format!("{other}.workspace")), "{role} depends on {other}");
        }
    }
    let manifest =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/shared/Cargo.toml")).unwrap();
    for role in ["collector", "aggregator", "notifier"] {
        assert!(!manifest.contains(&format!("{role}.workspace")), "shared depends on {role}");
    }
}

#[test]
fn every_protocols_file_names_its_source() {
    // A standard's body, or a document, a project or an observation in brackets.
    let bodies = ["RFC ", "ISO ", "IEC ", "IEEE ", "ITU", "OASIS", "no specification"];
    let mut files = 0;
    for (path, text) in sources() {
        let is_protocol = path.starts_with("collector/src/l7/") && text.contains(": Dissector = ");
        let is_number = text.contains("pub(super) fn is_valid(message");
        if !(is_protocol || is_number) || is_test_file(&path) {
            continue;
        }
        files += 1;
        let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
        let in_brackets = head.split('(').skip(1).any(|part| part.split(')').next().unwrap_or("").len() > 3);
        let named = in_brackets || bodies.iter().any(|body| head.contains(body));
        assert!(named, "{path} does not say after which document it is written");
    }
    assert!(files > 150, "{files}");
}

#[test]
fn libraries_stay_behind_their_files() {
    only(&["async_nats", "nkeys"], &["shared/src/bus/nats"]);
    only(
        &["nix"],
        &[
            "collector/src/affinity.rs",
            "collector/src/ingest/udp.rs",
            "notifier/src/endpoint/syslog/connection.rs",
            "notifier/src/program",
            "notifier/src/leftovers.rs",
            "src/node/levels.rs",
        ],
    );
    only(&["wait4"], &["notifier/src/program/bounded.rs"]);
    only(&["pcap"], &["collector/src/capture/live", "collector/src/capture/file"]);
    only(&["flate2"], &["collector/src/capture/file/compressed"]);
    only(&["zstd"], &["collector/src/capture/file/compressed", "shared/src/wire/compression.rs"]);
    only(&["indicatif"], &["src/cli/progress.rs"]);
    only(&["rhai"], &["shared/src/script/engine", "shared/src/script/value", "shared/src/script/lower"]);
    only(&["maxminddb"], &["shared/src/geo.rs"]);
    only(&["jsonschema"], &["shared/src/script/schema.rs", "shared/src/model/alert_schema.rs"]);
    // The collector's own module of that name reads the kernel's.
    only(
        &["ring"],
        &[
            "shared/src/seal.rs",
            "shared/src/bus/large.rs",
            "notifier/src/endpoint/webhook.rs",
            "collector/src/l7/",
            "aggregator/src/monitor/tls.rs",
            "collector/src/capture/",
        ],
    );
    only(&["rusqlite"], &["shared/src/store/sqlite"]);
    only(&["tokio_postgres", "deadpool_postgres", "tokio_postgres_rustls"], &["shared/src/store/postgres"]);
    only(
        &["reqwest"],
        &[
            "notifier/src/http.rs",
            "notifier/src/http/",
            "notifier/src/endpoint/",
            "aggregator/src/monitor/",
            "src/cli/client.rs",
        ],
    );
    only(&["socket2"], &["aggregator/src/monitor/icmp.rs"]);
    // The list of dissectors has a module of that name; the collector does not depend on the crate.
    only(&["syslog"], &["notifier/src/endpoint/syslog", "collector/src/l7/all.rs"]);
    only(&["lettre"], &["notifier/src/endpoint/email"]);
    only(
        &["base64"],
        &[
            "notifier/src/endpoint/email/session.rs",
            "notifier/src/endpoint/quiet.rs",
            "notifier/src/endpoint/webhook.rs",
            "notifier/src/bridge",
            "notifier/src/hook/",
            "shared/src/store/hooks.rs",
            "src/cli/hook",
            "shared/src/secret/mark.rs",
        ],
    );
    only(
        &["rustls", "rustls_native_certs"],
        &[
            "aggregator/src/monitor/tls.rs",
            "notifier/src/tls.rs",
            "shared/src/store/postgres/tls.rs",
            "src/cli/",
        ],
    );
    only(
        &["tokio_rustls"],
        &["aggregator/src/monitor/tls.rs", "notifier/src/tls.rs", "notifier/src/endpoint/email/session.rs"],
    );
    only(
        &["schemars"],
        &[
            "notifier/src/params.rs",
            "notifier/src/endpoint",
            "notifier/src/http/params.rs",
            "notifier/src/format/template.rs",
        ],
    );
    only(&["actix_web"], &["aggregator/src/api"]);
    only(
        &["opentelemetry", "opentelemetry_sdk", "opentelemetry_otlp", "tracing_opentelemetry"],
        &[
            "shared/src/telemetry.rs",
            "shared/src/metrics.rs",
            "collector/src/metrics.rs",
            "aggregator/src/metrics.rs",
            "notifier/src/metrics.rs",
        ],
    );
    only(&["clap", "anyhow"], &["src/"]);
}

#[test]
fn pure_modules_do_no_io_and_read_no_clock() {
    let pure = [
        "collector/src/flow",
        "collector/src/ingest/",
        "collector/src/l7",
        "collector/src/decode",
        "collector/src/summary.rs",
        "collector/src/pipeline",
        "collector/src/merge",
        "collector/src/capture/af_packet/frame.rs",
        "aggregator/src/partition",
        "aggregator/src/alert",
        "aggregator/src/element",
        "aggregator/src/schedule",
        "aggregator/src/ingest",
        "aggregator/src/keeper",
        "aggregator/src/nodes.rs",
        "aggregator/src/snapshot.rs",
        "aggregator/src/monitor/lead.rs",
        "aggregator/src/syslog/parse.rs",
        "notifier/src/criteria",
        "notifier/src/field.rs",
        "notifier/src/gate",
        "notifier/src/inhibit",
        "notifier/src/format",
        "shared/src/backoff.rs",
        "shared/src/supervise.rs",
        "shared/src/model",
    ];
    let mut checked = 0;
    for (path, text) in sources() {
        if !pure.iter().any(|p| path.starts_with(p)) || is_test_file(&path) {
            continue;
        }
        checked += 1;
        let code = code(&text);
        for banned in ["tokio", "ractor", "reqwest", "std::net::TcpStream", "std::fs", "std::thread", "rand"]
        {
            assert!(!names(&code, banned), "{path} is pure but names {banned}");
        }
        for banned in ["Instant::now", "SystemTime", "SystemClock", "crate::metrics", "shared::bus"] {
            assert!(!code.contains(banned), "{path} is pure but names {banned}");
        }
    }
    assert!(checked > 30, "only {checked} pure files were found");
}

#[test]
fn no_module_hides_in_mod_rs() {
    assert!(sources().iter().all(|(path, _)| !path.ends_with("/mod.rs")));
}

#[test]
fn endpoints_do_not_name_each_other() {
    let kinds: Vec<String> = sources()
        .into_iter()
        .filter_map(|(path, _)| path.strip_prefix("notifier/src/endpoint/").map(str::to_owned))
        .map(|file| file.trim_end_matches(".rs").split('/').next().unwrap_or("").to_owned())
        .filter(|kind| kind != "tests")
        .collect();
    for (path, text) in sources() {
        let Some(file) = path.strip_prefix("notifier/src/endpoint/") else { continue };
        // Tests of all kinds name them.
        if file.starts_with("tests/") {
            continue;
        }
        for kind in kinds.iter().filter(|kind| !file.starts_with(kind.as_str())) {
            let code = code(&text);
            assert!(!code.contains(&format!("super::{kind}::")), "{path} names endpoint {kind}");
            assert!(!code.contains(&format!("endpoint::{kind}::")), "{path} names endpoint {kind}");
        }
    }
}

/// `docs/flow-status.md` is written from the list of bits; set FLOWHOOK_BLESS to write it again.
#[test]
fn the_page_of_status_bits_is_the_list_of_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(root.join("shared/src/model/status.rs")).unwrap();
    let (_, list) = source.split_once("statuses! {").unwrap();
    let (list, _) = list.split_once("\n}").unwrap();
    let (mut rows, mut meaning) = (Vec::new(), String::new());
    for line in list.lines().map(str::trim) {
        if let Some(doc) = line.strip_prefix("/// ") {
            meaning = [meaning.as_str(), doc].join(" ").trim().to_owned();
        } else if let Some((variant, rest)) = line.split_once(" = ") {
            let (bit, name) = rest.trim_end_matches(';').split_once(", ").unwrap();
            let set = format!("FlowStatus::{variant}");
            let sets = |path: &str, text: &str| {
                let ours = path.starts_with("collector/src") && !path.ends_with("tests.rs");
                ours && names_word(&code(text), &set)
            };
            let files: Vec<_> =
                sources().into_iter().filter(|(path, text)| sets(path, text)).map(|(p, _)| p).collect();
            assert!(!files.is_empty(), "nothing sets {variant}");
            let files = files.iter().map(|path| format!("`{}`", path.trim_start_matches("collector/src/")));
            let files = files.collect::<Vec<_>>().join(", ");
            rows.push(format!("| {bit} | `{}` | {meaning} | {files} |", name.trim_matches('"')));
            meaning.clear();
        }
    }
    let page = root.join("docs/flow-status.md");
    let text = std::fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once("<!-- bits -->\n").unwrap();
    let (table, after) = rest.split_once("<!-- end -->").unwrap();
    let right = format!(
        "| bit | name | meaning | set in `collector/src` |\n|---|---|---|---|\n{}\n",
        rows.join("\n")
    );
    if std::env::var_os("FLOWHOOK_BLESS").is_some() {
        std::fs::write(&page, format!("{before}<!-- bits -->\n{right}<!-- end -->{after}")).unwrap();
    } else {
        assert!(
            table == right,
            "docs/flow-status.md is not the list of the bits: FLOWHOOK_BLESS=1 writes it"
        );
    }
}

/// True when `code` has `name` and no longer word around it.
fn names_word(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let after = code[at + name.len()..].chars().next();
        !after.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}
