//! Sites whose configuration `config/sites/generate.sh` has written.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::processes::{healthy, setup, start};
use super::server::{Servers, programs};
use crate::support::http::{Recorder, get_json};
use crate::support::program::{Running, Said, flowhook, text};
use crate::support::{data, free_port, wait_for};

fn generate(args: &[&str]) -> Output {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sites/generate.sh");
    Command::new(script).args(args).said().unwrap()
}

/// The server of a folder, started as the generator says.
fn server(program: &std::ffi::OsStr, site: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-ec", "set -a; . \"$1/nats.env\"; set +a; exec \"$0\" $2 -c \"$1/site.conf\""]);
    shell.arg(program).arg(site);
    shell
}

/// What a file of the folder holds, with each `from` made `to`, written back.
fn edit(folder: &Path, file: &str, changes: &[(&str, &str)]) -> String {
    let path = folder.join(file);
    let mut content = std::fs::read_to_string(&path).unwrap();
    for (from, to) in changes {
        assert!(content.contains(from), "{file} has no {from}");
        content = content.replace(from, to);
    }
    std::fs::write(path, &content).unwrap();
    content
}

#[test]
fn a_generated_site_of_collectors_is_served_by_the_hub() {
    let Some(program) = programs().into_iter().next() else { return };
    let servers = Servers::new(program.clone());
    let recorder = Recorder::start();
    let hub_server = servers.hub();
    let hub_port = free_port();
    let kiosk = "[[bus.nats.sites]]\ndomain = \"kiosk\"\nown_aggregator = false\n";
    let api = format!("[aggregator.api]\nlisten = \"127.0.0.1:{hub_port}\"\n");
    let hub = setup(&hub_server, "aggregator", "hub", &recorder, &format!("{kiosk}{api}"));
    let _hub = start("aggregator", &hub);
    healthy(hub_port);

    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("kiosk");
    let made = generate(&["--collectors-only", "kiosk", &servers.hub_url(), text(&site)]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(String::from_utf8_lossy(&made.stdout).contains("own_aggregator = false"));
    let (port, store) = (free_port(), dir.path().join("nats"));
    let port = port.to_string();
    edit(&site, "nats.env", &[("4222", &port), ("/var/lib/nats", text(&store))]);
    let mut server = server(&program, &site);
    server.stdin(Stdio::null());
    let _server = Running::start(server, &dir.path().join("nats.log"));
    let state = dir.path().join("state");
    let files = format!("files = [\"{}\"]", text(&data("demo.pcap")));
    let changes =
        [("4222", port.as_str()), ("/var/lib/flowhook", text(&state)), ("device = \"eth0\"", &files)];
    edit(&site, "collector.toml", &changes);
    let config = site.join("collector.toml");
    let _collector = Running::start(flowhook(&["collector", "-c", text(&config)]), &dir.path().join("log"));
    wait_for("the site's packets at the hub", 60, || {
        let interfaces = get_json(&format!("http://127.0.0.1:{hub_port}/api/v1/interfaces"));
        let row = interfaces["items"].as_array()?.iter().find(|row| row["site"] == "kiosk").cloned()?;
        (row["stats"]["packets"] == 3529).then_some(())
    });
}

#[test]
fn what_is_generated_is_right_and_what_cannot_be_is_said() {
    let Some(program) = programs().into_iter().next() else { return };
    let dir = tempfile::tempdir().unwrap();
    let site = dir.path().join("lyon");
    let hub = "nats-leaf://site:hunter2%26@127.0.0.1:7422";
    assert!(generate(&["lyon", hub, text(&site)]).status.success());
    let tested = server(&program, &site).arg("-t").said().unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stderr));
    for role in ["collector", "aggregator", "notifier"] {
        let config = site.join(format!("{role}.toml"));
        let checked = flowhook(&["check", "-c", text(&config)]).said().unwrap();
        assert!(checked.status.success(), "{role}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    for (args, said) in [
        (vec!["lyon", hub, text(&site)], "is there"),
        (vec!["ly on", hub, "/nowhere"], "SITE: 'ly on'"),
        (vec!["lyon", "hub:7422", "/nowhere"], "HUB: 'hub:7422'"),
        (vec!["lyon", "nats-leaf://site:hunter2&$(r)d@hub:7422", "/nowhere"], "with %XX for odd characters"),
        (vec!["lyon", hub, "/no'where"], "FOLDER: '/no'where'"),
        (vec!["lyon"], "generate.sh [--collectors-only] SITE HUB FOLDER"),
    ] {
        let refused = generate(&args);
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && stderr.contains(said), "{args:?}: {stderr}");
    }
}
