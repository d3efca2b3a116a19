//! The flow table's behaviour over event time.

use std::net::IpAddr;

use shared::model::flow::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};
use shared::model::status::FlowStatus;
use shared::model::{FlowEnd, FlowRecord, L4, L7Source, LocalNetworks, TcpState, Timestamp};

use super::{FlowTable, TableConfig};
use crate::decode::{Packet, TcpHeader, Tunnel, TunnelKind};
use crate::flow::{Flow, FlowEvent, RecordContext};

fn table() -> FlowTable {
    FlowTable::new(TableConfig {
        idle_s: 60,
        closed_s: 15,
        active_s: 0,
        silence_s: 5,
        periodic_s: 120,
        max_flows: 100,
        tunnel_parts_flows: false,
        seed: 7,
    })
}

fn udp<'a>(at: f64, from: (&str, u16), to: (&str, u16), payload: &'a [u8]) -> Packet<'a> {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let length = 42 + payload.len() as u32;
    let packet = Packet::new(Timestamp::from_ns((at * 1e9) as i64), length, ip(from.0), ip(to.0), L4::UDP);
    let (src_port, dst_port, payload_len) = (from.1, to.1, payload.len() as u32);
    Packet { src_port, dst_port, payload, payload_len, ..packet }
}

fn tcp<'a>(at: f64, from: (&str, u16), to: (&str, u16), flags: u8, payload: &'a [u8]) -> Packet<'a> {
    // A SYN takes one number, so that payload follows it.
    let seq = u32::from(flags & TCP_SYN == 0);
    let header = TcpHeader { seq, ack: 1, flags, window: 1000 };
    Packet { l4: L4::TCP, tcp: Some(header), ..udp(at, from, to, payload) }
}

const A: (&str, u16) = ("192.0.2.1", 40_000);
const B: (&str, u16) = ("198.51.100.9", 9999);

/// Feeds a packet after moving time to it.
fn feed(table: &mut FlowTable, packet: &Packet<'_>) -> Vec<FlowEvent> {
    let mut events = Vec::new();
    while table.advance(packet.ts, &mut events) {}
    table.on_packet(packet, &mut events);
    // As the pipeline does: who was told the status is told once.
    for event in &events {
        if let FlowEvent::StatusChanged { flow, .. } = event {
            table.status_told(*flow);
        }
    }
    events
}

/// Moves time on and gives what happened, with the second in which it did.
fn pass(table: &mut FlowTable, to: f64) -> Vec<(f64, FlowEvent)> {
    let mut all = Vec::new();
    for second in (table.now().secs() + 1)..=(to as i64) {
        let mut events = Vec::new();
        while table.advance(Timestamp::from_secs(second), &mut events) {}
        all.extend(events.into_iter().map(|e| (second as f64, e)));
    }
    all
}

/// The record of the live flow with the lowest id but `number`.
fn record(table: &FlowTable, number: usize, ifid: u32) -> FlowRecord {
    let networks = LocalNetworks::default();
    table.record(table.iter()[number], RecordContext { ifid, networks: &networks }, None)
}

fn ended(events: &[(f64, FlowEvent)]) -> Vec<(f64, FlowEnd, &Flow)> {
    events
        .iter()
        .filter_map(|(at, event)| match event {
            FlowEvent::End { flow, reason } => Some((*at, *reason, &**flow)),
            _ => None,
        })
        .collect()
}

#[test]
fn both_directions_are_one_flow_and_the_first_sender_is_the_client() {
    let mut table = table();
    feed(&mut table, &udp(1.0, B, A, &[0xee; 10]));
    feed(&mut table, &udp(1.1, A, B, &[0xee; 30]));
    assert_eq!(table.len(), 1);
    let flow = record(&table, 0, 3);
    assert_eq!((flow.client.ip.to_string().as_str(), flow.client.port), B);
    assert_eq!((flow.cli2srv.packets, flow.cli2srv.bytes, flow.cli2srv.goodput_bytes), (1, 52, 10));
    assert_eq!((flow.srv2cli.packets, flow.srv2cli.bytes), (1, 72));
    assert_eq!((flow.ifid, flow.first_seen.ns(), flow.last_seen.ns()), (3, 1_000_000_000, 1_100_000_000));
}

