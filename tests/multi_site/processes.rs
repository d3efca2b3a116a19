//! A site with its roles as processes, a hub with its own, and the way between them cut.

use std::collections::BTreeSet;

use serde_json::Value;

use super::server::{PASSWORD, Server, Servers, programs};
use crate::support::http::{Recorder, ask};
use crate::support::program::{Running, Setup, flowhook, text};
use crate::support::{data, free_port, wait_for};

/// The demo's configuration, for a role at a site; one list of recipients for all.
pub fn setup(server: &Server, role: &str, site: &str, recorder: &Recorder, more: &str) -> Setup {
    let root = env!("CARGO_MANIFEST_DIR");
    let demo = std::fs::read_to_string(format!("{root}/config/demo.toml")).unwrap();
    let demo = &demo[..demo.find("[notifier]").unwrap()];
    let demo = demo
        .replace("dir = \"config/demo/scripts\"", "")
        .replace(
            "[node]\nsite = \"demo\"\nname = \"demo-node\"",
            &format!("[node]\nstate_dir = \"{{dir}}/state\"\nsite = \"{site}\"\nname = \"{site}-{role}\""),
        )
        .replace("[aggregator.api]\nlisten = \"127.0.0.1:8080\"", "");
    let url = recorder.url();
    Setup::new(&format!(
        r#"{demo}
[bus]
kind = "nats"
[bus.nats]
servers = ["nats://127.0.0.1:{port}"]
user = "{role}"
password = "{PASSWORD}"
inbox_prefix = "_INBOX.{role}"
{more}
[[notifier.endpoint]]
name = "duty"
kind = "webhook"
params = {{ url = "{url}/duty" }}
[[notifier.endpoint]]
name = "noc"
kind = "webhook"
params = {{ url = "{url}/noc" }}
[[notifier.recipient]]
name = "duty"
endpoint = "duty"
local = true
[[notifier.recipient]]
name = "noc"
endpoint = "noc"
"#,
        port = server.port
    ))
}

pub fn start(role: &str, setup: &Setup) -> Running {
    Running::start(flowhook(&[role, "-c", &setup.config()]), &setup.path("log"))
}

/// Ids of the alerts that were told at a path, with what happened, as often as they were.
fn told(recorder: &Recorder, path: &str) -> Vec<(String, String)> {
    let requests = recorder.requests_to(path);
    let alerts = requests.iter().flat_map(|request| request.json()["alerts"].as_array().unwrap().clone());
    let word = |alert: &Value, key: &str| alert[key].as_str().unwrap().to_owned();
    alerts.map(|alert| (word(&alert, "id"), word(&alert, "action"))).collect()
}

pub fn healthy(port: u16) {
    let url = format!("http://127.0.0.1:{port}/api/v1/health");
    wait_for("the API", 60, || ask("GET", &url).filter(|(status, _)| *status == 200));
}

/// Ids of the alerts in the history behind an API.
fn history(port: u16) -> BTreeSet<String> {
    let url = format!("http://127.0.0.1:{port}/api/v1/alerts?limit=1000");
    let Some((200, body)) = ask("GET", &url) else { return BTreeSet::new() };
    let body: Value = serde_json::from_str(&body).unwrap();
    let ids = body["items"].as_array().unwrap().iter();
    ids.map(|alert| alert["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_site_that_is_cut_off_tells_its_own_and_the_hub_tells_the_others_later_and_nobody_twice() {
    let Some(program) = programs().into_iter().next() else { return };
    let servers = Servers::new(program);
    let recorder = Recorder::start();
    let mut hub_server = servers.hub();
    let lyon_server = servers.site("lyon");
    let (hub_port, lyon_port) = (free_port(), free_port());
    let api = |port: u16| format!("[aggregator.api]\nlisten = \"127.0.0.1:{port}\"\n");
    let targets = "[notifier]\nallow_private_targets = true\n";

    let sites = "[[bus.nats.sites]]\ndomain = \"lyon\"\n";
    let hub = ["aggregator", "notifier"].map(|role| {
        setup(&hub_server, role, "hub", &recorder, &format!("{sites}{}{targets}", api(hub_port)))
    });
    let lyon = ["aggregator", "notifier"].map(|role| {
        let more = format!("{}{targets}local_only = true\n", api(lyon_port));
        setup(&lyon_server, role, "lyon", &recorder, &more)
    });
    let file =
        format!("[[collector.interface]]\nname = \"file\"\nfiles = [\"{}\"]\n", text(&data("demo.pcap")));
    let collector = setup(&lyon_server, "collector", "lyon", &recorder, &format!("{file}{targets}"));

    let mut running: Vec<Running> = hub
        .iter()
        .chain(&lyon)
        .zip(["aggregator", "notifier"].iter().cycle())
        .map(|(setup, role)| start(role, setup))
        .collect();
    healthy(hub_port);
    healthy(lyon_port);
    hub_server.kill();
    running.push(start("collector", &collector));

    // Cut off, the site works, keeps its history and tells its own.
    let at_site = wait_for("alerts at the site", 90, || {
        let (told, kept) = (told(&recorder, "/duty"), history(lyon_port));
        let ids: BTreeSet<String> = told.iter().map(|(id, _)| id.clone()).collect();
        (ids.len() > 3 && ids == kept).then_some(ids)
    });
    assert_eq!(told(&recorder, "/noc"), [], "the others are the hub's");

    hub_server.start();
    wait_for("the same at the hub", 90, || {
        let ids: BTreeSet<String> = told(&recorder, "/noc").into_iter().map(|(id, _)| id).collect();
        (at_site.is_subset(&ids) && at_site.is_subset(&history(hub_port))).then_some(())
    });
    // The end of the file has ended what was still engaged; both have it all.
    wait_for("the same on both sides", 60, || {
        let [duty, noc] = ["/duty", "/noc"].map(|path| told(&recorder, path).into_iter().collect());
        let (duty, noc): (BTreeSet<_>, BTreeSet<_>) = (duty, noc);
        (duty.is_subset(&noc)).then_some(())
    });
    for path in ["/duty", "/noc"] {
        let told = told(&recorder, path);
        let once: BTreeSet<_> = told.iter().collect();
        assert_eq!(once.len(), told.len(), "{path}: nobody is told twice");
    }
    for process in &mut running {
        assert_eq!(process.terminate(), Some(0));
    }
}
