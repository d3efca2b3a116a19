//! A disk that fills up under a node that runs.

use crate::replay::demo_config;
use crate::settings::start;
use crate::support::disk::SmallDisk;
use crate::support::http::{Recorder, get_json};
use crate::support::program::{flowhook, run_json};
use crate::support::wait_for;

/// The node says that its store fails, keeps what it could not write, and tells all of it when there is room.
#[test]
fn a_disk_that_is_full_is_an_alert_that_arrives_and_what_waits_goes_on_by_itself() {
    let recorder = Recorder::start();
    let setup = demo_config(&recorder);
    let Some(disk) = SmallDisk::at(&setup.path("state"), "32m") else { return };
    let (mut node, api) = start(&setup);
    let edit = |name: &str| {
        let content = r#"{"members": ["10.0.0.0/8"]}"#;
        flowhook(&["settings", "set", "pools", name, content, "--api", &api]).output().unwrap()
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
