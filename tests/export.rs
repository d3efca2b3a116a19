//! Flows collected from real exporters on loopback: totals are what the exporter counted.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::program::{Running, Said, Setup, run_fails, run_json, text};
use crate::support::{data, free_port, has_program, wait_for};

/// Packets and bytes.
type Totals = (u64, u64);

fn free_udp_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    command.env("PATH", path).stdin(Stdio::null());
    command
}

/// Sends `demo.pcap` as softflowd sees it, and says what softflowd counted.
fn softflowd(dir: &Path, port: u16, options: &[&str]) -> Totals {
    let mut softflowd = command("timeout");
    softflowd.args(["-s", "INT", "10", "softflowd", "-d", "-6", "-r", text(&data("demo.pcap"))]);
    softflowd.args(["-n", &format!("127.0.0.1:{port}"), "-p", text(&dir.join(format!("{port}.pid")))]);
    // With a control socket its reading of a file may never end.
    softflowd.args(["-c", "none"]).args(options);
    let output = softflowd.said().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let mut totals = (0, 0);
    for line in said.lines().skip_while(|line| !line.starts_with("Per-protocol statistics")).skip(1) {
        let Some((_, numbers)) = line.split_once("):") else { continue };
        let mut numbers = numbers.split_whitespace().map(|number| number.parse::<u64>().unwrap_or(0));
        let (bytes, packets) = (numbers.next().unwrap(), numbers.next().unwrap());
        totals = (totals.0 + packets, totals.1 + bytes);
    }
    assert!(totals.0 > 1000, "{said}");
    totals
}

/// Sends `demo.pcap` by a plugin of pmacct.
fn pmacct(dir: &Path, port: u16, plugin: &str, options: &[&str]) {
    let config = dir.join(format!("{port}.conf"));
    let aggregate =
        "aggregate: src_host, dst_host, src_port, dst_port, proto, tos, tcpflags, src_mac, dst_mac";
    let mut lines = vec![
        "daemonize: false".to_owned(),
        format!("pcap_savefile: {}", text(&data("demo.pcap"))),
        format!("plugins: {plugin}"),
        aggregate.to_owned(),
        format!("{plugin}_receiver: 127.0.0.1:{port}"),
    ];
    lines.extend(options.iter().map(|&line| line.to_owned()));
    std::fs::write(&config, lines.join("\n") + "\n").unwrap();
    // It sleeps two seconds at the end of a file and then waits to be stopped.
    let mut pmacct = command("timeout");
    pmacct.args(["-s", "INT", "12", "pmacctd", "-f", text(&config)]);
    pmacct.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
}

/// Sends `demo.pcap` by sfprobe, and says what that counted: the packets of which its last sample says that
/// they could have been sampled (`sample_pool`), and the lengths of the frames in all samples.
fn sfprobe(dir: &Path, port: u16) -> Totals {
    let relay = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = relay.local_addr().unwrap().port();
    relay.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let passed = scope.spawn(|| {
            let (mut totals, mut datagram) = ((0, 0), [0; 65_536]);
            loop {
                match relay.recv(&mut datagram) {
                    Ok(length) => {
                        relay.send_to(&datagram[..length], ("127.0.0.1", port)).unwrap();
                        add_samples(&datagram[..length], &mut totals);
                    }
                    Err(_) if over.load(std::sync::atomic::Ordering::Relaxed) => return totals,
                    Err(_) => {}
                }
            }
        });
        pmacct(dir, own, "sfprobe", &["sampling_rate: 1"]);
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        passed.join().unwrap()
    })
}

/// Walks the flow samples of an sFlow datagram of version 5 (sflow.org, sFlow version 5, §5).
fn add_samples(datagram: &[u8], totals: &mut Totals) {
    let word = |bytes: &[u8], at: usize| u32::from_be_bytes(bytes[4 * at..4 * at + 4].try_into().unwrap());
    assert_eq!((word(datagram, 0), word(datagram, 1)), (5, 1), "version, and an agent with IPv4");
    let mut rest = &datagram[28..];
    for _ in 0..word(datagram, 6) {
        let (kind, length) = (word(rest, 0), word(rest, 1) as usize);
        let (sample, behind) = rest[8..].split_at(length);
        rest = behind;
        if kind != 1 {
            continue;
        }
        totals.0 = word(sample, 3).into();
        let mut records = &sample[32..];
        for _ in 0..word(sample, 7) {
            let (kind, length) = (word(records, 0), word(records, 1) as usize);
            if kind == 1 {
                totals.1 += u64::from(word(&records[8..], 1));
            }
            records = &records[8 + length..];
        }
    }
}

