//! Totals against independent readers: capinfos and tshark.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use shared::secret::mark::assert_absent;

use crate::support::program::{Said, Setup, run, text};
use crate::support::{data, has_program, shared_captures};

/// Packets and bytes both ways of one conversation, the numerically lower end first.
type Conversations = BTreeMap<(String, String), [u64; 4]>;

/// What flowhook finds: packets, bytes, and its flows summed up by conversation.
fn ours(capture: &Path, l4: &[&str]) -> (u64, u64, BTreeMap<String, Conversations>) {
    let setup = Setup::new("[telemetry]\nlog = \"error\"\n[scripts]\nbuiltin = false\n");
    let flows = setup.path("flows.jsonl");
    let output =
        run(&["replay", text(capture), "-c", &setup.config(), "-O", "json", "--flows-out", text(&flows)]);
    assert!(output.status.success(), "{}: {}", capture.display(), String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found: BTreeMap<String, Conversations> = BTreeMap::new();
    for line in std::fs::read_to_string(flows).unwrap().lines() {
        let flow: Value = serde_json::from_str(line).unwrap();
        let name = flow["l4"].as_str().unwrap();
        if !l4.contains(&name) {
            continue;
        }
        let end = |side: &str| format!("{}:{}", flow[side]["ip"].as_str().unwrap(), flow[side]["port"]);
        let count = |way: &str, what: &str| flow[way][what].as_u64().unwrap();
        let there = [count("cli2srv", "packets"), count("cli2srv", "bytes")];
        let back = [count("srv2cli", "packets"), count("srv2cli", "bytes")];
        add(found.entry(name.to_owned()).or_default(), end("client"), end("server"), there, back);
    }
    (report["packets"].as_u64().unwrap(), report["bytes"].as_u64().unwrap(), found)
}

fn add(to: &mut Conversations, a: String, b: String, there: [u64; 2], back: [u64; 2]) {
    let (key, [first, second]) = if a <= b { ((a, b), [there, back]) } else { ((b, a), [back, there]) };
    let sum = to.entry(key).or_default();
    for (sum, value) in sum.iter_mut().zip([first, second].concat()) {
        *sum += value;
    }
}

/// Packets and bytes on the wire by capinfos.
fn capinfos(capture: &Path) -> (u64, u64) {
    let output = Command::new("capinfos").args(["-Mcd", text(capture)]).said().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let number = |label: &str| {
        let line = text.lines().find(|l| l.starts_with(label)).unwrap_or_else(|| panic!("{label}: {text}"));
        line.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
    };
    (number("Number of packets"), number("Data size"))
}

/// What tshark says of one conversation: packets, and bytes rounded down to a unit.
struct Rounded {
    packets: [u64; 2],
    bytes: [u64; 2],
    unit: [u64; 2],
}

/// Conversations by tshark.
fn tshark(capture: &Path, l4: &str) -> BTreeMap<(String, String), Rounded> {
    // ICMP errors quote a header of the packet they are about, which is no packet of that flow.
    let z = format!("conv,{l4},not icmp and not icmpv6");
    let output = Command::new("tshark").args(["-r", text(capture), "-q", "-n", "-z", &z]).said().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut found = BTreeMap::new();
    for line in text.lines().filter(|line| line.contains("<->")) {
        let (a, rest) = line.split_once("<->").unwrap();
        // b, then frames, bytes and unit from b to a, the same from a to b, then the sum.
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [b, back_frames, back_bytes, back_unit, frames, bytes, unit, ..] = words[..] else {
            panic!("{line}")
        };
        let number = |word: &str| word.parse::<u64>().unwrap_or_else(|_| panic!("{word} in {line}"));
        let scale = |unit: &str| match unit {
            "bytes" => 1,
            "kB" => 1000,
            "MB" => 1_000_000,
            _ => panic!("unit {unit} in {line}"),
        };
        let there = (number(frames), number(bytes) * scale(unit), scale(unit));
        let back = (number(back_frames), number(back_bytes) * scale(back_unit), scale(back_unit));
        let (a, b) = (a.trim().to_owned(), b.to_owned());
        let (key, [x, y]) = if a <= b { ((a, b), [there, back]) } else { ((b, a), [back, there]) };
        found.insert(key, Rounded { packets: [x.0, y.0], bytes: [x.1, y.1], unit: [x.2, y.2] });
    }
    found
}

/// Every conversation tshark sees is ours too, with the same packets and bytes both ways.
fn check(capture: &Path) {
    let (packets, bytes, mut found) = ours(capture, &["tcp", "udp"]);
    assert_eq!((packets, bytes), capinfos(capture), "{}", capture.display());
    for l4 in ["tcp", "udp"] {
        let theirs = tshark(capture, l4);
        let ours = found.remove(l4).unwrap_or_default();
        assert_eq!(ours.len(), theirs.len(), "{} {l4}", capture.display());
        for (key, tshark) in theirs {
            let [p1, b1, p2, b2] = ours.get(&key).copied().unwrap_or_else(|| panic!("{key:?} is missing"));
            assert_eq!([p1, p2], tshark.packets, "{} {key:?}", capture.display());
            for (ours, place) in [(b1, 0), (b2, 1)] {
                let off = ours.abs_diff(tshark.bytes[place]);
                assert!(off < tshark.unit[place], "{} {key:?}: {ours} bytes", capture.display());
            }
        }
    }
}

#[test]
fn totals_of_the_bundled_capture_are_those_of_capinfos_and_tshark() {
    if has_program("tshark") && has_program("capinfos") {
        check(&data("demo.pcap"));
    }
}

#[test]
fn totals_of_shared_captures_are_those_of_capinfos_and_tshark() {
    let Some(dir) = shared_captures() else { return };
    if !has_program("tshark") || !has_program("capinfos") {
        return;
    }
    for name in [
        "443-curl.pcap",
        "443-firefox.pcap",
        "443-git.pcap",
        "NTPv4.pcap",
        "anydesk.pcapng",
        "dns_doh.pcap",
        "ftp.pcap",
        "http.pcapng",
        "iphone.pcap",
        "memcached.cap",
        "quic.pcap",
    ] {
        check(&dir.join(name));
    }
}

/// Whatever a capture holds, it is read within this time, by a program without optimisation.
const DEADLINE_S: &str = "60";
/// And within this memory: the program, its tables, and a second's summary.
const MAX_MIB: u64 = 384;

#[test]
fn no_shared_capture_harms_the_program() {
    use wait4::Wait4;
    let Some(dir) = shared_captures() else { return };
    let mut read = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if !path.extension().is_some_and(|e| e == "pcap" || e == "pcapng" || e == "cap") {
            continue;
        }
        let setup = Setup::new("[telemetry]\nlog = \"error\"\n");
        let (out, errors) = (setup.path("report.json"), setup.path("errors"));
        let mut child = Command::new("timeout")
            .args([DEADLINE_S, env!("CARGO_BIN_EXE_flowhook"), "replay", text(&path)])
            .args(["-c", &setup.config(), "-O", "json"])
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&errors).unwrap())
            .spawn()
            .unwrap();
        let used = child.wait4().unwrap();
        let (code, errors) = (used.status.code(), std::fs::read_to_string(errors).unwrap());
        assert_absent("the errors of a replay", errors.as_bytes());
        assert!(matches!(code, Some(0 | 5)), "{}: {code:?} {errors}", path.display());
        let report: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
        assert_eq!(report["errors"]["panics"], Value::Null, "{}", path.display());
        let mib = used.rusage.maxrss >> 20;
        assert!(mib <= MAX_MIB, "{}: {mib} MiB", path.display());
        read += 1;
    }
    assert!(read > 100, "{read}");
}