#[test]
fn vlans_part_flows() {
    let mut table = table();
    feed(&mut table, &udp(1.0, A, B, &[]));
    feed(&mut table, &Packet { vlan: 42, ..udp(1.0, A, B, &[]) });
    assert_eq!(table.len(), 2);
    // Two customers of one provider with the same addresses.
    for inner_vlan in [7, 8, 7] {
        feed(&mut table, &Packet { vlan: 42, inner_vlan, ..udp(1.0, A, B, &[]) });
    }
    assert_eq!(table.len(), 4);
    let flow = record(&table, 2, 3);
    assert_eq!((flow.vlan, flow.inner_vlan, flow.cli2srv.packets), (42, 7, 2));
}

#[test]
fn tunnels_part_flows_when_told_to() {
    let inside = |id| Packet { tunnel: Some(Tunnel { kind: TunnelKind::Vxlan, id }), ..udp(1.0, A, B, &[]) };
    for (tunnel_parts_flows, flows) in [(false, 1), (true, 3)] {
        let mut table = FlowTable::new(TableConfig { tunnel_parts_flows, ..table().config });
        for packet in [inside(1), inside(2), inside(1), udp(1.0, A, B, &[])] {
            feed(&mut table, &packet);
        }
        assert_eq!(table.len(), flows);
    }
}

#[test]
fn an_idle_flow_ends_once_after_its_timeout() {
    let mut table = table();
    feed(&mut table, &udp(10.0, A, B, &[0xee; 4]));
    feed(&mut table, &udp(40.0, A, B, &[0xee; 4]));
    let events = pass(&mut table, 300.0);
    let ends = ended(&events);
    assert_eq!(ends.len(), 1);
    assert_eq!((ends[0].0, ends[0].1), (100.0, FlowEnd::Idle));
    assert!(table.is_empty());
}

#[test]
fn a_closed_connection_ends_after_its_linger_and_a_new_one_is_a_new_flow() {
    let mut table = table();
    feed(&mut table, &tcp(1.0, A, B, TCP_SYN, &[]));
    feed(&mut table, &tcp(1.1, B, A, TCP_SYN | TCP_ACK, &[]));
    feed(&mut table, &tcp(1.2, A, B, TCP_ACK, &[]));
    feed(&mut table, &tcp(2.0, A, B, TCP_FIN | TCP_ACK, &[]));
    feed(&mut table, &tcp(2.1, B, A, TCP_FIN | TCP_ACK, &[]));
    let reopened = feed(&mut table, &tcp(3.0, A, B, TCP_SYN, &[]));
    assert!(reopened.iter().any(|e| matches!(e, FlowEvent::End { reason: FlowEnd::Closed, .. })));
    assert_eq!(table.len(), 1);
    feed(&mut table, &tcp(3.1, B, A, TCP_RST | TCP_ACK, &[]));
    let events = pass(&mut table, 100.0);
    let ends = ended(&events);
    assert_eq!((ends[0].0, ends[0].1), (19.0, FlowEnd::Closed), "15 s after the reset");
    assert_eq!(ends[0].2.tcp.state, TcpState::Reset);
    assert_ne!(ends[0].2.status & FlowStatus::TcpRefused.bit(), 0);
    assert!(ends[0].2.connection_failed());
}

#[test]
fn a_synack_first_comes_from_the_server() {
    let mut table = table();
    feed(&mut table, &tcp(1.0, B, A, TCP_SYN | TCP_ACK, &[]));
    let flow = record(&table, 0, 0);
    assert_eq!(flow.client.port, A.1);
    feed(&mut table, &tcp(1.0, ("192.0.2.7", 80), ("192.0.2.8", 5000), TCP_ACK, &[]));
    let flow = record(&table, 1, 0);
    assert_eq!((flow.server.port, flow.tcp_state), (80, TcpState::Midstream));
}

