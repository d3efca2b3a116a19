//! What a minute's run over very many hosts of one interface costs, in time and memory.
//!
//! `million_hosts [HOSTS]`: summaries of that many hosts go into one partition with the built-in checks
//! on, as they are by default; then the minute ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use aggregator::config::AggregatorConfig;
use aggregator::partition::Partition;
use shared::clock::Stopwatch;
use shared::model::{Granularity, HostCounters, HostKey, InterfaceCounters, LocalNetworks, Timestamp};
use shared::script::engine::ScriptEngine;
use shared::script::registry::{Registry, ScriptSetup};
use shared::script::source::builtin;
use shared::script::{ScriptKind, ScriptLimits};
use shared::wire::delta::{Delta, HostDelta, InterfaceDelta, Producer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A whole minute.
const START: Timestamp = Timestamp::from_secs(1_700_000_040);

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() {
    let hosts: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let engine = ScriptEngine::new(ScriptLimits::default());
    let (registry, errors) = Registry::load(&engine, builtin(), &BTreeMap::new());
    assert!(errors.is_empty(), "{errors:?}");
    let checks = registry.for_element(ScriptKind::Host, Granularity::Min).count();
    let networks = Arc::new(LocalNetworks::new("10.0.0.0/8".parse()));
    let config =
        AggregatorConfig { max_hosts: hosts as usize * 2, run_deadline_ms: 600_000, ..Default::default() };
    let mut partition =
        Partition::new(0, engine, registry, &ScriptSetup::default(), config, networks, Vec::new());
    let before = resident_kib();

    let filling = Stopwatch::start();
    let mut sequence = 0;
    for minute in 0..3 {
        for second in 0..59 {
            sequence += 1;
            let share = (0..hosts).filter(|host| host % 59 == second);
            partition.apply(&delta(sequence, minute * 60 + i64::from(second), share));
        }
        sequence += 1;
        let run = Stopwatch::start();
        let output = partition.apply(&delta(sequence, (minute + 1) * 60, 0..0));
        let took = run.elapsed().as_secs_f64();
        let calls = partition.report().hooks.get("min").copied().unwrap_or_default();
        println!(
            "minute {}: {hosts} hosts, {checks} host checks: {took:.2} s, {:.0} ns a host, {calls} calls so far, {} transitions",
            minute + 1,
            took * 1e9 / f64::from(hosts),
            output.transitions.len()
        );
    }
    let bytes = resident_kib().saturating_sub(before) as f64 * 1024.0 / f64::from(hosts);
    println!("{bytes:.0} bytes a host; {:.1} s for all of it", filling.elapsed().as_secs_f64());
}

/// What these hosts did within a second.
fn delta(sequence: u64, second: i64, hosts: impl Iterator<Item = u32>) -> Delta {
    let from = START.plus_secs(second);
    let host = |number: u32| {
        let n = u64::from(number);
        HostDelta {
            key: HostKey::new((0x0a00_0000 + number).to_be_bytes().into(), 0),
            mac: Some([2, 0, 0, 0, 0, 1]),
            local: true,
            last_seen: from,
            counters: HostCounters {
                bytes_sent: 1000 + n % 100_000,
                bytes_rcvd: 5000 + n % 1_000_000,
                packets_sent: 10 + n % 1000,
                packets_rcvd: 12 + n % 1000,
                flows_as_client: 3,
                flows_ended: 3,
                syn_sent: 2,
                dns_queries_sent: 1,
                dns_replies_rcvd: 1,
                ..HostCounters::default()
            },
        }
    };
    let counters = InterfaceCounters { bytes: 1, packets: 1, ..InterfaceCounters::default() };
    Delta {
        producer: Producer {
            site: "s".into(),
            node: "n".into(),
            ifid: 1,
            interface: "eth0".into(),
            epoch: 1,
            sequence,
        },
        from,
        to: from.plus_secs(1),
        watermark: from,
        interface: InterfaceDelta { counters, ..InterfaceDelta::default() },
        hosts: hosts.map(host).collect(),
        ..Delta::default()
    }
}

/// Memory in use.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
