//! The syslog endpoint against a real rsyslog.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::program::{Running, Setup, run_json, text};
use crate::support::{data, free_port, has_program, wait_for};

#[test]
fn alerts_reach_a_real_rsyslog_over_udp_and_tcp() {
    if !has_program("rsyslogd") {
        return;
    }
    let (udp, tcp) = (free_port(), free_port());
    let recipients: String = [("udp", udp, "text"), ("tcp", tcp, "json")]
        .map(|(protocol, port, format)| {
            format!(
                r#"
[[notifier.endpoint]]
name = "{protocol}"
kind = "syslog"
params = {{ host = "127.0.0.1", port = {port}, protocol = "{protocol}", format = "{format}" }}
[[notifier.recipient]]
name = "{protocol}"
endpoint = "{protocol}"
categories = ["security"]
"#
            )
        })
        .concat();
    let setup = Setup::new(&format!(
        "[node]\nname = \"fh\"\nlocal_networks = [\"192.168.0.0/16\"]\n[scripts.settings.unexpected_dns]\nenabled = true\nconfig = {{ servers = [\"192.168.10.1\", \"192.168.42.1\"] }}\n[notifier]\nallow_targets = [\"127.0.0.1/32\"]\n{recipients}"
    ));
    let out = setup.path("received");
    let rsyslog = format!(
        r#"
global(workDirectory="{dir}")
module(load="imudp") input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="all")
module(load="imtcp") input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="all")
template(name="line" type="string" string="%inputname% %syslogfacility% %syslogseverity% %programname%|%msg%\n")
ruleset(name="all") {{ action(type="omfile" file="{out}" template="line") }}
"#,
        dir = text(setup.dir.path()),
        out = text(&out),
    );
    std::fs::write(setup.path("rsyslog.conf"), rsyslog).unwrap();
    let mut command = Command::new("rsyslogd");
    command.args(["-n", "-f", text(&setup.path("rsyslog.conf")), "-i", text(&setup.path("pid"))]);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).stdin(Stdio::null());
    let _rsyslog = Running::start(command, &setup.path("rsyslog.log"));
    wait_for("rsyslog", 20, || std::net::TcpStream::connect(("127.0.0.1", tcp)).ok());

    let demo = data("demo.pcap");
    let report = run_json(&["replay", text(&demo), "-c", &setup.config(), "-O", "json"]);
    let sent = |name: &str| report["deliveries"][name]["delivered"].as_u64().unwrap() as usize;
    assert!(sent("udp") > 3 && sent("udp") == sent("tcp"), "{report}");
    let lines = wait_for("every line", 20, || {
        let lines: Vec<String> = std::fs::read_to_string(&out).ok()?.lines().map(str::to_owned).collect();
        (lines.len() >= sent("udp") + sent("tcp")).then_some(lines)
    });
    assert_eq!(lines.len(), sent("udp") + sent("tcp"));
    // Facility 14, severity 3 (error), as the seed maps them.
    let dns = |line: &&String| line.contains("asked DNS server 198.51.100.53 for tracker.ads.example");
    let text_line =
        lines.iter().find(|l| l.starts_with("imudp") && dns(l)).unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(text_line.starts_with("imudp 14 3 flowhook|"), "{text_line}");
    assert!(text_line.contains("[Error][Unexpected DNS][Flow]"), "{text_line}");
    let json_line =
        lines.iter().find(|l| l.starts_with("imtcp") && dns(l)).unwrap_or_else(|| panic!("{lines:#?}"));
    let json: Value = serde_json::from_str(json_line.split_once('|').unwrap().1.trim()).unwrap();
    assert_eq!((json["type"].as_str(), json["action"].as_str()), (Some("unexpected_dns"), Some("store")));
    assert_eq!((json["severity"].as_str(), json["entity_type"].as_str()), (Some("error"), Some("flow")));
    assert!(json["tstamp"].is_i64() && json["ifid"].is_i64(), "{json}");
}
