//! What goes over the bus, looked at by `flowhook events tail` and by a program of a third party.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::program::{Running, Said, Setup, flowhook, run_fails, text};
use crate::support::{data, free_port, wait_for};

/// Lines of JSON in a file so far.
fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A program whose standard output goes to a file.
fn start(mut command: Command, setup: &Setup, name: &str) -> Running {
    command.stdin(Stdio::null());
    let path = |end: &str| setup.path(&format!("{name}.{end}"));
    Running::writing(command, &path("out"), &path("log"))
}

/// A Python with nats-py, protobuf, grpcio-tools and zstandard, or `None`, said loudly.
fn python() -> Option<PathBuf> {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/subscriber/bin/python");
    if python.is_file() {
        return Some(python);
    }
    assert!(std::env::var_os("CI").is_none(), "no nats-py, and in CI nothing is skipped");
    eprintln!("SKIPPED in part: there is no target/subscriber with nats-py; ./dev test makes it");
    None
}

#[test]
fn summaries_flows_and_alerts_can_be_followed() {
    let Some(nats) = crate::cluster::nats_server("events") else { return };
    let root = env!("CARGO_MANIFEST_DIR");
    let port = free_port();
    let demo = std::fs::read_to_string(format!("{root}/config/demo.toml")).unwrap();
    let demo = demo
        .replace("dir = \"config/demo/scripts\"", "")
        .replace("[node]\n", "[node]\nstate_dir = \"{dir}/state\"\n")
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{port}"));
    let capture = data("demo.pcap");
    let setup = Setup::new(&format!(
        "{demo}\n[bus]\nkind = \"nats\"\nprefix = \"ex\"\n[bus.nats]\nservers = [\"{}\"]\n
         [collector]\ncompress = true\n
         [[collector.interface]]\nname = \"file\"\nfiles = [\"{}\"]\n",
        nats.url,
        text(&capture)
    ));
    let tail = |subject: &str, name: &str, more: &[&str]| {
        let mut command = flowhook(&["events", "tail", "-c", &setup.config(), subject]);
        command.args(more);
        start(command, &setup, name)
    };
    let mut tails = [
        tail("dl.v1.>", "deltas", &["-O", "json"]),
        tail("fr.v1.>", "flows", &["-O", "json"]),
        tail("al.v1.>", "alerts", &["-O", "json"]),
        tail(">", "all", &["-n", "3"]),
    ];
    for name in ["deltas", "flows", "alerts", "all"] {
        wait_for("a listener", 30, || {
            let said = std::fs::read_to_string(setup.path(&format!("{name}.log"))).ok()?;
            said.contains("listening on ex.").then_some(())
        });
    }
    let mut running = start(flowhook(&["run", "-c", &setup.config()]), &setup, "run");
    let deltas = wait_for("the last summary", 60, || {
        let lines = lines(&setup.path("deltas.out"));
        lines.iter().any(|line| line["message"]["end_of_stream"] == true).then_some(lines)
    });
    let packets: u64 =
        deltas.iter().map(|d| d["message"]["interface"]["counters"]["packets"].as_u64().unwrap_or(0)).sum();
    assert_eq!(packets, 3529, "every packet of the capture");
    assert!(
        deltas
            .iter()
            .all(|d| d["kind"] == "delta" && d["subject"].as_str().unwrap().starts_with("ex.dl.v1."))
    );
    wait_for("flows", 30, || {
        lines(&setup.path("flows.out"))
            .iter()
            .any(|l| l["message"]["flows"][0]["l7"].is_string())
            .then_some(())
    });
    wait_for("alerts", 30, || {
        lines(&setup.path("alerts.out")).iter().any(|l| l["message"]["type"] == "syn_scan").then_some(())
    });
    assert_eq!(tails[3].0.wait().unwrap().code(), Some(0), "three messages are enough");
    assert_eq!(std::fs::read_to_string(setup.path("all.out")).unwrap().lines().count(), 3);
    for tail in &mut tails[..3] {
        assert_eq!(tail.terminate(), Some(0));
    }

    // Somebody else's program, made with the published messages alone, gets everything from the beginning.
    if let Some(python) = python() {
        let made = Command::new(&python)
            .args(["-m", "grpc_tools.protoc", "-I", &format!("{root}/shared/proto"), "--python_out"])
            .arg(setup.dir.path())
            .arg("flowhook.proto")
            .said()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut subscriber = Command::new(&python);
        subscriber.arg(format!("{root}/config/examples/subscriber.py")).arg(&nats.url).arg("ex");
        subscriber.env("PYTHONPATH", setup.dir.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        let mut subscriber = start(subscriber, &setup, "subscriber");
        let told = wait_for("the subscriber's summaries and alerts", 60, || {
            let lines = lines(&setup.path("subscriber.out"));
            let last = lines.iter().any(|line| line["last"] == true);
            let alert = lines.iter().any(|line| line["type"] == "syn_scan");
            (last && alert).then_some(lines)
        });
        let packets: u64 = told.iter().filter_map(|line| line["packets"].as_u64()).sum();
        assert_eq!(packets, 3529, "{}", std::fs::read_to_string(setup.path("subscriber.log")).unwrap());
        subscriber.terminate();
    }
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn what_cannot_be_followed_is_said() {
    let port = free_port();
    // Where the bus is inside one process, that process is asked.
    let stderr = run_fails(&["events", "tail", "--api", &format!("http://127.0.0.1:{port}")], 1);
    assert!(stderr.contains("is a node running there"), "{stderr}");
    let setup =
        Setup::new(&format!("[bus]\nkind = \"nats\"\n[bus.nats]\nservers = [\"nats://127.0.0.1:{port}\"]\n"));
    let stderr = run_fails(&["events", "tail", "-c", &setup.config()], 1);
    assert!(stderr.contains(&port.to_string()), "{stderr}");
    let stderr = run_fails(&["events", "tail", "-c", &setup.config(), "al..x"], 3);
    assert!(stderr.contains("al..x"), "{stderr}");
}
