//! A disk that fills up under a node that runs.

use std::collections::BTreeSet;

use shared::wire::subject::Subjects;

use crate::replay::demo_config;
use crate::settings::start;
use crate::support::disk::SmallDisk;
use crate::support::http::{Recorder, ask, get_json};
use crate::support::program::{Running, Said, flowhook, run_json};
use crate::support::{free_port, wait_for};

/// The node says that its store fails, and tells so when there is room; edits fail until then.
#[test]
fn a_disk_that_is_full_is_an_alert_that_arrives_and_what_waits_goes_on_by_itself() {
    let recorder = Recorder::start();
    let setup = demo_config(&recorder);
    let Some(disk) = SmallDisk::at(&setup.path("state"), "32m") else { return };
    let (mut node, api) = start(&setup);
    let edit = |name: &str| {
        let content = r#"{"members": ["10.0.0.0/8"]}"#;
        flowhook(&["settings", "set", "pools", name, content, "--api", &api]).said().unwrap()
    };
    assert!(edit("before").status.success(), "{}", String::from_utf8_lossy(&edit("before").stderr));
    let ballast = disk.fill();
    // Some pages of the log may be free yet.
    let mut number = 0;
    wait_for("an edit to fail", 30, || {
        number += 1;
        (!edit(&format!("p{number}")).status.success()).then_some(())
    });
    let log = || std::fs::read_to_string(setup.path("log")).unwrap_or_default();
    wait_for("the log to say so", 30, || log().contains("disk is full").then_some(()));
    let told = || {
        let requests = recorder.requests_to("/alerts");
        requests.iter().any(|request| request.json().to_string().contains("store_failed")).then_some(())
    };
    std::fs::remove_file(&ballast).unwrap();
    wait_for("the operator to be told", 60, told);
    let known = |kind: &str| get_json(&format!("{api}/api/v1/alerts?limit=100")).to_string().contains(kind);
    wait_for("the end in the history", 60, || known("store_recovered").then_some(()));
    assert!(known("store_failed"));
    wait_for("an edit to be kept", 30, || edit("after").status.success().then_some(()));
    let pools = run_json(&["settings", "list", "pools", "--api", &api, "-O", "json"]).to_string();
    assert!(pools.contains("before") && pools.contains("after"), "{pools}");
    assert_eq!(node.terminate(), Some(0));
}

/// What the ledger cannot take stays on the bus: nothing of it is lost, and nobody has to do anything.
#[test]
fn alerts_that_come_while_the_disk_is_full_are_told_when_there_is_room() {
    let (recorder, port) = (Recorder::start(), free_port());
    let Some(nats) = crate::cluster::nats_server("full_disk") else { return };
    let setup = crate::kill::setup(&nats.url, port, &recorder, "");
    let Some(disk) = SmallDisk::at(&setup.path("state"), "32m") else { return };
    let mut node = Running::start(flowhook(&["run", "-c", &setup.config()]), &setup.path("log"));
    let api = format!("http://127.0.0.1:{port}");
    wait_for("the API", 30, || {
        ask("GET", &format!("{api}/api/v1/health")).filter(|(status, _)| *status == 200)
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bus = runtime.block_on(crate::cluster::connect(&nats.url, "kill"));
    let mut published = 0;
    let mut publish = || {
        let alert = crate::kill::unlike(published);
        let subject = Subjects::new("kill").alert(&alert.site, alert.entity, alert.severity, alert.action);
        let json = serde_json::to_vec(&alert).unwrap();
        runtime.block_on(async {
            let receipt = bus.append(&subject, &alert.transition_id(), json.into()).await.unwrap();
            receipt.stored().await.unwrap();
        });
        published += 1;
        published
    };
    let ballast = disk.fill();
    let log = || std::fs::read_to_string(setup.path("log")).unwrap_or_default();
    // Some pages of the log may be free yet.
    let taken = wait_for("the ledger to take no more", 60, || {
        let count = publish();
        let refused = |line: &str| line.contains("the ledger failed") && line.contains("messages=");
        log().lines().any(refused).then_some(count)
    });
    let count = (0..50).map(|_| publish()).last().unwrap();
    assert!(log().contains("disk is full"), "that is why");
    let told = crate::kill::delivered(&recorder).len();
    assert!(told <= taken, "{told} were told, and nothing is told that is not in the ledger");
    std::fs::remove_file(&ballast).unwrap();
    let expected: BTreeSet<String> =
        (0..count).map(|number| crate::kill::unlike(number).transition_id()).collect();
    let arrived = || {
        let known = crate::kill::delivered(&recorder);
        expected.iter().all(|id| known.contains_key(id)).then_some(known)
    };
    let arrived = wait_for("all of them at the webhook", 120, arrived);
    assert!(arrived.values().all(|keys| keys.len() == 1), "each with one key");
    crate::kill::nothing_owed(port);
    assert_eq!(node.terminate(), Some(0));
    assert!(expected.is_subset(&crate::kill::accepted(&setup.path("state"))), "and in the history");
}
