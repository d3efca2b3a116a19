//! What each live source must do, on a cable whose traffic is known to the packet.

use super::cable::{Cable, fragments, udp, udp6};
use super::log;
use crate::support::program::Said;
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

/// Each flow has a whole datagram and one in two fragments, whatever thread gets them. Divided by flows
/// the kernel joins fragments of IPv4 first, and knows no ports of those of IPv6; by addresses it does neither.
fn fragments_stay_with_their_flow(name: &str, source: &str, threads: usize, v6: bool) {
    const FLOWS: u16 = 100;
    let Some(cable) = Cable::new(name) else { return };
    let filter = if v6 { "ip6 net 2001:db8::/32" } else { "net 198.18.0.0/15" };
    let settings = format!(
        "source = \"{source}\"\nfilter = \"{filter}\"\nthreads = {threads}\nfanout = \"addresses\"\n"
    );
    let capturing = cable.capture(&settings);
    let mut sender = cable.sender();
    for flow in 0..FLOWS {
        sender.send(&if v6 { udp6(flow) } else { udp(flow, false, None) });
        // Out of order in every second flow.
        let mut parts = fragments(flow, v6);
        if flow % 2 == 1 {
            parts.reverse();
        }
        parts.iter().for_each(|part| sender.send(part));
    }
    let row = cable.wait_for_totals(&capturing, u64::from(FLOWS) * 3);
    let live = capturing.get(&cable.namespace, "/flows/live?limit=1000").unwrap();
    let live = live["items"].as_array().unwrap();
    let split: Vec<_> = live.iter().filter(|flow| flow["cli2srv"]["packets"] != 3).collect();
    assert!(split.is_empty(), "{} of {}: {:?}", split.len(), live.len(), split.first());
    assert_eq!(row["stats"]["flows"].as_u64(), Some(u64::from(FLOWS)), "{row}");
}

#[test]
fn fragments_of_ipv4_stay_with_their_flow() {
    fragments_stay_with_their_flow("fr4-p", "libpcap", 1, false);
    fragments_stay_with_their_flow("fr4-2", "libpcap", 2, false);
    fragments_stay_with_their_flow("fr4-3", "af_packet", 3, false);
}

#[test]
fn fragments_of_ipv6_stay_with_their_flow() {
    fragments_stay_with_their_flow("fr6-p", "libpcap", 1, true);
    fragments_stay_with_their_flow("fr6-2", "libpcap", 2, true);
    fragments_stay_with_their_flow("fr6-3", "af_packet", 3, true);
}

#[test]
fn threads_stay_on_the_cores_that_are_named() {
    let Some(cable) = Cable::new("core") else { return };
    let capturing = cable.capture(&settings("af_packet", "threads = 2\ncores = [1, 0]"));
    cable.sender().send(&udp(1, false, None));
    cable.wait_for_totals(&capturing, 1);
    // `ip netns exec` becomes the program, so that its process number is the program's.
    let tasks = format!("/proc/{}/task", capturing.running.0.id());
    let mut cores = std::collections::BTreeMap::new();
    for task in std::fs::read_dir(tasks).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        if field("Name:").starts_with("capture-fhv0-") {
            cores.insert(field("Name:"), field("Cpus_allowed_list:"));
        }
    }
    let cores: Vec<_> = cores.into_iter().collect();
    assert_eq!(cores, [("capture-fhv0-0".into(), "1".into()), ("capture-fhv0-1".into(), "0".into())]);
}

#[test]
fn a_short_snaplen_cuts_packets_and_not_their_length() {
    for (name, source) in [("snl-p", "libpcap"), ("snl-a", "af_packet")] {
        for (snaplen, l7) in [(65_535, "DNS"), (42, "Unknown")] {
            let Some(cable) = Cable::new(name) else { return };
            let capturing = cable.capture(&settings(source, &format!("snaplen = {snaplen}")));
            let mut frame = udp(1, false, None);
            frame.truncate(42);
            frame.extend_from_slice(b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01");
            let (ip, udp) = ((frame.len() - 14) as u8, (frame.len() - 34) as u8);
            (frame[17], frame[39]) = (ip, udp);
            cable.sender().send(&frame);
            let row = cable.wait_for_totals(&capturing, 1);
            assert_eq!(row["stats"]["bytes"].as_u64(), Some(frame.len() as u64), "{source}: {row}");
            let live = capturing.get(&cable.namespace, "/flows/live").unwrap();
            let flow = &live["items"][0];
            assert_eq!(flow["cli2srv"]["goodput_bytes"], 29, "{source}");
            let name = if flow["l7_source"] == "payload" { flow["l7"].as_str().unwrap() } else { "Unknown" };
            assert_eq!(name, l7, "{source} with a snaplen of {snaplen}");
        }
    }
}

#[test]
fn packets_for_others_are_asked_for_by_choice() {
    for (name, source) in [("prm-p", "libpcap"), ("prm-a", "af_packet")] {
        for promiscuous in [true, false] {
            let Some(cable) = Cable::new(name) else { return };
            let _capturing = cable.capture(&settings(source, &format!("promiscuous = {promiscuous}")));
            let args = ["-n", &cable.namespace, "-d", "link", "show", "fhv0"];
            let shown = std::process::Command::new("ip").args(args).said().unwrap();
            let shown = String::from_utf8(shown.stdout).unwrap();
            let count = shown.split("promiscuity ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
            assert_eq!(count != "0", promiscuous, "{source}: {shown}");
        }
    }
}

#[test]
fn a_busy_link_and_one_that_is_down_stop_at_once() {
    for (name, source) in [("bsy-p", "libpcap"), ("bsy-a", "af_packet")] {
        for busy in [true, false] {
            let Some(cable) = Cable::new(name) else { return };
            let mut capturing = cable.capture(&settings(source, "threads = 2"));
            let mut sender = cable.sender();
            if !busy {
                cable.link("set fhv0 down");
                cable.wait_for_alert(&capturing, "interface_down");
            }
            let over = std::sync::atomic::AtomicBool::new(false);
            let code = std::thread::scope(|scope| {
                if busy {
                    scope.spawn(|| {
                        while !over.load(std::sync::atomic::Ordering::Relaxed) {
                            (0..600).for_each(|flow| sender.send(&udp(flow, false, None)));
                        }
                    });
                    wait_for("packets", 30, || {
                        let row = capturing.get(&cable.namespace, "/interfaces")?;
                        (row["items"][0]["stats"]["packets"].as_u64()? > 10_000).then_some(())
                    });
                }
                capturing.running.ask_to_stop();
                let code = wait_for("the end", 15, || capturing.running.0.try_wait().unwrap());
                over.store(true, std::sync::atomic::Ordering::Relaxed);
                code
            });
            assert_eq!(code.code(), Some(0), "{source}: {}", log(&capturing.setup));
        }
    }
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
