//! Bad input: one clear message with the cause, and the documented exit code.

use crate::support::data;
use crate::support::program::{Said, Setup, run, run_fails, text};

fn replay_fails(name: &str, content: Option<&[u8]>, code: i32) -> String {
    let setup = Setup::new("");
    let path = setup.path(name);
    if let Some(content) = content {
        std::fs::write(&path, content).unwrap();
    }
    let stderr = run_fails(&["replay", text(&path)], code);
    assert!(stderr.contains(text(&path)), "the message names the file: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "one message: {stderr}");
    stderr
}

#[test]
fn a_missing_file_is_named() {
    assert!(replay_fails("nowhere.pcap", None, 4).contains("no such capture file"));
}

#[test]
fn a_directory_is_no_capture() {
    let setup = Setup::new("");
    let stderr = run_fails(&["replay", text(setup.dir.path())], 4);
    assert!(stderr.contains("folder"), "{stderr}");
}

#[test]
fn an_empty_file_is_no_capture() {
    assert!(replay_fails("empty.pcap", Some(b""), 4).contains("empty"));
}

#[test]
fn a_text_file_is_no_capture() {
    assert!(replay_fails("notes.pcap", Some(b"dear diary, today I saw a packet\n"), 4).contains("capture"));
}

#[test]
fn a_truncated_capture_gives_everything_before_the_cut() {
    let whole = std::fs::read(data("demo.pcap")).unwrap();
    let setup = Setup::new("[telemetry]\nlog = \"error\"\n");
    let path = setup.path("cut.pcap");
    std::fs::write(&path, &whole[..whole.len() - 7]).unwrap();
    let config = setup.config();
    let output = run(&["replay", text(&path), "--config", &config, "--output", "json"]);
    assert_eq!(output.status.code(), Some(5));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data("demo.expected.json")).unwrap()).unwrap();
    assert_eq!(report["packets"].as_u64().unwrap(), expected["demo.pcap"]["packets"].as_u64().unwrap() - 1);
    assert_eq!(report["errors"]["capture_truncated"], 1);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let offset: usize = stderr
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|n| n.parse().ok())
        .find(|n| *n > whole.len() - 2000 && *n < whole.len())
        .unwrap_or_else(|| panic!("no byte offset near the cut in: {stderr}"));
    assert!(offset >= 24);
}

#[test]
fn packets_cut_in_their_headers_are_counted_and_harm_nothing() {
    let mut capture = std::fs::read(data("demo.pcap")).unwrap();
    // The first ten records keep their place, but their captured length shrinks to a stump.
    let mut out = capture[..24].to_vec();
    let mut at = 24;
    for n in 0.. {
        if at + 16 > capture.len() {
            break;
        }
        let length = u32::from_le_bytes(capture[at + 8..at + 12].try_into().unwrap()) as usize;
        let kept = if n < 10 { 10 + n } else { length };
        capture[at + 8..at + 12].copy_from_slice(&(kept.min(length) as u32).to_le_bytes());
        out.extend_from_slice(&capture[at..at + 16 + kept.min(length)]);
        at += 16 + length;
    }
    let setup = Setup::new("[telemetry]\nlog = \"error\"\n");
    let path = setup.path("stumps.pcap");
    std::fs::write(&path, &out).unwrap();
    let config = setup.config();
    let report = crate::support::program::run_json(&["replay", text(&path), "-c", &config, "-O", "json"]);
    let errors = report["errors"].as_object().unwrap();
    let cut: u64 =
        errors.iter().filter(|(k, _)| k.contains("too_short")).map(|(_, v)| v.as_u64().unwrap()).sum();
    assert_eq!(cut, 10, "{errors:?}");
    assert!(report["flows"].as_u64().unwrap() > 100);
}

#[test]
fn an_unknown_key_is_told_with_line_and_name() {
    let setup = Setup::new("[collector]\nflow_idle_s = 60\nflow_idel_s = 60\n");
    let stderr = run_fails(&["check", "--config", &setup.config()], 3);
    assert!(stderr.contains("line 3") && stderr.contains("flow_idel_s"), "{stderr}");
}

#[test]
fn a_wrong_value_is_told_with_its_key() {
    let setup = Setup::new("[collector]\nsummary_interval_s = 7\n");
    let stderr = run_fails(&["check", "--config", &setup.config()], 3);
    assert!(stderr.contains("collector.summary_interval_s"), "{stderr}");
}

#[test]
fn an_unknown_endpoint_kind_is_told_with_its_key() {
    let setup = Setup::new("[[notifier.endpoint]]\nname = \"x\"\nkind = \"carrier-pigeon\"\n");
    let stderr = run_fails(&["check", "--config", &setup.config()], 3);
    assert!(stderr.contains("notifier.endpoint[0]") && stderr.contains("carrier-pigeon"), "{stderr}");
}