#[test]
fn detection_gives_up_after_silence_and_guesses_by_port() {
    let mut table = table();
    let server = ("198.51.100.9", 80);
    feed(&mut table, &tcp(0.0, A, server, TCP_ACK, &[]));
    assert!(pass(&mut table, 7.0).is_empty(), "who said nothing may yet speak");
    // A conversation that began before the capture cannot be refused by its middle.
    feed(&mut table, &tcp(8.0, A, server, TCP_ACK, &[0xff; 3]));
    let events = pass(&mut table, 14.0);
    assert!(matches!(events[..], [(13.0, FlowEvent::ProtocolDetected(_))]), "{events:?}");
    let flow = table.iter()[0];
    assert_eq!((flow.l7().unwrap().name(), flow.l7_source), ("HTTP", L7Source::PortGuess));
    assert!(feed(&mut table, &tcp(15.0, A, server, TCP_ACK, &[])).is_empty(), "told once");
}

#[test]
fn the_first_word_is_read_however_late() {
    let mut table = table();
    feed(&mut table, &tcp(0.0, A, B, TCP_SYN, &[]));
    pass(&mut table, 19.0);
    let request = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
    let events = feed(&mut table, &tcp(19.1, A, B, TCP_ACK, request));
    assert!(matches!(events[0], FlowEvent::ProtocolDetected(_)), "{events:?}");
    assert_eq!(&*record(&table, 0, 0).l7, "HTTP");
}

#[test]
fn a_keepalive_is_no_word_of_the_application() {
    let mut table = table();
    feed(&mut table, &tcp(0.0, A, ("198.51.100.9", 139), TCP_ACK, &[0]));
    assert!(pass(&mut table, 7.0).is_empty());
}

#[test]
fn who_refused_the_payload_is_not_guessed() {
    let mut table = table();
    feed(&mut table, &udp(1.0, A, ("198.51.100.9", 53), &[0xff; 3]));
    pass(&mut table, 7.0);
    let flow = table.iter()[0];
    assert_eq!((flow.l7().unwrap().name(), flow.l7_source), ("Unknown", L7Source::Unknown));
}

#[test]
fn detection_is_told_with_the_packet_that_decides() {
    let mut table = table();
    let request = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
    feed(&mut table, &tcp(1.0, A, B, TCP_SYN, &[]));
    let events = feed(&mut table, &tcp(1.1, A, B, TCP_ACK, request));
    assert!(matches!(events[0], FlowEvent::ProtocolDetected(_)), "{events:?}");
    let flow = record(&table, 0, 0);
    assert_eq!((&*flow.l7, flow.l7_source, flow.info.name()), ("HTTP", L7Source::Payload, "example.org"));
    assert_ne!(flow.status & FlowStatus::NonStandardPort.bit(), 0, "HTTP on port 9999");
}

#[test]
fn updates_come_each_interval_of_a_live_flow() {
    let mut table = table();
    let mut updates = Vec::new();
    for n in 0..20 {
        let at = 10.0 + 30.0 * f64::from(n);
        for event in feed(&mut table, &udp(at, A, B, &[0xee; 4])) {
            if let FlowEvent::PeriodicUpdate { tick, .. } = event {
                updates.push((at, tick));
            }
        }
    }
    assert_eq!(updates, [(130.0, 1), (250.0, 2), (370.0, 3), (490.0, 4)]);
}

#[test]
fn a_flow_past_its_active_timeout_goes_on_as_its_successor() {
    let mut table = FlowTable::new(TableConfig { active_s: 100, ..table().config });
    let request = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n";
    feed(&mut table, &tcp(1.0, A, B, TCP_SYN, &[]));
    feed(&mut table, &tcp(1.1, A, B, TCP_ACK, request));
    let mut events = Vec::new();
    for n in 1..6 {
        let at = 1.0 + 30.0 * f64::from(n);
        events.extend(feed(&mut table, &tcp(at, B, A, TCP_ACK, &[1; 100])));
    }
    let ends: Vec<_> = events
        .iter()
        .filter_map(|e| match e {
            FlowEvent::End { flow, reason } => Some((flow, *reason)),
            _ => None,
        })
        .collect();
    assert_eq!((ends.len(), ends[0].1), (1, FlowEnd::Active));
    assert_eq!(ends[0].0.srv2cli.packets, 3);
    let successor = record(&table, 0, 0);
    assert_eq!((successor.id, &*successor.l7, successor.info.name()), (2, "HTTP", "example.org"));
    assert_eq!((successor.client.port, successor.srv2cli.packets), (A.1, 2));
}

