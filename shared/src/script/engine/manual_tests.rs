//! The pages of the manual that list what scripts can read and call, written from the registrations.
//! Set FLOWHOOK_BLESS to write them again.

use std::path::Path;

use serde_json::json;

use super::catalog::FUNCTIONS;
use super::run::params_map;
use super::tests::{flow, host_params, source};
use super::*;
use crate::model::entity_field::{
    AM_HOST_FIELDS, AM_HOST_LEVELS, EntityField, HOST_FIELDS, INTERFACE_FIELDS, NETWORK_FIELDS,
    SYSTEM_FIELDS, SYSTEM_LEVELS,
};
use crate::model::flow_field::{FLOW_FIELDS, FieldValue};
use crate::model::{
    ContactKind, HostCounters, InterfaceCounters, MonitorCounters, NetworkCounters, SystemCounters,
};
use crate::script::ScriptKind;
use crate::script::element::InfoValue;
use crate::script::log_event::{EVENT_FIELDS, LogEvent};

mod elsewhere;

/// Names of ntopng's functions and what to write here.
const FROM_NTOPNG: &[(&str, &str)] = &[
    ("getHashEntryId", "id"),
    ("getClientKey", "cli"),
    ("getServerKey", "srv"),
    ("getFirstSeen", "first_seen"),
    ("getLastSeen", "last_seen"),
    ("getDuration", "duration"),
    ("getInfo", "name"),
    ("isBidirectional", "bidirectional"),
    ("getPackets", "packets"),
    ("getPacketsSent", "cli2srv_packets"),
    ("getPacketsRcvd", "srv2cli_packets"),
    ("getBytes", "bytes"),
    ("getBytesSent", "cli2srv_bytes"),
    ("getBytesRcvd", "srv2cli_bytes"),
    ("getGoodputBytes", "goodput_bytes"),
    ("getTCPStats", "retransmissions"),
    ("getClientTCPIssues", "cli2srv_out_of_order"),
    ("getServerTCPIssues", "srv2cli_out_of_order"),
    ("getClientRetrPercentage", "cli2srv_retransmission_percent"),
    ("getServerRetrPercentage", "srv2cli_retransmission_percent"),
    ("getKey", "id"),
    ("getUnicastInfo", "is_unicast"),
    ("isUnicast", "is_unicast"),
    ("is_unicast", "is_unicast"),
    ("getnDPIMatchPacket", "l7_payloads"),
    ("getnDPICategoryId", "l7_category"),
    ("getClientCountry", "client_country"),
    ("getServerCountry", "server_country"),
    ("getAlertedStatusScore", "top_score"),
    ("cli", "cli"),
    ("srv", "srv"),
    ("bytes", "bytes"),
    ("cli2srv_bytes", "cli2srv_bytes"),
    ("srv2cli_bytes", "srv2cli_bytes"),
    ("l7_master_proto", "l7_master"),
    ("l7_proto", "l7_app"),
    ("l7_proto_name", "l7"),
    ("http", "http_url"),
    ("tls_quic", "sni"),
    ("getClient2ServerIAT", "gap_mean_us"),
    ("getServer2ClientIAT", "gap_mean_us"),
    ("isTwhOK", "handshake_ok"),
    ("isTCPConnecting", "tcp_state"),
    ("isTCPConnectionRefused", "tcp_state"),
    ("getnDPIProtocolName", "l7"),
    ("getnDPIMasterProtoId", "l7_master"),
    ("getnDPIAppProtoId", "l7_app"),
    ("getnDPICategoryName", "l7_category"),
    ("getProtoBreed", "l7_breed"),
    ("getRiskInfo", "status_names"),
    ("getDnsQuery", "dns_query"),
    ("getDNSInfo", "dns_reply_code"),
    ("getHTTPInfo", "http_url"),
    ("getTLSInfo", "sni"),
    ("getTLSVersion", "tls_version"),
    ("getServerCipherClass", "tls_cipher"),
    ("getSSHInfo", "ssh_client"),
    ("getICMPType", "icmp_type"),
    ("getICMPStatusInfo", "icmp_code"),
    ("getStatus", "status"),
    ("getScore", "score"),
    ("isLocal", "cli_local"),
    ("cli_port", "cli_port"),
    ("srv_port", "srv_port"),
    ("protocol", "protocol"),
    ("vlan_id", "vlan"),
    ("dns", "dns_queries"),
    ("ssh", "ssh_server"),
];