#[test]
fn a_syntax_error_in_a_script_is_told_with_file_line_and_column() {
    let setup = Setup::new("[scripts]\ndir = \"{dir}/scripts\"\n");
    std::fs::create_dir(setup.path("scripts")).unwrap();
    std::fs::write(
        setup.path("scripts/broken.rhai"),
        "let hosts = [];\n#{ key: \"x\", hooks: #{ min: |p| ) } }\n",
    )
    .unwrap();
    let stderr = run_fails(&["check", "--config", &setup.config()], 3);
    assert!(stderr.contains("broken") && stderr.contains("line 2"), "{stderr}");
}

/// Replays with one flow script of the user's; gives the report and standard error.
fn replay_with_script(script: &str) -> (serde_json::Value, String) {
    let setup = Setup::new(
        "[scripts]\ndir = \"{dir}/scripts\"\nbuiltin = false\n[scripts.limits]\nmax_operations = 20000\nmax_string = 65536\nquarantine_after = 3\n",
    );
    std::fs::create_dir(setup.path("scripts")).unwrap();
    std::fs::write(setup.path("scripts/hostile.rhai"), script).unwrap();
    let demo = data("demo.pcap");
    let output = run(&["replay", text(&demo), "-c", &setup.config(), "-O", "json"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    (serde_json::from_slice(&output.stdout).unwrap(), stderr)
}

#[test]
fn an_endless_loop_is_stopped_counted_and_quarantined() {
    let (report, stderr) = replay_with_script("#{ hooks: #{ flowEnd: |now, c| { loop { } } } }");
    assert_eq!(report["errors"]["script.hostile"], 1, "{report}");
    assert_eq!(report["errors"]["script.hostile.quarantined"], 1);
    assert!(report["alerts"]["script_quarantined"]["store"].as_u64().is_some(), "{report}");
    assert!(stderr.contains("operations"), "{stderr}");
    assert!(report["flows"].as_u64().unwrap() > 100);
}

#[test]
fn a_string_bomb_is_stopped_and_counted() {
    let (report, stderr) =
        replay_with_script("#{ hooks: #{ flowEnd: |now, c| { let s = \"bomb\"; loop { s += s; } } } }");
    assert_eq!(report["errors"]["script.hostile"], 3, "{report}");
    assert!(stderr.contains("string"), "{stderr}");
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let setup = Setup::new(
        "[node]\nstate_dir = \"{dir}/state\"\n[aggregator.api]\nenabled = false\n[[collector.interface]]\nname = \"nosuch0\"\n",
    );
    let stderr = run_fails(&["run", "--config", &setup.config()], 6);
    assert!(stderr.contains("nosuch0"), "{stderr}");
}

#[test]
fn a_taken_port_is_named() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let setup = Setup::new(&format!(
        "[node]\nstate_dir = \"{{dir}}/state\"\n[aggregator.api]\nlisten = \"{address}\"\n"
    ));
    let stderr = run_fails(&["run", "--config", &setup.config()], 7);
    assert!(stderr.contains(&address), "{stderr}");
}

#[test]
fn capturing_without_permission_says_what_to_do() {
    // Only root can become somebody without rights; others have none to begin with.
    let setup = Setup::new(
        "[node]\nstate_dir = \"{dir}/state\"\n[aggregator.api]\nenabled = false\n[[collector.interface]]\nname = \"lo\"\n",
    );
    let mut command = crate::support::program::flowhook(&["run", "--config", &setup.config()]);
    if is_root() {
        use std::os::unix::fs::PermissionsExt;
        use std::os::unix::process::CommandExt;
        std::fs::set_permissions(setup.dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        // The program itself may lie where only root may look, so a copy is started.
        let copy = setup.path("flowhook");
        std::fs::copy(env!("CARGO_BIN_EXE_flowhook"), &copy).unwrap();
        command = std::process::Command::new(&copy);
        command.args(["run", "--config", &setup.config()]).uid(65534).gid(65534);
    }
    let output = command.said().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{stderr}");
    assert!(stderr.contains("lo") && stderr.contains("CAP_NET_RAW"), "{stderr}");
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

#[test]
fn a_state_directory_in_use_is_named() {
    let setup = Setup::new("");
    let state = setup.path("state");
    std::fs::create_dir(&state).unwrap();
    let lock = std::fs::File::create(state.join("flowhook.lock")).unwrap();
    lock.lock().unwrap();
    let demo = data("demo.pcap");
    let stderr = run_fails(&["replay", text(&demo), "--state", text(&state)], 1);
    assert!(stderr.contains(text(&state)), "{stderr}");
}

#[test]
fn a_broken_script_refuses_the_start() {
    let setup = Setup::new("[scripts]\ndir = \"{dir}/scripts\"\n");
    std::fs::create_dir(setup.path("scripts")).unwrap();
    std::fs::write(setup.path("scripts/broken.rhai"), "#{ hooks: #{ min: |p| ) } }\n").unwrap();
    let demo = data("demo.pcap");
    let stderr = run_fails(&["replay", text(&demo), "--config", &setup.config()], 3);
    assert!(stderr.contains("broken line 1 column"), "{stderr}");
}