#[test]
fn a_full_table_evicts_an_unanswered_packet_first_and_counts() {
    let mut table = FlowTable::new(TableConfig { max_flows: 3, ..table().config });
    feed(&mut table, &udp(1.0, A, B, &[]));
    feed(&mut table, &udp(1.1, B, A, &[]));
    feed(&mut table, &udp(2.0, ("192.0.2.2", 1), B, &[]));
    feed(&mut table, &udp(3.0, ("192.0.2.3", 1), B, &[]));
    let events = feed(&mut table, &udp(4.0, ("192.0.2.4", 1), B, &[]));
    let evicted = events.iter().find_map(|e| match e {
        FlowEvent::End { flow, reason: FlowEnd::Evicted } => Some(flow.id),
        _ => None,
    });
    assert_eq!((evicted, table.len(), table.evicted()), (Some(2), 3, 1));
}

#[test]
fn a_conversation_outlives_what_goes_one_way_or_is_over() {
    let mut table = FlowTable::new(TableConfig { max_flows: 3, ..table().config });
    let (talk, over, one_way) = (A, ("192.0.2.2", 2), ("192.0.2.3", 3));
    feed(&mut table, &udp(1.0, talk, B, &[]));
    feed(&mut table, &udp(1.1, B, talk, &[]));
    feed(&mut table, &tcp(2.0, over, B, TCP_SYN, &[]));
    feed(&mut table, &tcp(2.1, B, over, TCP_RST, &[]));
    feed(&mut table, &udp(3.0, one_way, B, &[]));
    feed(&mut table, &udp(3.1, one_way, B, &[]));
    let mut evicted = |at, port| {
        let events = feed(&mut table, &udp(at, ("192.0.2.9", port), B, &[]));
        events.iter().find_map(|event| match event {
            FlowEvent::End { flow, reason: FlowEnd::Evicted } => Some(flow.id),
            _ => None,
        })
    };
    assert_eq!(evicted(4.0, 1), Some(2), "the longest idle of those that are over or unanswered");
    assert_eq!([evicted(4.1, 2), evicted(4.2, 3)], [Some(4), Some(5)], "single packets come first");
    assert_eq!((table.evicted(), table.iter()[0].id), (3, 1));
}

#[test]
fn a_drain_ends_every_flow_in_order_of_age() {
    let mut table = table();
    for n in 0..50 {
        feed(&mut table, &udp(1.0, ("192.0.2.5", 1000 + n), B, &[]));
    }
    let mut events = Vec::new();
    table.drain(FlowEnd::Shutdown, &mut events);
    let ids: Vec<u64> = events
        .iter()
        .filter_map(|e| match e {
            FlowEvent::End { flow, .. } => Some(flow.id),
            _ => None,
        })
        .collect();
    assert_eq!(ids, (1..=50).collect::<Vec<_>>());
}

#[test]
fn time_that_runs_backwards_counts_as_now() {
    let mut table = table();
    feed(&mut table, &udp(100.0, A, B, &[]));
    feed(&mut table, &udp(50.0, A, B, &[]));
    let flow = table.iter()[0];
    assert_eq!((flow.first_seen.secs(), flow.last_seen.secs()), (100, 100));
}

#[test]
fn a_live_flow_takes_little_memory() {
    assert!(size_of::<Flow>() <= 224, "{}", size_of::<Flow>());
}

