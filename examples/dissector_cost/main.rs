//! What recognising a flow costs, by protocol: the payloads that the dissectors' own tests feed, each
//! flow from a fresh state to its last payload. Prints a table, the dearest first.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the terminal")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use collector::l7::{DISSECTORS, Dissector, L7Context, L7State};
use shared::clock::Stopwatch;
use shared::model::L4;
use shared::model::flow::L7Info;

/// Every flow is fed again and again for at least this long.
const LONG_ENOUGH: Duration = Duration::from_millis(5);

/// A flow of the corpus (see `tests/fuzz/harness/payloads.rs`).
struct Flow {
    context: L7Context,
    payloads: Vec<(bool, Vec<u8>)>,
}

fn flow(dissector: &Dissector, data: &[u8]) -> Option<Flow> {
    let (&[kind, a, b, c, d], mut rest) = data.split_first_chunk()?;
    let l4 = if kind & 1 == 0 { L4::TCP } else { L4::UDP };
    let home = dissector.ports.first().filter(|_| kind & 2 != 0);
    let (l4, server_port) = home.copied().unwrap_or((l4, u16::from_be_bytes([c, d])));
    let context = L7Context {
        l4,
        client: Ipv4Addr::new(192, 0, 2, 1).into(),
        server: Ipv4Addr::new(198, 51, 100, 1).into(),
        client_port: u16::from_be_bytes([a, b]),
        server_port,
        from_client: true,
        packets_seen: 0,
        at_s: 1_767_225_600,
        before: collector::l7::Head::default(),
    };
    let mut payloads = Vec::new();
    while let Some((&[direction, high, low], behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(behind.len());
        payloads.push((direction & 1 == 0, behind[..length].to_vec()));
        rest = &behind[length..];
    }
    Some(Flow { context, payloads })
}

impl Flow {
    /// Feeds it; gives the protocol found.
    fn feed(&self) -> Option<&'static str> {
        let (mut state, mut info, mut status) = (L7State::new(), L7Info::default(), 0);
        for (number, (from_client, payload)) in self.payloads.iter().enumerate() {
            let context =
                L7Context { from_client: *from_client, packets_seen: number as u32 + 1, ..self.context };
            let _ = state.on_payload(payload, &context, &mut info, &mut status);
        }
        state.protocol().map(collector::l7::ProtocolId::name)
    }

    fn nanoseconds(&self) -> f64 {
        let (watch, mut rounds) = (Stopwatch::start(), 0_u32);
        while watch.elapsed() < LONG_ENOUGH {
            std::hint::black_box(self.feed());
            rounds += 1;
        }
        watch.elapsed().as_nanos() as f64 / f64::from(rounds)
    }
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn main() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/dissectors.txt");
    let text = std::fs::read_to_string(corpus).unwrap();
    let mut costs: BTreeMap<&str, Vec<(f64, usize)>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, digits)) = line.rsplit_once(' ') else { continue };
        let Some(dissector) = DISSECTORS.iter().find(|dissector| dissector.name == name) else { continue };
        let Some(flow) = flow(dissector, &unhex(digits)) else { continue };
        if flow.feed() == Some(dissector.name) {
            let bytes = flow.payloads.iter().map(|(_, payload)| payload.len()).sum();
            costs.entry(dissector.name).or_default().push((flow.nanoseconds(), bytes));
        }
    }
    let mut rows: Vec<(&str, f64, usize, usize)> = Vec::new();
    for (name, mut flows) in costs {
        flows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (cost, bytes) = flows[flows.len() / 2];
        rows.push((name, cost, bytes, flows.len()));
    }
    rows.sort_by(|a, b| b.1.total_cmp(&a.1));
    println!("{:30} {:>10} {:>8} {:>6}", "protocol", "ns a flow", "bytes", "flows");
    for (name, cost, bytes, flows) in &rows {
        println!("{name:30} {cost:10.0} {bytes:8} {flows:6}");
    }
    let middle = rows.get(rows.len() / 2).map_or(0.0, |row| row.1);
    println!("{} protocols, {middle:.0} ns a flow in the middle", rows.len());
}

#[test]
fn the_corpus_has_flows_of_most_protocols() {
    let name = "DNS";
    let dissector = DISSECTORS.iter().find(|dissector| dissector.name == name).unwrap();
    // A question for example.org at its home port.
    let question = "03c3500035 000021 1234010000010000000000000765 78616d706c65036f72670000010001";
    let flow = flow(dissector, &unhex(&question.replace(' ', ""))).unwrap();
    assert_eq!((flow.payloads.len(), flow.context.server_port), (1, 53));
}