/// What `params` has, whatever the element: key, type, what it holds.
const PARAMS: [(&str, &str, &str); 15] = [
    ("granularity", "text", "`min`, `5mins`, `hour`, `day`, or `aperiodic` when called on demand."),
    (
        "entity_info",
        "element",
        "The element: prints, compares and joins as its identifying string; its fields are below.",
    ),
    ("alert_entity", "map", "`entity` (`host`, …) and `value`, the identifying string."),
    (
        "cur_alerts",
        "list of maps",
        "Alerts of the element that are engaged: `type`, `script`, `severity`, `category`, `message`, `engaged_at` (seconds since the epoch).",
    ),
    ("user_script_config", "map", "The script's configuration."),
    ("user_script", "text", "The script's key."),
    ("when", "int", "Event time of the run, seconds since the epoch."),
    (
        "seconds",
        "int",
        "Seconds of which `delta` tells: the length of the period, a multiple of it when runs before did not reach the element, 0 when called on demand.",
    ),
    (
        "first_run",
        "bool",
        "True when no run of this granularity has reached the element before: `delta` is all that it has counted.",
    ),
    ("ifid", "int", "Interface id."),
    ("ts_enabled", "bool", "True when time series of the element are kept."),
    ("stats", "counters", "Counters since the element is known; below."),
    (
        "delta",
        "counters",
        "Their growth since the last run of this granularity that reached the element; below.",
    ),
    (
        "categories",
        "counters",
        "Bytes by what they were for (`web`, `vpn`, …, as `flow.l7_category`), since the element is known; of hosts and interfaces.",
    ),
    (
        "l7",
        "map of counters",
        "By layer-7 protocol (`TLS.YouTube`) the `flows` and `bytes` since the element is known; of interfaces.",
    ),
];

fn holds(page: &str, right: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fields").join(page);
    if std::env::var_os("FLOWHOOK_BLESS").is_some() {
        std::fs::write(&path, right).unwrap();
    } else {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text == right, "docs/fields/{page} is not what there is: FLOWHOOK_BLESS=1 writes it");
    }
}

/// A script of the manual does what it says: it is compiled and called.
fn example(text: &str) -> String {
    let engine = ScriptEngine::new(ScriptLimits::default());
    let script = engine.compile(&source(text)).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut run = engine.start(&script, Timestamp::ZERO).run.unwrap();
    let result = match script.meta.hooks.first().unwrap() {
        HookName::Flow(hook) => run.flow(&engine, *hook, &flow(), 0, Timestamp::ZERO, &json!({})),
        HookName::Element(_) => run.element(&engine, &host_params("192.0.2.1"), &json!({})),
        HookName::Event => panic!("an example of log lines has no event here"),
    };
    assert_eq!(result.error, None, "{text}");
    format!("```rhai\n{text}\n```\n")
}

