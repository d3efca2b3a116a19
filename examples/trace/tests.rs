//! What the traces promise: the same bytes each time, time order, and as many packets and flows as said.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::*;

/// A written packet: microseconds, bytes on the wire, captured bytes.
type Record = (u64, u32, Vec<u8>);

fn trace(write: impl Fn(&mut Pcap<&mut Vec<u8>>) -> io::Result<()>) -> Vec<Record> {
    let make = || {
        let mut bytes = Vec::new();
        let mut out = Pcap::new(&mut bytes).unwrap();
        write(&mut out).unwrap();
        out.finish().unwrap();
        bytes
    };
    let bytes = make();
    assert!(bytes == make(), "not the same bytes");
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut records, mut at) = (Vec::new(), 24);
    while at < bytes.len() {
        let captured = u32_at(at + 8) as usize;
        let time = u64::from(u32_at(at)) * 1_000_000 + u64::from(u32_at(at + 4));
        records.push((time, u32_at(at + 12), bytes[at + 16..at + 16 + captured].to_vec()));
        at += 16 + captured;
    }
    assert!(records.is_sorted_by_key(|(time, ..)| *time), "not in the order of time");
    records
}

/// Packets by conversation: addresses, ports and protocol in either direction.
fn flows(records: &[Record]) -> BTreeMap<(u8, BTreeSet<Vec<u8>>), u64> {
    let mut flows = BTreeMap::new();
    for (.., frame) in records {
        let ends = BTreeSet::from([
            [&frame[26..30], &frame[34..36]].concat(),
            [&frame[30..34], &frame[36..38]].concat(),
        ]);
        *flows.entry((frame[23], ends)).or_default() += 1;
    }
    flows
}

#[test]
fn many_flows_have_five_packets_each_on_average() {
    let records = trace(|out| manyflows::write(out, 20_000, 1));
    assert_eq!(records.len(), 20_000);
    // The last flows are cut off.
    let flows = flows(&records).len();
    assert!((4_000..4_300).contains(&flows), "{flows}");
    let bytes: u64 = records.iter().map(|(_, length, _)| u64::from(*length)).sum();
    assert_eq!(bytes / 20_000, 81);
    let seconds = (records[19_999].0 - records[0].0) / 1_000_000;
    assert_eq!(seconds, 2);
}

#[test]
fn another_seed_gives_another_trace() {
    let first = trace(|out| manyflows::write(out, 1_000, 1));
    assert_ne!(first, trace(|out| manyflows::write(out, 1_000, 2)));
}

#[test]
fn connections_go_on_through_a_flood() {
    let records = trace(|out| synflood::write(out, 40_000, 1));
    let flows = flows(&records);
    assert!(flows.len() > 40_000, "{}", flows.len());
    let of = |least: u64| flows.values().filter(|packets| **packets >= least).count();
    assert_eq!((of(7), of(8)), (300, 121));
}

#[test]
fn live_flows_all_have_their_turn() {
    let records = trace(|out| live::write(out, 1_000, 3_000));
    assert_eq!(records.len(), 8_000);
    let flows = flows(&records);
    assert_eq!(flows.len(), 1_000);
    assert!(flows.values().all(|packets| *packets == 8));
}

#[test]
fn copies_of_a_capture_have_other_clients_and_the_same_servers() {
    // One exchange with a server, and one packet that is no IP.
    let folder = tempfile::tempdir().unwrap();
    let mut talk =
        frame::Talk { tcp: false, client: (0xc0a8_0102, 40_000), server: (0x0808_0808, 53), seq: [0, 0] };
    let mut capture = Pcap::new(File::create(folder.path().join("a.pcap")).unwrap()).unwrap();
    let mut frame = Vec::new();
    for (at_us, from_client) in [(0, true), (5_000, false)] {
        talk.frame(from_client, 0, b"hello", &mut frame);
        capture.packet(at_us, &frame).unwrap();
    }
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
    // Ten years later.
    capture.packet(315_000_000_000_000, &arp).unwrap();
    capture.finish().unwrap();

    let captures = mixed::load(folder.path()).unwrap();
    let records = trace(|out| mixed::write(out, &captures, 302, 1));
    assert_eq!(records.len(), 302);
    assert!(records[301].0 - records[0].0 <= 300_000_000);
    let (ip, others): (Vec<Record>, Vec<Record>) =
        records.into_iter().partition(|(.., frame)| frame[12..14] == [8, 0]);
    assert!(others.iter().all(|(.., frame)| *frame == arp));
    let flows = flows(&ip);
    assert_eq!(flows.len(), 101);
    assert!(flows.keys().all(|(_, ends)| ends.contains(&[8, 8, 8, 8, 0, 53][..].to_vec())));
}