/// Sends `demo.pcap` by nfreplay, and says what nfpcapd counted.
fn nfreplay(dir: &Path, port: u16) -> Totals {
    let flows = dir.join("nfdump");
    std::fs::create_dir(&flows).unwrap();
    let mut nfpcapd = command("nfpcapd");
    nfpcapd.args(["-r", text(&data("demo.pcap")), "-w", text(&flows), "-e", "30,10"]);
    let output = nfpcapd.said().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let number = |line: &str, name: &str| -> u64 {
        let (_, rest) = line.split_once(name).unwrap();
        rest.trim_start().split([',', '\n']).next().unwrap().trim().parse().unwrap()
    };
    let mut files: Vec<_> = std::fs::read_dir(&flows).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        let mut replay = command("nfreplay");
        replay.args(["-r", text(&file), "-H", "127.0.0.1", "-p", &port.to_string(), "-v", "9", "-d", "500"]);
        assert!(replay.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    }
    said.lines()
        .filter(|line| line.contains("Ident:") && line.contains("Packets:"))
        .fold((0, 0), |sum, line| (sum.0 + number(line, "Packets:"), sum.1 + number(line, "Bytes:")))
}

/// flowhook with one interface for each name, and its ports in the same order.
fn listening(names: &[&str]) -> (Setup, Running, u16, Vec<u16>) {
    let api = free_port();
    let ports: Vec<u16> = names.iter().map(|_| free_udp_port()).collect();
    let interfaces: String = names
        .iter()
        .zip(&ports)
        .map(|(name, port)| {
            format!("[[collector.interface]]\nname = \"{name}\"\nlisten = \"udp://127.0.0.1:{port}\"\n")
        })
        .collect();
    let setup = Setup::new(&format!(
        "[node]\nname = \"fh\"\nstate_dir = \"{{dir}}/state\"\n[aggregator.api]\nlisten = \"127.0.0.1:{api}\"\n{interfaces}"
    ));
    let run = crate::support::program::flowhook(&["run", "-c", &setup.config()]);
    let running = Running::start(run, &setup.path("log"));
    wait_for("the listeners", 30, || {
        let interfaces = get(api, "/interfaces")?;
        (interfaces["items"].as_array()?.len() == names.len()).then_some(())
    });
    (setup, running, api, ports)
}

fn get(api: u16, path: &str) -> Option<Value> {
    let url = format!("http://127.0.0.1:{api}/api/v1{path}");
    let output = Command::new("curl").args(["-sf", "-m", "5", &url]).said().unwrap();
    serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())
}

fn counted(api: u16, name: &str) -> Option<Totals> {
    let interfaces = get(api, "/interfaces")?;
    let found = interfaces["items"].as_array()?.iter().find(|item| item["name"] == name)?.clone();
    Some((found["stats"]["packets"].as_u64()?, found["stats"]["bytes"].as_u64()?))
}

