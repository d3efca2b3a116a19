use std::net::IpAddr;

use shared::model::flow::{TCP_ACK, TCP_RST, TCP_SYN};
use shared::model::{FlowRecord, L4, LocalNetworks, TcpState};

use super::*;
use crate::flow::{RecordContext, TableConfig};
use crate::ingest::{Counters, EndReason};

const EXPORTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));

fn table() -> FlowTable {
    FlowTable::new(TableConfig {
        idle_s: 60,
        closed_s: 15,
        active_s: 1800,
        silence_s: 5,
        periodic_s: 120,
        max_flows: 100,
        tunnel_parts_flows: false,
        seed: 1,
    })
}

/// TCP from 10.0.0.1:40000 to 10.0.0.2:443, or the other way.
fn record(out: bool, packets: u64, first_s: i64, last_s: i64) -> CollectedFlow {
    let ends = [(IpAddr::from([10, 0, 0, 1]), 40_000), (IpAddr::from([10, 0, 0, 2]), 443)];
    let (from, to) = if out { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
    CollectedFlow {
        src: from.0,
        src_port: from.1,
        dst: to.0,
        dst_port: to.1,
        l4: L4::TCP,
        tcp_flags: TCP_SYN | TCP_ACK,
        forward: Counters { packets, bytes: packets * 100 },
        first: Timestamp::from_secs(first_s),
        last: Timestamp::from_secs(last_s),
        input: if out { 3 } else { 4 },
        output: if out { 4 } else { 3 },
        ..CollectedFlow::of(EXPORTER, 0)
    }
}

/// Puts in the records at their times, lets a long time pass, and gives the flows that ended.
fn run(records: Vec<(i64, CollectedFlow)>) -> (Vec<FlowRecord>, usize) {
    let (mut table, mut events) = (table(), Vec::new());
    for (at, record) in records {
        let at = Timestamp::from_secs(at);
        while table.advance(at, &mut events) {}
        table.on_collected(&record, at, &mut events);
    }
    while table.advance(Timestamp::from_secs(100_000), &mut events) {}
    let networks = LocalNetworks::default();
    let cx = RecordContext { ifid: 0, networks: &networks };
    let detected = events.iter().filter(|e| matches!(e, FlowEvent::ProtocolDetected(_))).count();
    let ended = events.into_iter().filter_map(|event| match event {
        FlowEvent::End { mut flow, reason } => Some(table.last_record(&mut flow, cx, reason)),
        _ => None,
    });
    (ended.collect(), detected)
}

#[test]
fn both_directions_and_later_records_join_in_one_flow() {
    let (flows, detected) = run(vec![
        (100, record(false, 5, 41, 99)),
        (100, record(true, 7, 40, 98)),
        (150, record(true, 3, 101, 149)),
    ]);
    let [flow] = &flows[..] else { panic!("{flows:#?}") };
    assert_eq!((flow.client.port, flow.server.port), (40_000, 443));
    assert_eq!((flow.cli2srv.packets, flow.cli2srv.bytes, flow.srv2cli.packets), (10, 1000, 5));
    assert_eq!((flow.first_seen.secs(), flow.last_seen.secs()), (40, 149), "times are the exporter's");
    assert_eq!(
        (flow.end, flow.tcp_state, flow.handshake_ok),
        (Some(FlowEnd::Idle), TcpState::Established, true)
    );
    assert_eq!((&*flow.l7, flow.l7_source, detected), ("TLS", L7Source::PortGuess, 1));
    let export = flow.export.as_ref().unwrap();
    assert!(flow.collected);
    assert_eq!(
        (export.exporter, export.input, export.output),
        (EXPORTER, 3, 4),
        "as the client's packets went"
    );
}

#[test]
fn what_the_exporter_calls_the_application_counts() {
    let named = |name: &str| CollectedFlow { application: Some(name.into()), ..record(true, 1, 1, 1) };
    let (flows, _) = run(vec![(1, named("ssh"))]);
    assert_eq!((&*flows[0].l7, flows[0].l7_source), ("SSH", L7Source::Collected));
    let (flows, _) = run(vec![(1, named("ms-office-365"))]);
    assert_eq!((&*flows[0].l7, flows[0].l7_source), ("TLS", L7Source::PortGuess));
    assert_eq!(&*flows[0].export.as_ref().unwrap().application, "ms-office-365");
}

#[test]
fn the_exporters_end_ends_the_flow_and_a_later_connection_is_another() {
    let ended = CollectedFlow { end: Some(EndReason::Closed), ..record(true, 2, 1, 5) };
    let (flows, _) =
        run(vec![(10, ended.clone()), (12, record(false, 2, 1, 5)), (14, record(true, 9, 13, 14))]);
    let seen: Vec<_> = flows.iter().map(|f| (f.cli2srv.packets, f.srv2cli.packets)).collect();
    assert_eq!(seen, [(2, 2), (9, 0)]);
    let (flows, _) = run(vec![(10, ended), (40, record(true, 1, 39, 40))]);
    assert_eq!(flows.len(), 2, "15 s after its end a flow is gone");
}

#[test]
fn a_second_exporter_on_the_way_does_not_count_twice_but_adds_the_other_direction() {
    let other = IpAddr::from([192, 0, 2, 10]);
    let (flows, _) = run(vec![
        (10, record(true, 4, 1, 5)),
        (10, CollectedFlow { exporter: other, ..record(true, 4, 1, 5) }),
        (11, CollectedFlow { exporter: other, ..record(false, 6, 1, 5) }),
    ]);
    assert_eq!((flows.len(), flows[0].cli2srv.packets, flows[0].srv2cli.packets), (1, 4, 6));
    assert_eq!(flows[0].export.as_ref().unwrap().exporter, EXPORTER);
}

#[test]
fn totals_are_not_added_up() {
    let total = |packets| CollectedFlow { totals: true, ..record(true, packets, 1, 5) };
    let (flows, _) = run(vec![(10, total(5)), (20, total(8)), (30, total(2))]);
    assert_eq!(flows[0].cli2srv.packets, 10, "5, 3 more, and 2 after the exporter began anew");
}

#[test]
fn who_is_the_client_follows_flags_icmp_and_ports() {
    let with = |change: fn(&mut CollectedFlow)| {
        let mut flow = record(false, 1, 1, 1);
        change(&mut flow);
        Opening::of_record(&flow).by_client()
    };
    assert!(!with(|_| {}));
    assert!(with(|f| f.src_is_client = Some(true)));
    assert!(with(|f| f.tcp_flags = TCP_SYN), "a request from port 443");
    assert!(!with(|f| (f.src_port, f.dst_port, f.tcp_flags) = (40_000, 50_000, TCP_RST | TCP_ACK)));
    assert!(with(|f| (f.l4, f.icmp) = (L4::ICMP, Some((8, 0)))) == with(|f| f.l4 = L4(47)));
    assert!(!with(|f| (f.l4, f.icmp) = (L4::ICMPV6, Some((129, 0)))));
    assert!(with(|f| f.dst = IpAddr::from([224, 0, 0, 251])), "nobody at a group asks");
    assert!(with(|f| (f.src_port, f.dst_port) = (60_001, 9_999)));
    assert!(!with(|f| (f.src_port, f.dst_port) = (9_999, 60_001)));
}

#[test]
fn a_refused_connection_and_an_unanswered_one_are_told() {
    use shared::model::status::FlowStatus;
    let syn = CollectedFlow { tcp_flags: TCP_SYN, ..record(true, 1, 1, 1) };
    let reset = CollectedFlow { tcp_flags: TCP_RST | TCP_ACK, ..record(false, 1, 1, 1) };
    let (flows, _) = run(vec![(2, syn.clone()), (2, reset)]);
    assert_eq!((flows[0].tcp_state, flows[0].end), (TcpState::Reset, Some(FlowEnd::Closed)));
    assert!(flows[0].status & FlowStatus::TcpRefused.bit() != 0);
    let (flows, _) = run(vec![(2, syn)]);
    assert!(flows[0].status & FlowStatus::TcpUnanswered.bit() != 0);
}
