//! What each live source must do, on a cable whose traffic is known to the packet.

use super::cable::{Cable, udp};
use super::log;
use crate::support::wait_for;

/// Only what the tests send, whatever the machine itself says on the cable.
const OURS: &str = "udp and net 198.18.0.0/15";

fn settings(source: &str, more: &str) -> String {
    format!("source = \"{source}\"\nfilter = \"{OURS}\"\n{more}")
}

/// Each flow has `rounds` packets either way.
fn totals_are_exact(name: &str, source: &str, threads: usize) {
    const FLOWS: u16 = 600;
    const ROUNDS: usize = 5;
    let Some(cable) = Cable::new(name) else { return };
    let mut capturing = cable.capture(&settings(source, &format!("threads = {threads}")));
    let mut sender = cable.sender();
    for _ in 0..ROUNDS {
        for back in [false, true] {
            for flow in 0..FLOWS {
                sender.send(&udp(flow, back, None));
            }
        }
    }
    let flows = u64::from(FLOWS);
    let packets = 2 * flows * ROUNDS as u64;
    let row = cable.wait_for_totals(&capturing, packets);
    let stats = &row["stats"];
    // A flow that is split over threads would be counted once by each.
    assert_eq!(
        (stats["bytes"].as_u64(), stats["flows"].as_u64()),
        (Some(packets * 60), Some(flows)),
        "{row}"
    );
    assert_eq!(stats["drops"], 0);
    let live = capturing.get(&cable.namespace, "/flows/live?limit=1000").unwrap();
    let live = live["items"].as_array().unwrap();
    assert_eq!(live.len(), flows as usize);
    assert!(live.iter().all(|f| f["cli2srv"]["packets"] == ROUNDS && f["srv2cli"]["packets"] == ROUNDS));
    let ids: std::collections::BTreeSet<_> = live.iter().map(|f| f["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), flows as usize, "every flow has its own number");
    for thread in 0..threads as u64 {
        let share = ids.iter().filter(|id| *id % threads as u64 == thread).count();
        assert!(share > flows as usize / threads / 2, "thread {thread} has {share} flows");
    }
    // Pages of all threads together are pages of one interface.
    let page = capturing.get(&cable.namespace, "/flows/live?limit=7").unwrap();
    let first: Vec<_> = page["items"].as_array().unwrap().iter().map(|f| f["id"].as_u64().unwrap()).collect();
    assert_eq!(first, ids.iter().copied().take(7).collect::<Vec<_>>());
    assert!(page["next"].is_string());
    // A stop ends every flow of every thread, once.
    assert_eq!(capturing.running.terminate(), Some(0), "{}", log(&capturing.setup));
    let ended = tokio::runtime::Runtime::new().unwrap().block_on(async {
        use shared::store::FlowStore;
        let store = shared::store::sqlite::SqliteStore::open(&capturing.setup.path("state")).unwrap();
        let query = shared::model::query::FlowQuery { limit: 1000, ..Default::default() };
        store.flows(query).await.unwrap().items
    });
    assert_eq!(ended.len(), flows as usize);
    assert!(ended.iter().all(|stored| stored.flow.packets() == 2 * ROUNDS as u64));
}

#[test]
fn libpcap_counts_every_packet_and_flow() {
    totals_are_exact("tot-p", "libpcap", 1);
}

#[test]
fn af_packet_counts_every_packet_and_flow() {
    totals_are_exact("tot-a", "af_packet", 1);
}

#[test]
fn two_threads_of_libpcap_share_an_interface() {
    totals_are_exact("fan-p", "libpcap", 2);
}

#[test]
fn three_threads_of_af_packet_share_an_interface() {
    totals_are_exact("fan-a", "af_packet", 3);
}

#[test]
fn tags_stay_and_filters_hold() {
    for (name, source) in [("tag-p", "libpcap"), ("tag-a", "af_packet")] {
        let Some(cable) = Cable::new(name) else { return };
        let capturing = cable.capture(&format!("source = \"{source}\"\nfilter = \"vlan 7 and udp\"\n"));
        let mut sender = cable.sender();
        for flow in 0..10 {
            sender.send(&udp(flow, false, Some(7)));
            sender.send(&udp(flow, false, Some(8)));
            sender.send(&udp(flow, false, None));
        }
        let row = cable.wait_for_totals(&capturing, 10);
        assert_eq!(row["stats"]["bytes"], 640, "{source}: the tag belongs to the packet");
        let live = capturing.get(&cable.namespace, "/flows/live").unwrap();
        let live = live["items"].as_array().unwrap();
        assert_eq!(live.len(), 10);
        assert!(live.iter().all(|flow| flow["vlan"] == 7), "{live:?}");
    }
}

#[test]
fn a_tag_is_seen_without_a_filter_for_it() {
    for (name, source) in [("vl-p", "libpcap"), ("vl-a", "af_packet")] {
        let Some(cable) = Cable::new(name) else { return };
        let capturing = cable.capture(&settings(source, ""));
        cable.sender().send(&udp(1, false, Some(42)));
        let row = cable.wait_for_totals(&capturing, 1);
        assert_eq!(row["stats"]["bytes"], 64);
        let live = capturing.get(&cable.namespace, "/flows/live").unwrap();
        assert_eq!(live["items"][0]["vlan"], 42, "{source}");
    }
}

#[test]
fn a_silent_link_stops_at_once() {
    for (name, source) in [("sil-p", "libpcap"), ("sil-a", "af_packet")] {
        let Some(cable) = Cable::new(name) else { return };
        let mut capturing = cable.capture(&settings(source, "threads = 2"));
        capturing.running.ask_to_stop();
        let code = wait_for("the end", 10, || capturing.running.0.try_wait().unwrap());
        assert_eq!(code.code(), Some(0), "{}", log(&capturing.setup));
    }
}

#[test]
fn an_interface_goes_down_and_comes_back() {
    for (name, source) in [("dn-p", "libpcap"), ("dn-a", "af_packet")] {
        let Some(cable) = Cable::new(name) else { return };
        let capturing = cable.capture(&settings(source, "threads = 2"));
        cable.sender().send(&udp(1, false, None));
        cable.wait_for_totals(&capturing, 1);
        cable.link("set fhv0 down");
        cable.wait_for_alert(&capturing, "interface_down");
        cable.link("set fhv0 up");
        cable.wait_for_alert(&capturing, "interface_up");
        cable.sender().send(&udp(1, true, None));
        // The flow goes on: nothing was lost with the link.
        let row = cable.wait_for_totals(&capturing, 2);
        assert_eq!(row["stats"]["flows"], 1, "{source}: {row}");
        for kind in ["interface_down", "interface_up"] {
            assert_eq!(cable.alerts(&capturing, kind).unwrap().len(), 1, "{source}: {kind}");
        }
        assert_eq!(cable.alerts(&capturing, "capture_failed").unwrap().len(), 0, "{source}");
    }
}

/// The interface leaves by `leave`, and `back` brings its name back.
fn leaves_and_returns(name: &str, source: &str, says: &str, leave: fn(&Cable), back: fn(&Cable)) {
    let Some(cable) = Cable::new(name) else { return };
    let capturing = cable.capture(&settings(source, "threads = 2"));
    cable.sender().send(&udp(1, false, None));
    cable.wait_for_totals(&capturing, 1);
    leave(&cable);
    let alert = cable.wait_for_alert(&capturing, "capture_failed");
    assert!(alert["message"].as_str().unwrap().contains(says), "{alert}");
    back(&cable);
    cable.wait_for_alert(&capturing, "capture_resumed");
    cable.sender().send(&udp(2, false, None));
    cable.wait_for_totals(&capturing, 2);
    for kind in ["capture_failed", "capture_resumed"] {
        assert_eq!(cable.alerts(&capturing, kind).unwrap().len(), 1, "{source}: {kind}");
    }
}

#[test]
fn an_interface_is_renamed_and_gets_its_name_back() {
    for (name, source) in [("ren-p", "libpcap"), ("ren-a", "af_packet")] {
        leaves_and_returns(
            name,
            source,
            "renamed to fhother",
            |cable| cable.link("set fhv0 name fhother"),
            |cable| cable.link("set fhother name fhv0"),
        );
    }
}

#[test]
fn an_interface_is_removed_and_made_anew() {
    for (name, source) in [("del-p", "libpcap"), ("del-a", "af_packet")] {
        leaves_and_returns(
            name,
            source,
            "removed",
            |cable| cable.link("del fhv0"),
            |cable| assert!(cable.plug()),
        );
    }
}