#[test]
fn totals_equal_what_real_exporters_counted() {
    if !["softflowd", "pmacctd", "nfpcapd", "nfreplay", "curl", "timeout"].into_iter().all(has_program) {
        return;
    }
    let names = [
        "softflowd-v5",
        "softflowd-v9",
        "softflowd-ipfix",
        "softflowd-biflow",
        "nfprobe",
        "sfprobe",
        "nfreplay",
    ];
    let (setup, mut running, api, ports) = listening(&names);
    let dir = setup.dir.path();
    let expected: Vec<Totals> = std::thread::scope(|scope| {
        // Version 5 knows no IPv6.
        let v5 = scope.spawn(|| softflowd(dir, ports[0], &["-v", "5", "ip"]));
        let v9 = scope.spawn(|| softflowd(dir, ports[1], &["-v", "9"]));
        let ipfix = scope.spawn(|| softflowd(dir, ports[2], &["-v", "10"]));
        let biflow = scope.spawn(|| softflowd(dir, ports[3], &["-v", "10", "-b"]));
        let timeouts = "nfprobe_timeouts: tcp=3:expint=1:maxlife=5:udp=3:general=3:icmp=3";
        let nfprobe = scope.spawn(|| pmacct(dir, ports[4], "nfprobe", &["nfprobe_version: 9", timeouts]));
        let sfprobe = scope.spawn(|| sfprobe(dir, ports[5]));
        let replayed = nfreplay(dir, ports[6]);
        nfprobe.join().unwrap();
        let sampled = sfprobe.join().unwrap();
        assert!(sampled.0 > 3000 && sampled.1 > 1_000_000, "{sampled:?}");
        // nfprobe says nowhere what it counted: softflowd has counted the same packets.
        let v9 = v9.join().unwrap();
        [v5.join().unwrap(), v9, ipfix.join().unwrap(), biflow.join().unwrap(), v9, sampled, replayed].into()
    });
    // Samples count whole frames, records IP packets.
    let wrong = || -> Vec<_> {
        let seen = names.iter().map(|name| counted(api, name));
        let all = names.iter().zip(&expected).zip(seen);
        all.filter(|((_, expected), seen)| seen.as_ref() != Some(*expected))
            .map(|((name, expected), seen)| (*name, *expected, seen))
            .collect()
    };
    for _ in 0..100 {
        if wrong().is_empty() {
            break;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    assert_eq!(wrong(), [], "name, what the exporter counted, what was collected");
    assert_eq!(running.terminate(), Some(0), "a listener stops when told");
}

#[test]
fn recorded_exports_replay_the_same_each_time() {
    let file = data("export/softflowd-v9.pcap");
    let setup = Setup::new("[node]\nname = \"fh\"\n");
    let replay = |out: &str| {
        let out = setup.path(out);
        let args = [
            "replay",
            text(&file),
            "--collect",
            "2055",
            "-c",
            &setup.config(),
            "-O",
            "json",
            "--flows-out",
            text(&out),
        ];
        let report = run_json(&args);
        let flows: Vec<Value> = std::fs::read_to_string(&out)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (report, flows)
    };
    let (report, flows) = replay("first");
    assert_eq!(
        (report["packets"].as_u64(), report["bytes"].as_u64()),
        (Some(380), Some(115_843)),
        "{report}"
    );
    let exporter = &report["exporters"]["127.0.0.1"];
    assert_eq!(
        (exporter["records"].as_u64(), exporter["datagrams"].as_u64()),
        (Some(78), Some(3)),
        "{report}"
    );
    assert!(exporter.get("lost").is_none() && exporter.get("malformed").is_none(), "{report}");
    // 41 conversations, of which 37 were answered.
    assert_eq!(flows.len(), 41);
    let answered =
        |flow: &&Value| ["cli2srv", "srv2cli"].iter().all(|way| flow[way]["packets"].as_u64() > Some(0));
    assert_eq!(flows.iter().filter(answered).count(), 37);
    assert!(
        flows.iter().all(|f| f["collected"] == true && f["export"]["exporter"] == "127.0.0.1"),
        "{flows:#?}"
    );
    assert_eq!(replay("second").1, flows);
}

/// A folder of scripts beside a configuration that reads it.
fn with_scripts(more: &str, scripts: &[(&str, &str)]) -> Setup {
    let setup = Setup::new(&format!(
        "[node]\nname = \"fh\"\nstate_dir = \"{{dir}}/state\"\n[scripts]\nbuiltin = false\ndir = \"{{dir}}/scripts\"\n{more}"
    ));
    std::fs::create_dir(setup.path("scripts")).unwrap();
    for (name, script) in scripts {
        std::fs::write(setup.path(&format!("scripts/{name}.rhai")), script).unwrap();
    }
    setup
}

#[test]
fn hooks_are_called_for_collected_flows_on_arrival_unless_they_are_for_packets() {
    let told = "store_alert(#{ message: `${flow.collected} ${flow.exporter}` })";
    let hook = |attribute: &str| {
        format!(
            "#{{ {attribute} hooks: #{{ protocolDetected: |now, config| {told}, flowEnd: |now, config| () }} }}"
        )
    };
    let (arrives, packets) = (hook(""), hook("packet_interface_only: true,"));
    let setup = with_scripts("", &[("arrives", &arrives), ("packets_only", &packets)]);
    let file = data("export/softflowd-v9.pcap");
    let args = ["replay", text(&file), "--collect", "2055", "-c", &setup.config(), "-O", "json"];
    let report = run_json(&args);
    assert_eq!(report["flows"], 41, "{report}");
    assert_eq!(report["hooks"], serde_json::json!({ "protocolDetected": 41, "flowEnd": 41 }), "{report}");
    let alerts = report["alerts"].as_object().unwrap();
    assert_eq!((&alerts["arrives"]["store"], alerts.get("packets_only")), (&41.into(), None), "{report}");
}

/// The export datagrams of a capture of Ethernet frames.
fn datagrams(file: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).unwrap();
    let (mut rest, mut all) = (&bytes[24..], Vec::new());
    while rest.len() > 16 {
        let length = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        all.push(rest[16 + 42..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    all
}

#[test]
fn the_api_and_metrics_tell_what_scripts_did() {
    let (api, port) = (free_port(), free_udp_port());
    let more = format!(
        "[aggregator.api]\nlisten = \"127.0.0.1:{api}\"\n[[collector.interface]]\nname = \"exports\"\nlisten = \"udp://127.0.0.1:{port}\"\n"
    );
    let flow = "let n = 0;\n#{ version: \"7\", hooks: #{ protocolDetected: |now, config| {\n n += 1; if n <= 2 { throw \"odd\"; } } } }";
    let host = "#{ version: \"8\", hooks: #{ min: |params| throw \"odd\" } }";
    let setup = with_scripts(&more, &[("of_flows", flow), ("of_hosts", host)]);
    let run = crate::support::program::flowhook(&["run", "-c", &setup.config()]);
    let mut running = Running::start(run, &setup.path("log"));
    wait_for("the listener", 30, || get(api, "/interfaces")?["items"].as_array()?.first().map(|_| ()));
    let sender = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for datagram in datagrams(&data("export/softflowd-v9.pcap")) {
        sender.send_to(&datagram, ("127.0.0.1", port)).unwrap();
    }
    wait_for("hosts", 30, || get(api, "/hosts")?["items"].as_array()?.first().map(|_| ()));
    let base = format!("http://127.0.0.1:{api}");
    run_fails(&["script", "run", "of_hosts", "--element", "192.168.10.0/24", "--api", &base], 1);
    let script = |key: &str| get(api, &format!("/scripts/{key}"));
    let of_flows = wait_for("the flows' script", 30, || {
        script("of_flows").filter(|told| told["counts"]["calls"].as_u64() == Some(41))
    });
    let of_hosts = script("of_hosts").unwrap();
    for (told, version, errors) in [(&of_flows, "7", 2..=2), (&of_hosts, "8", 1..=20)] {
        assert_eq!(told["version"], version, "{told}");
        assert_eq!(told["hash"].as_str().map(str::len), Some(16), "{told}");
        assert!(told["last_error"].as_str().is_some_and(|text| text.contains("odd")), "{told}");
        assert!(errors.contains(&told["counts"]["errors"].as_u64().unwrap()), "{told}");
        assert!(told["counts"]["skips"].is_u64() && told["counts"]["micros"].is_u64(), "{told}");
    }
    assert!(of_flows["last_error"].as_str().unwrap().contains("line 3"), "{of_flows}");
    let hash = of_flows["hash"].as_str().unwrap().to_owned();
    let metrics = || {
        let output = Command::new("curl").args(["-sf", &format!("{base}/metrics")]).said().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let value = |metrics: &str, name: &str, key: &str| -> Option<f64> {
        let label = format!("script=\"{key}\"");
        let line = metrics.lines().find(|line| line.starts_with(name) && line.contains(&label))?;
        line.rsplit(' ').next()?.parse().ok()
    };
    // An aggregator tells its numbers once a minute.
    wait_for("the metrics", 90, || {
        let shown = metrics();
        let of = |name: &str| value(&shown, name, "of_flows");
        (of("flowhook_collector_script_calls") == Some(41.0)
            && of("flowhook_collector_script_errors") == Some(2.0)
            && of("flowhook_collector_script_time").is_some()
            && of("flowhook_script_last_error").is_some_and(|at| at > 1.7e9)
            && value(&shown, "flowhook_aggregator_script_errors", "of_hosts").is_some_and(|n| n >= 1.0)
            && shown.lines().any(|line| line.starts_with("flowhook_script_info") && line.contains(&hash)))
        .then_some(())
    });
    assert_eq!(running.terminate(), Some(0));
}
