//! Whole days of event time, replayed: how often the hooks of elements that live throughout are called
//! (design: seeds 000 and 001).

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::http::Recorder;
use crate::support::program::{Setup, run_json, text};

/// Counts its calls by element and period, and posts all counts with each call of a day.
const COUNT: &str = r#"
let seen = #{};
#{
    kind: "KIND",
    lifecycle: "load",
    hooks: #{
        all: |p| {
            let key = `${p.entity_info} ${p.granularity}`;
            if key in seen { seen[key] += 1 } else { seen[key] = 1 }
            if p.granularity == "day" { http_post("RECEIVER/KIND", to_json(seen)) }
        },
    },
}
"#;

/// A capture of two local hosts that ask a remote one every 20 seconds, from `begin` on.
fn capture(begin: i64, seconds: i64) -> Vec<u8> {
    // Little-endian, microseconds, Ethernet (draft-ietf-opsawg-pcap).
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for at in (begin..begin + seconds).step_by(20) {
        for host in [1, 2] {
            let mut frame = vec![2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, host, 8, 0];
            frame.extend([0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, host, 192, 0, 2, 1]);
            frame.extend([0x99, 0x99, 0x88, 0x88, 0, 12, 0, 0, 1, 2, 3, 4]);
            let length = frame.len() as u32;
            for word in [at as u32, 0, length, length] {
                file.extend(word.to_le_bytes());
            }
            file.extend(frame);
        }
    }
    file
}

/// Calls by kind of element, element and period, of a day in a time zone.
fn day(zone: &str, begin: &str, seconds: i64) -> BTreeMap<String, BTreeMap<String, u64>> {
    let recorder = Recorder::start();
    let setup = Setup::new(&format!(
        "[node]\nlocal_networks = [\"10.0.0.0/8\"]\n[scripts]\nbuiltin = false\ndir = \"{{dir}}/scripts\"\n\
         [notifier]\nallow_private_targets = true\n[aggregator]\ntime_zone = \"{zone}\"\n"
    ));
    std::fs::create_dir(setup.path("scripts")).unwrap();
    let kinds = ["host", "network", "interface", "system"];
    for kind in kinds {
        let script = COUNT.replace("KIND", kind).replace("RECEIVER", &recorder.url());
        std::fs::write(setup.path(&format!("scripts/{kind}s.rhai")), script).unwrap();
    }
    let begin: shared::model::Timestamp = begin.parse().unwrap();
    std::fs::write(setup.path("day.pcap"), capture(begin.secs(), seconds)).unwrap();
    let report = run_json(&["replay", text(&setup.path("day.pcap")), "-c", &setup.config(), "-O", "json"]);
    assert_eq!(report["errors"], serde_json::json!({}), "{report}");
    let counts = |kind: &str| {
        let posts = recorder.requests_to(&format!("/{kind}"));
        let most = posts.iter().map(|post| post.json()).max_by_key(total).unwrap();
        serde_json::from_value(most).unwrap()
    };
    kinds.into_iter().map(|kind| (kind.to_owned(), counts(kind))).collect()
}

fn total(counts: &Value) -> u64 {
    counts.as_object().unwrap().values().filter_map(Value::as_u64).sum()
}

/// What every element should count.
fn expected(elements: &[&str], hours: u64) -> BTreeMap<String, u64> {
    let periods = [("min", 60 * hours), ("5mins", 12 * hours), ("hour", hours), ("day", 1)];
    let of = |element: &&str| periods.map(|(period, count)| (format!("{element} {period}"), count));
    elements.iter().flat_map(of).collect()
}

#[test]
fn each_element_hook_of_a_day_is_called_exactly_its_number_of_times() {
    let central_europe = "CET-1CEST,M3.5.0,M10.5.0/3";
    for (zone, begin, hours) in [
        ("UTC", "2024-02-29T00:00:00Z", 24),
        (central_europe, "2026-03-28T23:00:00Z", 23),
        (central_europe, "2026-10-24T22:00:00Z", 25),
    ] {
        let called = day(zone, begin, hours * 3600);
        let hours = hours as u64;
        assert_eq!(called["host"], expected(&["10.0.0.1", "10.0.0.2", "192.0.2.1"], hours), "{begin}");
        assert_eq!(called["network"], expected(&["10.0.0.0/8"], hours), "{begin}");
        assert_eq!(called["interface"].values().copied().collect::<Vec<_>>().len(), 4, "{begin}");
        assert_eq!(called["interface"].values().sum::<u64>(), 73 * hours + 1, "{begin}");
        assert_eq!(called["system"], expected(&["flowhook"], hours), "{begin}");
    }
}
