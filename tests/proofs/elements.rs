//! Checks of thresholds, of what ARP shows, of interfaces and of flowhook itself.

use super::Proof;
use super::floods::arps;
use super::moves::again;
use super::show::{download, hex, inside, page, resolve, unanswered, upload};
use crate::support::traffic::Wire;

const OVER_10_000: &str = r#"{ "operator": "gt", "threshold": 10000 }"#;
const OVER_50: &str = r#"{ "operator": "gt", "threshold": 50 }"#;

/// A handshake of BitTorrent (BEP 3) and `bytes` of pieces.
fn torrent(bytes: usize) -> impl FnOnce(&mut Wire) {
    move |wire| {
        let mut hello = hex("13426974546f7272656e742070726f746f636f6c");
        hello.resize(68, 7);
        wire.tcp(6881, &[(true, &hello), (false, &hello), (false, &vec![7; bytes])], false);
    }
}

fn names(n: usize) -> impl FnOnce(&mut Wire) {
    move |wire| (0..n).for_each(|_| resolve(wire, "www.example.org"))
}

/// Packets each second, for `seconds`.
fn busy(seconds: usize) -> impl FnOnce(&mut Wire) {
    move |wire| {
        for _ in 0..seconds {
            wire.datagram(true, [203, 0, 113, 5], 50_000, 9999, b"x");
            wire.wait(1);
        }
    }
}

/// Something, then nothing for two minutes, then something.
fn pause(wire: &mut Wire) {
    page(wire);
    wire.wait(150);
    page(wire);
}

/// Every minute for four minutes, connections of which many segments, or few, are sent again.
fn minutes(every: usize) -> impl FnOnce(&mut Wire) {
    move |wire| {
        for _ in 0..4 {
            again(every)(wire);
            wire.client.1 += 1;
            wire.wait(60);
        }
    }
}

/// ARP questions of a host for an address.
fn arp(from: [u8; 4], target: [u8; 4]) -> impl FnOnce(&mut Wire) {
    move |wire| {
        wire.client.0 = from;
        wire.arp(target);
    }
}

/// An export datagram (NetFlow version 5) with one flow, from `exporter`.
fn export(wire: &mut Wire, exporter: [u8; 4]) {
    let now = u32::try_from(wire.now().secs()).unwrap();
    let mut datagram = vec![0, 5, 0, 1];
    datagram.extend(60_000_u32.to_be_bytes());
    datagram.extend(now.to_be_bytes());
    datagram.resize(24, 0);
    datagram.extend([192, 168, 1, 10, 203, 0, 113, 5, 0, 0, 0, 0, 0, 1, 0, 2]);
    for number in [7_u32, 700, 59_000, 60_000] {
        datagram.extend(number.to_be_bytes());
    }
    datagram.extend([0xc3, 0x50, 0, 53, 0, 0, 17]);
    datagram.resize(24 + 48, 0);
    wire.client.0 = exporter;
    wire.datagram(true, [10, 0, 0, 1], 2055, 2055, &datagram);
}

/// Two exporters for five minutes, the second only for so many.
fn exporters(minutes: usize) -> impl FnOnce(&mut Wire) {
    move |wire| {
        for minute in 0..5 {
            export(wire, [10, 0, 0, 2]);
            if minute < minutes {
                export(wire, [10, 0, 0, 3]);
            }
            wire.wait(60);
        }
    }
}

/// Packets and, beside them, drops.
fn drops(packets: u64) -> impl FnOnce(&mut Wire) {
    move |wire| {
        busy(50)(wire);
        wire.drop_packets(packets);
    }
}

/// A flow that lives for more than two minutes, while the interface keeps up or does not.
fn long(overload: bool) -> impl FnOnce(&mut Wire) {
    move |wire| {
        busy(1)(wire);
        if overload {
            wire.overload();
        }
        busy(150)(wire);
    }
}

proofs! {
    host_bytes [config(OVER_10_000)]: download(20_000), page;
    host_packets [config(OVER_50)]: download(100_000), page;
    host_throughput [config(OVER_10_000)]: download(200_000), page;
    host_flows [config(OVER_50)]: unanswered(60), unanswered(40);
    host_dns [config(OVER_50)]: names(60), names(40);
    host_p2p [config(OVER_10_000)]: torrent(20_000), download(20_000);
    host_active [config(r#"{ "operator": "gt", "threshold": 10 }"#)]: busy(20), busy(5);
    network_bytes [config(OVER_10_000)]: download(20_000), page;
    network_ingress [config(OVER_10_000)]: download(20_000), page;
    network_egress [config(OVER_10_000)]: upload(20_000), download(20_000);
    network_inner [config(OVER_10_000)]: inside(download(20_000)), download(20_000);
    network_issues [config(r#"{ "threshold": 15, "minutes": 3, "packets": 20 }"#)]: minutes(2), minutes(30);
    broadcast_domain_too_large []: arp([192, 168, 1, 10], [10, 0, 0, 1]), arp([192, 168, 1, 10], [192, 168, 1, 1]);
    ghost_networks []: arp([198, 18, 0, 1], [198, 18, 0, 9]), arps(50);
    interface_bytes [config(OVER_10_000)]: download(20_000), page;
    interface_packets [config(OVER_50)]: download(100_000), page;
    interface_throughput [config(OVER_10_000)]: download(200_000), page;
    interface_dns [config(OVER_50)]: names(60), names(40);
    interface_p2p [config(OVER_10_000)]: torrent(20_000), download(20_000);
    interface_idle [config(r#"{ "operator": "lt", "threshold": 5 }"#)]: pause, busy(150);
    active_local_hosts [config(r#"{ "operator": "gt", "threshold": 1 }"#)]: inside(page), page;
    no_activity []: pause, busy(150);
    no_exporter_activity [collects()]: exporters(1), exporters(5);
    too_many_drops []: drops(10), drops(1);
    too_many_flows [flows(100)]: unanswered(200), unanswered(50);
    flow_calls_drops []: long(true), long(false);
    too_many_hosts [hosts(50)]: unanswered(100), unanswered(20);
    summaries_missing [loses(1)]: busy(5), page;
    periodic_activity_not_executed []: |wire: &mut Wire| {
        page(wire);
        wire.wait(10 * 86_400);
        page(wire);
    }, pause;
    system_error [beside_one_that("if params.entity_info.ip == \"203.0.113.6\" { throw \"no\" }")]: |wire: &mut Wire| {
        wire.server = [203, 0, 113, 6];
        page(wire);
    }, page;
    slow_periodic_activity [deadline(40), beside_one_that("let n = 0; let end = if params.delta.bytes > 10000 { 900000 } else { 1 }; while n < end { n += 1; }")]:
        download(20_000), page;
    disk_monitor [disk(20_000)]: download(19_000), page;
    dropped_alerts [beside_one_that("if params.delta.flows_as_server == 1 { for n in 0..900 { trigger_alert(#{ type: `t${n}` }); } }")]:
        |wire: &mut Wire| {
            unanswered(120)(wire);
            wire.wait(70);
            page(wire);
        }, unanswered(5);
}
