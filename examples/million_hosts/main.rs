//! What a minute's run over very many hosts of one interface costs, in time and memory, and how long what
//! comes meanwhile waits.
//!
//! `million_hosts [HOSTS [LOCAL_PERCENT]]`: summaries of that many hosts go into one partition with the
//! built-in checks on, as they are by default; then the minute ends. Local hosts have contacts, names, an
//! operating system and categories, remote ones a name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aggregator::config::AggregatorConfig;
use aggregator::partition::Partition;
use shared::clock::Stopwatch;
use shared::model::{
    AppCategory, CategoryBytes, Contact, ContactKind, FactKind, Granularity, HostCounters, HostFact, HostKey,
    InterfaceCounters, LocalNetworks, Timestamp,
};
use shared::script::engine::ScriptEngine;
use shared::script::registry::{Registry, ScriptSetup};
use shared::script::source::builtin;
use shared::script::{ScriptKind, ScriptLimits};
use shared::wire::delta::{Delta, HostDelta, InterfaceDelta, Producer};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A whole minute.
const START: Timestamp = Timestamp::from_secs(1_700_000_040);

/// Hosts in one delta, as collectors send them.
const HOSTS_PER_DELTA: usize = 1000;

/// What others get of the time while a run goes on.
const SLICE: Duration = Duration::from_millis(50);

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|n| n.parse().ok());
    let hosts: u32 = arguments.next().unwrap_or(1_000_000);
    let local = hosts / 100 * arguments.next().unwrap_or(100).min(100);
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
    println!("{hosts} hosts, {local} of them local, {checks} host checks");

    let mut sequence = 0;
    for minute in 0..3 {
        let (filling, mut longest) = (Stopwatch::start(), Duration::ZERO);
        for second in 0..59 {
            let share: Vec<u32> = (0..hosts).filter(|host| host % 59 == second).collect();
            for share in share.chunks(HOSTS_PER_DELTA) {
                sequence += 1;
                let delta = delta(sequence, minute * 60 + i64::from(second), share, local);
                let one = Stopwatch::start();
                partition.apply(&delta);
                longest = longest.max(one.elapsed());
            }
        }
        let filled = filling.elapsed().as_secs_f64();
        let bytes = resident_kib().saturating_sub(before) as f64 * 1024.0 / f64::from(hosts);
        sequence += 1;
        let last = delta(sequence, (minute + 1) * 60, &[], local);
        let (mut took, mut wait, mut slices) = (Duration::ZERO, Duration::ZERO, 0);
        let output = loop {
            let slice = Stopwatch::start();
            let output = partition.step(&last, SLICE);
            (took, wait, slices) = (took + slice.elapsed(), wait.max(slice.elapsed()), slices + 1);
            if let Some(output) = output {
                break output;
            }
        };
        let calls = partition.report().hooks.get("min").copied().unwrap_or_default();
        println!(
            "minute {}: {:.2} s, {:.0} ns a host, in {slices} slices of at most {} ms; {calls} calls so far, \
             {} transitions; {bytes:.0} bytes a host; filled in {filled:.1} s, a delta in at most {:.1} ms",
            minute + 1,
            took.as_secs_f64(),
            took.as_secs_f64() * 1e9 / f64::from(hosts),
            wait.as_millis(),
            output.transitions.len(),
            longest.as_secs_f64() * 1e3,
        );
    }
    let saving = Stopwatch::start();
    let saved = partition.save().len();
    println!("state: {} MiB in {:.1} s", saved >> 20, saving.elapsed().as_secs_f64());
}

/// What these hosts did within a second; those with numbers below `local` are local.
fn delta(sequence: u64, second: i64, hosts: &[u32], local: u32) -> Delta {
    let from = START.plus_secs(second);
    let host = |number: &u32| {
        let (number, is_local) = (*number, *number < local);
        let n = u64::from(number);
        let net = if is_local { 0x0a00_0000 } else { 0x2d00_0000 };
        HostDelta {
            key: HostKey::new((net + number).to_be_bytes().into(), 0),
            mac: Some([2, 0, 0, 0, 0, 1]),
            local: is_local,
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
    let (mut contacts, mut categories, mut facts) = (Vec::new(), Vec::new(), Vec::new());
    for (place, number) in (0..).zip(hosts) {
        let learned = |kind, text: String| HostFact { host: place, kind, text: text.as_str().into() };
        if *number >= local {
            facts.push(learned(FactKind::Name, format!("server-{number}.example.com")));
            continue;
        }
        // In three minutes twice so many as in the first one.
        let seed = u64::from(*number) * 1000 + (second / 60).cast_unsigned() * 4;
        for (kind, count) in CONTACTS {
            contacts.extend((0..count).map(|n| Contact { host: place, kind, hash: mixed(seed + n) }));
        }
        let used = [AppCategory::Web, AppCategory::Network, AppCategory::Cloud];
        categories.extend(used.map(|category| CategoryBytes {
            host: place,
            category,
            sent: 300,
            rcvd: 1500,
        }));
        facts.push(learned(FactKind::Name, format!("workstation-{number}.example.com")));
        facts.push(learned(FactKind::Os, "Windows".to_owned()));
    }
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
        hosts: hosts.iter().map(host).collect(),
        contacts,
        categories,
        facts,
        ..Delta::default()
    }
}

/// Whom a local host gets in touch with in a minute.
const CONTACTS: [(ContactKind, u64); 6] = [
    (ContactKind::Peer, 8),
    (ContactKind::Service, 8),
    (ContactKind::DnsServer, 2),
    (ContactKind::NtpServer, 1),
    (ContactKind::Name, 6),
    (ContactKind::Country, 3),
];

fn mixed(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (n >> 7)
}

/// Memory in use.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