#[test]
fn a_record_tells_resets_ip_flags_service_and_the_time_to_an_answer_by_direction() {
    use shared::model::flow::{IP_DF, IP_MF};
    let mut table = table();
    feed(&mut table, &Packet { tos: 0xb8, ip_flags: IP_DF, ..udp(1.0, A, B, b"?") });
    feed(&mut table, &Packet { tos: 0, ip_flags: IP_MF, ..udp(1.5, A, B, b"?") });
    feed(&mut table, &Packet { tos: 0x20, ..udp(1.75, B, A, b"!") });
    feed(&mut table, &Packet { tos: 0x40, ..udp(3.0, B, A, b"!") });
    let flow = record(&table, 0, 1);
    assert_eq!((flow.reply_us, flow.rtt_server_us), (750_000, 0));
    assert_eq!((flow.cli2srv.tos, flow.srv2cli.tos), (0xb8, 0x20));
    assert_eq!((flow.cli2srv.ip_flags, flow.srv2cli.ip_flags), (IP_DF | IP_MF, 0));
    feed(&mut table, &tcp(4.0, A, B, TCP_SYN, b""));
    feed(&mut table, &tcp(4.1, B, A, TCP_RST | TCP_ACK, b""));
    let flow = record(&table, 1, 2);
    assert_eq!((flow.cli2srv.resets, flow.srv2cli.resets, flow.reply_us), (0, 1, 0));
    assert_eq!((flow.cli2srv.packets, flow.rtt_server_us), (1, 0));
}

#[test]
fn packets_show_broadcasts_random_echoes_and_fragmented_names() {
    let random: Vec<u8> = (0..600_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let bits = |packets: &[Packet<'_>]| {
        let mut table = table();
        packets.iter().for_each(|packet| drop(feed(&mut table, packet)));
        record(&table, 0, 1).status
    };
    let icmp = |kind: u8, data| {
        let mut packet = udp(1.0, (A.0, 0), ("255.255.255.255", 0), data);
        (packet.l4, packet.icmp) = (L4::ICMP, Some((kind, 0)));
        packet
    };
    let broadcast = FlowStatus::BroadcastNonUdp.bit();
    assert_eq!(bits(&[icmp(8, &[0x55; 100])]), broadcast);
    assert_eq!(bits(&[icmp(8, &random)]), broadcast | FlowStatus::SuspiciousEntropy.bit());
    assert_eq!(bits(&[icmp(3, &random)]), broadcast, "an error carries a packet");
    assert_eq!(bits(&[udp(1.0, A, ("255.255.255.255", 9), &random)]), 0);

    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x07example\x03org\0\0\x01\0\x01";
    let server = (B.0, 53);
    assert_eq!(bits(&[udp(1.0, A, server, question)]), 0);
    let mut fragment = udp(1.1, A, server, b"");
    fragment.fragment = crate::decode::Fragment::Later;
    assert_eq!(bits(&[udp(1.0, A, server, question), fragment]), FlowStatus::FragmentedDns.bit());
}

#[test]
fn headers_that_contradict_the_frame_are_malformed() {
    use crate::decode::DecodeError;
    let mut table = table();
    feed(&mut table, &udp(1.0, A, B, b"fine"));
    assert_eq!(record(&table, 0, 1).status, 0);
    let flawed = Packet { flaw: Some(DecodeError::Ipv4LengthBeyondFrame), ..udp(1.1, A, B, b"cut") };
    let events = feed(&mut table, &flawed);
    assert_eq!(record(&table, 0, 1).status, FlowStatus::MalformedPacket.bit());
    assert!(matches!(events[..], [FlowEvent::StatusChanged { flow: 0, old: 0 }]), "{events:?}");
}

#[test]
fn what_the_capture_cut_off_proves_nothing() {
    // A question of SNMP by scapy.
    const GET: &[u8] = b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01\x02\x01\0\x02\x01\0\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\0\x05\0";
    let server = (B.0, 161);
    let mut table = table();
    feed(&mut table, &udp(1.0, A, server, GET));
    feed(&mut table, &Packet { payload_len: GET.len() as u32, ..udp(1.1, A, server, &GET[..20]) });
    assert_eq!((&*record(&table, 0, 1).l7, record(&table, 0, 1).status), ("SNMP", 0));
    feed(&mut table, &udp(1.2, A, server, &GET[..20]));
    assert_eq!(record(&table, 0, 1).status, FlowStatus::MalformedPacket.bit());
}

mod order;