fn kind(value: &FieldValue<'_>) -> &'static str {
    match value {
        FieldValue::Bool(_) => "bool",
        FieldValue::Int(_) => "int",
        FieldValue::Text(_) => "text",
        FieldValue::List(_) => "list of texts",
    }
}

#[test]
fn the_page_of_flows_is_the_list_of_fields() {
    let flow = flow();
    let mut page = String::from(
        "# Fields of a flow\n\nWhat the hooks of flow scripts read as `flow.…`. A flow is a snapshot: what a hook sets is seen by the hooks after it.\n\n",
    );
    page += &example(
        "#{\n    hooks: #{\n        flowEnd: |now, config| {\n            if flow.l7_master == \"DNS\" && flow.dns_errors > 10 && flow.duration < 60 {\n                store_alert(#{ message: `${flow.cli} got ${flow.dns_errors} errors from ${flow.srv}`, value: flow.dns_errors });\n            }\n        },\n    },\n}",
    );
    page += "\n| field | type | what it holds |\n|---|---|---|\n";
    for field in FLOW_FIELDS {
        page += &format!("| `{}` | {} | {} |\n", field.name, kind(&field.of(&flow)), field.doc);
    }
    page += "| `old_status` | int | In `statusChanged`: status bits at the previous call. |\n";
    page += "| `old_status_names` | list of texts | Their names. |\n";
    page += "\n## For those who know ntopng\n\n| there | here |\n|---|---|\n";
    for &(theirs, ours) in FROM_NTOPNG {
        assert!(FLOW_FIELDS.iter().any(|field| field.name == ours), "{ours}");
        page += &format!("| `{theirs}` | `flow.{ours}` |\n");
    }
    page += &elsewhere::rows(elsewhere::FLOW);
    tells_of(&page, elsewhere::FLOW_NAMES);
    holds("flow.md", &page);
}

#[test]
fn the_pages_of_elements_are_the_lists_of_their_fields() {
    let zip = |names: &[&'static str], docs: &[&'static str]| -> Vec<_> {
        names.iter().copied().zip(docs.iter().copied()).collect()
    };
    let sums = [("bytes", "All bytes."), ("packets", "All packets.")];
    let mut hosts = zip(HostCounters::NAMES, HostCounters::DOCS);
    hosts.extend(sums);
    let mut networks = zip(NetworkCounters::NAMES, NetworkCounters::DOCS);
    networks.extend(sums);
    let contacts = ContactKind::ALL.map(|kind| (kind.counter(), kind.doc()));
    let now =
        [("live_flows", "Flows alive."), ("hosts", "Active hosts."), ("local_hosts", "Active local hosts.")];
    let interfaces = zip(InterfaceCounters::NAMES, InterfaceCounters::DOCS);
    let system = zip(SystemCounters::NAMES, SystemCounters::DOCS);
    let monitor = zip(MonitorCounters::NAMES, MonitorCounters::DOCS);
    element_page(ScriptKind::Host, "a host", "bytes_sent", HOST_FIELDS, &hosts, &contacts);
    element_page(ScriptKind::Network, "a network", "bytes_ingress", NETWORK_FIELDS, &networks, &[]);
    element_page(ScriptKind::Interface, "an interface", "bytes", INTERFACE_FIELDS, &interfaces, &now);
    element_page(ScriptKind::System, "the system", "drops", SYSTEM_FIELDS, &system, &SYSTEM_LEVELS);
    let (kind, title) = (ScriptKind::ActiveMonitoring, "a probed host");
    element_page(kind, title, MonitorCounters::NAMES[0], AM_HOST_FIELDS, &monitor, &AM_HOST_LEVELS);
}

fn element_page(
    kind: ScriptKind,
    title: &str,
    counter: &str,
    fields: &[EntityField],
    counters: &[(&str, &str)],
    only_stats: &[(&str, &str)],
) {
    let name = kind.name();
    let mut page = format!(
        "# Fields of {title}\n\nWhat the hooks of {name} scripts (`min`, `5mins`, `hour`, `day`) read of their one argument, `params`.\n\n",
    );
    let text = format!(
        "#{{\n    kind: \"{name}\",\n    hooks: #{{\n        min: |params| {{\n            if params.delta.contains(\"{counter}\") && params.delta.{counter} > 1000 {{\n                trigger_alert(#{{ message: `${{params.entity_info}}: ${{params.delta.{counter}}} in a minute`, value: params.delta.{counter} }});\n            }}\n        }},\n    }},\n}}"
    );
    page += &example(&text);
    page += "\n## `params`\n\n| key | type | what it holds |\n|---|---|---|\n";
    for (key, kind, doc) in PARAMS {
        page += &format!("| `{key}` | {kind} | {doc} |\n");
    }
    page += "\n## `params.entity_info`\n\n| field | type | what it holds |\n|---|---|---|\n";
    for field in fields {
        page += &format!("| `{}` | {} | {} |\n", field.name, field.kind, field.doc);
    }
    page += "\n## `params.stats` and `params.delta`\n\nAll are of type int.\n\n| counter | what it counts |\n|---|---|\n";
    for (name, doc) in counters {
        page += &format!("| `{name}` | {} |\n", doc.trim());
    }
    if !only_stats.is_empty() {
        page += "\nIn `stats` only:\n\n| counter | what it counts |\n|---|---|\n";
        for (name, doc) in only_stats {
            page += &format!("| `{name}` | {} |\n", doc.trim());
        }
    }
    let (known, names) = match kind {
        ScriptKind::Host => (elsewhere::HOST, elsewhere::HOST_NAMES),
        ScriptKind::Network => (elsewhere::NETWORK, elsewhere::NETWORK_NAMES),
        ScriptKind::Interface => (elsewhere::INTERFACE, elsewhere::INTERFACE_NAMES),
        _ => (&[][..], &[][..]),
    };
    if !known.is_empty() {
        page += "\n## For those who know ntopng\n\n| there | here |\n|---|---|\n";
        page += &elsewhere::rows(known);
        tells_of(&page, names);
    }
    holds(&format!("{name}.md"), &page);
}

/// The page's last table has a row for each of these names, and for each one.
fn tells_of(page: &str, names: &[&str]) {
    let (_, table) = page.split_once("| there | here |").unwrap();
    let there: Vec<&str> = table.lines().filter_map(|row| row.split(" | ").next()).collect();
    for name in names {
        let rows = there.iter().filter(|row| row.contains(&format!("`{name}`"))).count();
        assert_eq!(rows, 1, "{name}");
    }
}

#[test]
fn the_page_of_log_lines_is_the_list_of_their_fields() {
    let mut page = String::from(
        "# Fields of a log line\n\nWhat the hook `handleEvent` of scripts of kind `syslog` reads of its first argument. What `trigger_alert` is given about hosts, see [functions](functions.md).\n\n",
    );
    let text = "#{\n    kind: \"syslog\",\n    producer: \"sshd\",\n    hooks: #{\n        handleEvent: |event, config| {\n            if event.message.starts_with(\"Failed password\") {\n                trigger_alert(#{ message: `${event.host}: ${event.message}` });\n            }\n        },\n    },\n}";
    let engine = ScriptEngine::new(ScriptLimits::default());
    let script = engine.compile(&source(text)).unwrap();
    let mut run = engine.start(&script, Timestamp::ZERO).run.unwrap();
    let event = LogEvent {
        source: "192.0.2.1".parse().unwrap(),
        when: Timestamp::ZERO,
        facility: 4,
        severity: 3,
        host: "gate".to_owned(),
        producer: "sshd".to_owned(),
        process: "7".to_owned(),
        message_id: String::new(),
        data: std::collections::BTreeMap::new(),
        message: "Failed password for root".to_owned(),
    };
    let result = run.event(&engine, &event, &json!({}));
    assert_eq!((result.error, result.effects.len()), (None, 1));
    page += &format!("```rhai\n{text}\n```\n\n| field | type | what it holds |\n|---|---|---|\n");
    for field in EVENT_FIELDS {
        page += &format!("| `{}` | {} | {} |\n", field.name, field.kind, field.doc);
    }
    holds("syslog.md", &page);
}

#[test]
fn the_keys_of_params_are_those_of_the_manual() {
    let map = params_map(&host_params("192.0.2.1"), Dynamic::UNIT, "x");
    let mut known: Vec<&str> = PARAMS.iter().map(|(key, ..)| *key).collect();
    known.sort_unstable();
    assert_eq!(map.keys().map(|key| key.as_str()).collect::<Vec<_>>(), known);
}

#[test]
fn the_page_of_functions_is_the_list_of_them() {
    let mut page = String::from(
        "# Functions\n\nWhat scripts can call besides [what Rhai brings](https://rhai.rs/book/). Whatever asks for something (an alert, a post, a line) is carried out after the call, also when the call fails later on.\n",
    );
    let mut kind = "";
    for function in FUNCTIONS {
        if function.of != kind {
            kind = function.of;
            page += &format!("\n## {kind}\n\n| function | gives | does | example |\n|---|---|---|---|\n");
        }
        let signatures: Vec<String> =
            function.signatures.iter().map(|signature| format!("`{signature}`")).collect();
        page += &format!(
            "| {} | {} | {} | `` {} `` |\n",
            signatures.join(", "),
            function.gives,
            function.doc.replace('|', "\\|"),
            function.example.replace('|', "\\|")
        );
    }
    holds("functions.md", &page);
}

#[test]
fn the_examples_of_functions_run() {
    let engine = ScriptEngine::new(ScriptLimits::default());
    engine.set_memory(Some(SharedMemory::default()));
    for function in FUNCTIONS {
        let of_flow = function.example.contains("flow.");
        let hook = if of_flow { "flowEnd: |now, config|" } else { "min: |params|" };
        let text = format!("#{{ hooks: #{{ {hook} {{ {}; }} }} }}", function.example);
        let script = engine.compile(&source(&text)).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut run = engine.start(&script, Timestamp::ZERO).run.unwrap();
        let config = json!({ "threshold": 10 });
        let result = match of_flow {
            true => run.flow(&engine, FlowHook::FlowEnd, &flow(), 0, Timestamp::ZERO, &config),
            false => run.element(&engine, &host_params("192.0.2.1"), &config),
        };
        assert_eq!(result.error, None, "{text}");
        assert!(function.signatures.iter().all(|signature| function.example.contains(name_of(signature))));
    }
}

/// The name in `name(…)`, or in `flow.name(…)`.
fn name_of(signature: &str) -> &str {
    signature.split('(').next().unwrap().rsplit('.').next().unwrap()
}

#[test]
fn every_function_that_is_registered_is_in_the_manual() {
    // Whatever asks, or reads what only we know, is registered by hand in two files.
    let registered = [include_str!("functions.rs"), include_str!("host.rs")];
    let names = registered
        .iter()
        .flat_map(|text| text.split("register_fn(\"").skip(1).filter_map(|rest| rest.split('"').next()));
    // Methods of counters and of the element, which the pages of elements tell of.
    let of_types =
        ["get", "contains", "len", "keys", "values", "to_map", "to_string", "to_debug", "==", "!=", "+"];
    let mut seen = 0;
    for name in names.filter(|name| !of_types.contains(name)) {
        let known = |signature: &&&str| name_of(signature) == name;
        let found = FUNCTIONS.iter().any(|function| function.signatures.iter().find(known).is_some());
        assert!(found, "docs/fields/functions.md does not tell of {name}");
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn an_element_has_no_other_fields_than_the_manual_says() {
    let wrong = |fields: &[EntityField], info: &[(&'static str, InfoValue)]| {
        info.iter().any(|(name, _)| !fields.iter().any(|field| field.name == *name))
    };
    assert!(!wrong(HOST_FIELDS, &host_params("192.0.2.1").info));
}
