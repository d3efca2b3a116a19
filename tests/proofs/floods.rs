//! Checks of hosts: scans, floods, whom they get in touch with, what is unusual.

use shared::model::flow::{TCP_ACK, TCP_FIN, TCP_SYN};

use super::Proof;
use super::show::{
    SSH, clock, dns, each, mail, page, refused, request, resolve, ssh, unanswered, unanswered_by_one,
    unanswered_by_ours, upload,
};
use crate::support::traffic::Wire;

/// Flags alone, to `n` hosts.
fn flags(flags: u8, n: u16) -> impl FnOnce(&mut Wire) {
    move |wire| each(n, |server, port| wire.flags(flags, true, server, port, 445))
}

fn pings(n: usize) -> impl FnOnce(&mut Wire) {
    move |wire| (0..n).for_each(|_| wire.ip(1, true, [203, 0, 113, 5], &[8, 0, 0, 0, 0, 1, 0, 1, 0]))
}

/// Questions for as many names, to so many servers, with answers or without.
fn questions(names: u16, servers: u16, answered: bool) -> impl FnOnce(&mut Wire) {
    move |wire| {
        each(names, |_, port| {
            let (server, name) = ([203, 0, 113, (port % servers) as u8], format!("host{port}.example.org"));
            wire.datagram(true, server, port, 53, &dns(&name, 0x0100));
            if answered {
                wire.datagram(false, server, port, 53, &dns(&name, 0x8180));
            }
        });
    }
}

fn clocks(servers: u16) -> impl FnOnce(&mut Wire) {
    move |wire| each(servers, |server, port| clock(wire, server, port))
}

fn mails(servers: u8) -> impl FnOnce(&mut Wire) {
    move |wire| {
        for server in 0..servers {
            wire.server = [203, 0, 113, server];
            mail(wire);
        }
    }
}

/// Pages of two countries.
fn abroad(wire: &mut Wire) {
    page(wire);
    wire.server = [198, 51, 100, 7];
    page(wire);
}

/// A host that is asked for `n` addresses by ARP.
pub fn arps(n: u16) -> impl FnOnce(&mut Wire) {
    move |wire| (0..n).for_each(|n| wire.arp([192, 168, 1, (n % 250) as u8]))
}

/// Pages before and after the client's hardware address has changed by `by`.
fn moved(by: u8) -> impl FnOnce(&mut Wire) {
    move |wire| {
        page(wire);
        wire.wait(70);
        wire.macs[0][5] += by;
        page(wire);
    }
}

/// The same each 150 seconds for an hour, and at the end `last`.
fn as_ever(usual: impl Fn(&mut Wire), last: impl FnOnce(&mut Wire)) -> impl FnOnce(&mut Wire) {
    move |wire| {
        for _ in 0..24 {
            wire.client.1 += 1;
            usual(wire);
            wire.wait(150);
        }
        wire.client.1 += 1;
        last(wire);
        wire.wait(150);
    }
}

fn uploads(bytes: usize) -> impl Fn(&mut Wire) {
    move |wire| upload(bytes)(wire)
}

fn flows(n: u16) -> impl Fn(&mut Wire) {
    move |wire| each(n, |server, port| wire.datagram(true, server, port, 9999, b"x"))
}

/// One packet of the client's each 20 seconds, for three minutes.
fn now_and_then(wire: &mut Wire) {
    for _ in 0..9 {
        wire.datagram(true, [203, 0, 113, 5], 50_000, 9999, b"x");
        wire.wait(20);
    }
}

/// A page of one host, then three minutes of another.
fn falls_silent(wire: &mut Wire) {
    page(wire);
    wire.client.0 = [192, 168, 1, 11];
    now_and_then(wire);
}

const FEW: &str = r#"{ "threshold": 5 }"#;

proofs! {
    syn_scan []: unanswered(300), unanswered(200);
    syn_scan_victim []: unanswered_by_one(300), unanswered(300);
    syn_flood [config(FEW)]: unanswered(400), unanswered(100);
    syn_flood_victim [config(FEW)]: unanswered_by_one(400), unanswered(400);
    scan_detection []: flags(TCP_SYN, 300), page;
    fin_scan []: flags(TCP_FIN, 300), flags(TCP_FIN | TCP_ACK, 300);
    rst_scan []: refused(300), unanswered(300);
    icmp_flood [config(FEW)]: pings(400), pings(100);
    flow_flood [config(FEW)]: unanswered(400), unanswered(100);
    flow_flood_victim [config(FEW)]: unanswered_by_one(400), unanswered(400);
    arp_scan []: arps(200), arps(50);
    dns_flood [config(FEW)]: questions(400, 7, true), questions(100, 7, true);
    dns_contacts []: questions(300, 7, true), questions(300, 3, true);
    domain_names_contacts []: |wire: &mut Wire| {
        questions(300, 3, true)(wire);
        wire.wait(2);
        page(wire);
    }, |wire: &mut Wire| {
        (0..300).for_each(|_| resolve(wire, "www.example.org"));
    };
    ntp_contacts []: clocks(9), clocks(3);
    smtp_contacts []: mails(9), mails(3);
    peers_contacts [config(FEW)]: unanswered(9), unanswered(3);
    countries_contacts [config(r#"{ "threshold": 1 }"#), places()]: abroad, page;
    request_reply_ratio []: questions(300, 1, false), questions(300, 1, true);
    remote_connection []: ssh(SSH, SSH), page;
    ip_reassignment []: moved(7), moved(0);
    score_threshold [config(FEW), beside("http_suspicious_url")]: request("/.git/config", ""), page;
    dangerous_host [config(FEW), beside("http_suspicious_url")]: request("/.git/config", ""), page;
    network_score [config(FEW), beside("http_suspicious_url")]: request("/.git/config", ""), page;
    network_syn_flood_victim [config(FEW)]: unanswered_by_ours(400), unanswered(400);
    network_syn_scan_victim [config(FEW)]: unanswered_by_ours(400), unanswered(400);
    network_flow_flood_victim [config(FEW)]: unanswered_by_ours(400), unanswered(400);
    network_discovery []: arps(300), arps(50);
    host_idle [config(r#"{ "operator": "gt", "threshold": 60 }"#)]: falls_silent, now_and_then;
    host_traffic_behaviour [config(USUAL)]: as_ever(uploads(50_000), uploads(3_000_000)),
        as_ever(uploads(50_000), uploads(52_000));
    host_flows_behaviour [config(USUAL)]: as_ever(flows(50), flows(2000)), as_ever(flows(50), flows(52));
    interface_traffic_behaviour [config(USUAL)]: as_ever(uploads(50_000), uploads(3_000_000)),
        as_ever(uploads(50_000), uploads(52_000));
    interface_score_behaviour [config(USUAL), beside("http_suspicious_url")]:
        as_ever(page, |wire| (0..20).for_each(|_| request("/.git/config", "")(wire))), as_ever(page, page);
}

const USUAL: &str = r#"{ "weight": 0.1, "deviations": 4.0, "learning": 6, "least": 500.0, "kept": 100 }"#;
