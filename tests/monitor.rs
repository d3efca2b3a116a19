//! Active monitoring, log lines and scripts on demand, as an operator sees them.

use std::net::{TcpListener, UdpSocket};

use serde_json::{Value, json};

use crate::support::http::get_json;
use crate::support::program::{Running, Setup, flowhook, run_fails, run_json};
use crate::support::{free_port, wait_for};

const SCRIPT: &str = r#"#{
    kind: "active_monitoring", default_enabled: false,
    hooks: #{ min: |params| {
        if params.stats.up == 0 { trigger_alert(#{ message: `${params.entity_info} is down` }); }
    } },
}"#;

#[test]
fn a_host_is_probed_edited_shown_and_handed_to_scripts() {
    let (api_port, log_port, down_port) = (free_port(), free_port(), free_port());
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let up = format!("tcp@127.0.0.1:{}", server.local_addr().unwrap().port());
    let down = format!("tcp@127.0.0.1:{down_port}");
    let setup = Setup::new(&format!(
        "[node]\nstate_dir = \"{{dir}}/state\"\n[scripts]\ndir = \"{{dir}}/scripts\"\n\
         [aggregator.api]\nlisten = \"127.0.0.1:{api_port}\"\n\
         [aggregator.syslog]\nlisten = \"127.0.0.1:{log_port}\"\n\
         [[aggregator.monitor.host]]\nhost = \"127.0.0.1\"\nmeasure = \"tcp\"\nport = {}\nprobes = 1\n",
        server.local_addr().unwrap().port()
    ));
    std::fs::create_dir(setup.path("scripts")).unwrap();
    std::fs::write(setup.path("scripts/is_down.rhai"), SCRIPT).unwrap();
    let node = flowhook(&["run", "-c", &setup.config()]);
    let mut node = Running::start(node, &setup.path("log"));
    let api = format!("http://127.0.0.1:{api_port}");
    let base = format!("{api}/api/v1");
    let health = || crate::support::http::ask("GET", &format!("{base}/health"));
    wait_for("the API", 30, || health().filter(|(status, _)| *status == 200));
    let row = |value: &str| {
        let rows = get_json(&format!("{base}/monitor"));
        rows["items"].as_array()?.iter().find(|row| row["value"] == value && !row["last"].is_null()).cloned()
    };
    let seen = wait_for("the first round", 20, || row(&up));
    assert_eq!((&seen["level"], &seen["last"]["up"]), (&json!("well"), &json!(true)), "{seen}");
    assert!(seen["last"]["rtt_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{seen}");

    let host = json!({ "host": "127.0.0.1", "measure": "tcp", "port": down_port, "probes": 1, "failures": "1 of 1" });
    let at = ["--api", &api, "-O", "json"];
    let ask = |args: &[&str]| run_json(&[args, &at].concat());
    ask(&["settings", "set", "monitor", "edited", &host.to_string(), "--by", "ann"]);
    let seen = wait_for("the edited host", 20, || row(&down));
    assert_eq!(seen["level"], "alert", "{seen}");
    assert!(seen["last"]["reason"].as_str().unwrap().contains("refused"), "{seen}");
    let engaged = |script: &str| {
        let alerts = get_json(&format!("{base}/alerts/engaged"));
        alerts["items"].as_array()?.iter().find(|alert| alert["script"] == script).cloned()
    };
    let alert = wait_for("the alert", 10, || engaged("active_monitoring"));
    assert_eq!((&alert["entity"], &alert["entity_value"]), (&json!("am_host"), &json!(down)), "{alert}");
    let wrong = run_fails(
        &["settings", "set", "monitor", "x", r#"{"host": "a", "measure": "tcp"}"#, "--api", &api],
        3,
    );
    assert!(wrong.contains("port"), "{wrong}");

    let answer = ask(&["script", "run", "is_down"]);
    assert_eq!((&answer["calls"], &answer["errors"], &answer["hook"]), (&json!(2), &json!(0), &json!("min")));
    let asked: Vec<&Value> = answer["rows"].as_array().unwrap().iter().map(|row| &row["effects"]).collect();
    assert_eq!(asked.iter().filter(|effects| effects[0]["trigger"].is_object()).count(), 1, "{answer}");
    let alert = wait_for("the script's alert", 10, || engaged("is_down"));
    assert_eq!(alert["granularity"], "aperiodic", "{alert}");
    assert_eq!(ask(&["script", "run", "is_down", "--element", &up])["calls"], 1);
    let wrong = run_fails(&["script", "run", "suricata", "--api", &api], 3);
    assert!(wrong.contains("kind syslog"), "{wrong}");
    let wrong = run_fails(&["script", "run", "no_such_script", "--api", &api], 1);
    assert!(wrong.contains("no_such_script"), "{wrong}");

    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.send_to(b"<11>Oct 11 22:14:15 gate disk: failing", ("127.0.0.1", log_port)).unwrap();
    wait_for("the log line's alert in the history", 20, || {
        let page = get_json(&format!("{base}/alerts?type=host_log"));
        page["items"].as_array()?.iter().find(|alert| alert["message"] == "disk: failing").cloned()
    });

    ask(&["settings", "delete", "monitor", "edited"]);
    wait_for("the release", 10, || engaged("active_monitoring").is_none().then_some(()));
    assert_eq!(node.terminate(), Some(0));
    drop(server);
}