/// The flow records of the bundled capture.
fn demo_flows() -> Vec<Value> {
    flows_of(&data("demo.pcap"))
}

/// The flow records of a capture.
fn flows_of(capture: &Path) -> Vec<Value> {
    let setup = Setup::new("[telemetry]\nlog = \"error\"\n[scripts]\nbuiltin = false\n");
    let flows = setup.path("flows.jsonl");
    let args = ["replay", text(capture), "-c", &setup.config(), "--flows-out", text(&flows)];
    assert!(run(&args).status.success());
    let flows = std::fs::read_to_string(flows).unwrap();
    flows.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Fields of the bundled capture's packets that match a filter, by tshark.
fn fields<const N: usize>(filter: &str, names: [&str; N]) -> Vec<[String; N]> {
    fields_of(&data("demo.pcap"), filter, names)
}

/// The same of any capture.
fn fields_of<const N: usize>(capture: &Path, filter: &str, names: [&str; N]) -> Vec<[String; N]> {
    let mut args = vec!["-r", text(capture), "-n", "-Y", filter, "-T", "fields"];
    names.iter().for_each(|name| args.extend(["-e", *name]));
    let output = Command::new("tshark").args(args).said().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let row = |line: &str| -> [String; N] {
        let mut fields = line.split('\t').map(str::to_owned);
        std::array::from_fn(|_| fields.next().unwrap_or_default())
    };
    lines.lines().map(row).collect()
}

/// A connection: the client's port and the server's; its addresses are one of a kind in the capture.
fn ports(flow: &Value) -> (u64, u64) {
    (flow["client"]["port"].as_u64().unwrap(), flow["server"]["port"].as_u64().unwrap())
}

#[test]
fn what_tcp_had_to_repair_is_what_tshark_finds() {
    if !has_program("tshark") {
        return;
    }
    let mut ours = BTreeMap::new();
    let mut trips = BTreeMap::new();
    for flow in demo_flows().iter().filter(|flow| flow["l4"] == "tcp") {
        let (client, server) = ports(flow);
        for (side, from, to) in [("cli2srv", client, server), ("srv2cli", server, client)] {
            for what in ["retransmissions", "out_of_order", "zero_windows"] {
                let count = flow[side][what].as_u64().unwrap();
                if count > 0 {
                    *ours.entry((what, from, to)).or_insert(0) += count;
                }
            }
        }
        let [near, far] = ["rtt_client_us", "rtt_server_us"].map(|side| flow[side].as_u64().unwrap());
        if near > 0 && far > 0 {
            trips.insert((client, server), near + far);
        }
    }
    let mut theirs = BTreeMap::new();
    for (what, field) in [
        ("retransmissions", "tcp.analysis.retransmission"),
        ("out_of_order", "tcp.analysis.out_of_order"),
        ("zero_windows", "tcp.analysis.zero_window"),
    ] {
        for [from, to] in fields(field, ["tcp.srcport", "tcp.dstport"]) {
            *theirs.entry((what, from.parse().unwrap(), to.parse().unwrap())).or_insert(0) += 1;
        }
    }
    assert_eq!(ours, theirs);
    assert!(!ours.is_empty(), "the capture has connections that nobody answered");
    // From SYN to ACK; shown by tshark at every packet with an acknowledgement.
    let mut compared = BTreeSet::new();
    for [seconds, from, to] in
        fields("tcp.analysis.initial_rtt", ["tcp.analysis.initial_rtt", "tcp.srcport", "tcp.dstport"])
    {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        // tshark takes the refusal of a connection for its handshake's end.
        let Some((key, ours)) = trips.get_key_value(&(from, to)).or_else(|| trips.get_key_value(&(to, from)))
        else {
            continue;
        };
        let theirs = (seconds.parse::<f64>().unwrap() * 1e6).round() as u64;
        assert!(ours.abs_diff(theirs) <= 1, "{key:?}: {ours} µs, {theirs} by tshark");
        compared.insert(*key);
    }
    assert_eq!(compared.len(), trips.len());
    assert!(compared.len() > 20, "{}", compared.len());
}

/// Segments sent again and out of order, by sender and receiver. tshark tells the two apart by how long ago
/// the latest segment was, flowhook by how long ago what was missing was left out, so that only their sum
/// is the same in every capture.
#[test]
fn what_tcp_had_to_repair_in_shared_captures_is_what_tshark_finds() {
    let Some(dir) = shared_captures() else { return };
    if !has_program("tshark") {
        return;
    }
    let mut all = 0;
    for name in [
        "ethereum.pcap",
        "ftp.pcap",
        "google_ssl.pcap",
        "hpvirtgrp.pcap",
        "iphone.pcap",
        "ipp.pcap",
        "ocs.pcap",
        "quickplay.pcap",
        "sites.pcapng",
        "soap.pcap",
        "teams.pcap",
        "tls-appdata.pcap",
        "tls_certificate_too_long.pcap",
        "tls_port_80.pcapng",
        "tumblr.pcap",
        "zoom.pcap",
    ] {
        let capture = dir.join(name);
        let mut ours: BTreeMap<[String; 2], u64> = BTreeMap::new();
        for flow in flows_of(&capture).iter().filter(|flow| flow["l4"] == "tcp") {
            let end = |side: &str| format!("{} {}", flow[side]["ip"].as_str().unwrap(), flow[side]["port"]);
            for (way, from, to) in [("cli2srv", "client", "server"), ("srv2cli", "server", "client")] {
                let count = |what: &str| flow[way][what].as_u64().unwrap();
                let repaired = count("retransmissions") + count("out_of_order");
                if repaired > 0 {
                    *ours.entry([end(from), end(to)]).or_default() += repaired;
                }
            }
        }
        let mut theirs: BTreeMap<[String; 2], u64> = BTreeMap::new();
        let filter = "(tcp.analysis.retransmission or tcp.analysis.out_of_order) and not icmp";
        let names = ["ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport"];
        for [v4, v6, port, to_v4, to_v6, to_port] in fields_of(&capture, filter, names) {
            let ends = [format!("{v4}{v6} {port}"), format!("{to_v4}{to_v6} {to_port}")];
            *theirs.entry(ends).or_default() += 1;
        }
        assert_eq!(ours, theirs, "{name}");
        all += ours.values().sum::<u64>();
    }
    assert!(all > 100, "{all}");
}

#[test]
fn fingerprints_of_tls_are_those_of_tshark() {
    if !has_program("tshark") {
        return;
    }
    let flows = demo_flows();
    for (kind, field, name) in [("1", "tls.handshake.ja3", "ja3"), ("2", "tls.handshake.ja3s", "ja3s")] {
        // Those over TCP: what QUIC's hello would give is another list.
        let filter = format!("tcp and tls.handshake.type == {kind}");
        let rows = fields(&filter, ["tcp.srcport", "tcp.dstport", field]);
        let theirs: BTreeSet<(u64, u64, String)> = rows
            .into_iter()
            .map(|[from, to, print]| {
                let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
                if kind == "1" { (from, to, print) } else { (to, from, print) }
            })
            .collect();
        let ours: BTreeSet<(u64, u64, String)> = flows
            .iter()
            .filter_map(|flow| {
                let print = flow["info"]["tls"][name].as_str().filter(|print| !print.is_empty())?;
                let (client, server) = ports(flow);
                (flow["l4"] == "tcp").then(|| (client, server, print.to_owned()))
            })
            .collect();
        assert_eq!(ours, theirs, "{name}");
        assert!(ours.len() > 3, "{}", ours.len());
    }
}

#[test]
fn community_ids_are_those_of_tshark() {
    if !has_program("tshark") {
        return;
    }
    let demo = data("demo.pcap");
    let args = ["-r", text(&demo), "--enable-protocol", "communityid", "-T", "fields", "-e", "communityid"];
    let output = Command::new("tshark").args(args).said().unwrap();
    let theirs: BTreeSet<String> =
        String::from_utf8(output.stdout).unwrap().split([',', '\n']).map(str::to_owned).collect();
    let ours: BTreeSet<String> =
        demo_flows().iter().map(|flow| flow["community_id"].as_str().unwrap().to_owned()).collect();
    assert!(ours.len() > 700, "{}", ours.len());
    assert_eq!(ours.difference(&theirs).collect::<Vec<_>>(), Vec::<&String>::new());
}
