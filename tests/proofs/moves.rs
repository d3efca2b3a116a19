//! Checks of how flows go: answers, resets, times and sizes, and who speaks with whom.

use shared::model::flow::{TCP_ACK, TCP_PSH, TCP_SYN};

use super::Proof;
use super::show::{SSH, download, inside, page, ping, refused, ssh, then, upload};
use crate::support::traffic::Wire;

/// A connection of which segments are sent again: every n-th.
pub fn again(every: usize) -> impl FnOnce(&mut Wire) {
    move |wire| {
        let server = wire.server;
        let port = wire.client.1;
        wire.flags(TCP_SYN, true, server, port, 8123);
        wire.flags(TCP_SYN | TCP_ACK, false, server, port, 8123);
        let segment = |number: usize| {
            let mut segment = [port.to_be_bytes(), 8123_u16.to_be_bytes()].concat();
            segment.extend((2 + number as u32 * 100).to_be_bytes());
            segment.extend([0, 0, 0, 2, 0x50, TCP_ACK | TCP_PSH, 0xff, 0xff, 0, 0, 0, 0]);
            segment.extend([b'x'; 100]);
            segment
        };
        for number in 0..60 {
            wire.ip(6, true, server, &segment(number));
            if number % every == every - 1 {
                wire.ip(6, true, server, &segment(number));
            }
        }
    }
}

/// Datagrams of one flow at these distances in seconds, answered or not.
fn datagrams(count: usize, seconds: i64, answered: bool) -> impl FnOnce(&mut Wire) {
    move |wire| {
        for _ in 0..count {
            wire.udp(9999, &[(true, b"ping")]);
            if answered {
                wire.udp(9999, &[(false, b"pong")]);
            }
            wire.wait(seconds);
        }
    }
}

fn elsewhere(wire: &mut Wire) {
    wire.server = [198, 51, 100, 9];
    ssh(SSH, SSH)(wire);
}

proofs! {
    tcp_no_data_exchanged []: |wire: &mut Wire| wire.tcp(8443, &[], false), page;
    probing_attempt []: |wire: &mut Wire| wire.tcp(22, &[], true), page;
    tcp_reset []: |wire: &mut Wire| wire.tcp(80, &[(true, b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")], true), page;
    tcp_refused []: refused(1), page;
    tcp_unanswered []: |wire: &mut Wire| wire.flags(TCP_SYN, true, [203, 0, 113, 5], 50_000, 80), refused(1);
    unidirectional []: datagrams(1, 0, false), datagrams(1, 0, true);
    broadcast_non_udp []: |wire: &mut Wire| {
        wire.ip(1, true, [255; 4], &[8, 0, 0, 0, 0, 1, 0, 1]);
    }, ping;
    periodic_beacon []: datagrams(40, 30, false), datagrams(4, 30, false);
    zero_tcp_window []: |wire: &mut Wire| {
        wire.window = 0;
        page(wire);
    }, page;
    tcp_issues []: again(2), again(30);
    tcp_packets_issues []: again(2), again(30);
    low_goodput []: |wire: &mut Wire| {
        let words: Vec<(bool, &[u8])> = vec![(true, b"x"); 2000];
        wire.tcp(8123, &words, false);
    }, download(200_000);
    not_purged [config(r#"{ "threshold": 20 }"#)]: |wire: &mut Wire| {
        datagrams(16, 47, true)(wire);
    }, |wire: &mut Wire| datagrams(70, 10, true)(wire);
    long_lived_flow [config(r#"{ "threshold": 3000, "except": [] }"#)]: datagrams(80, 50, true), datagrams(40, 50, true);
    elephant_flow [config(r#"{ "out": 500000, "into": 500000, "except": [] }"#)]: download(600_000), inside(download(600_000));
    data_exfiltration [config(r#"{ "bytes": 500000, "times": 10, "except": [] }"#)]: upload(600_000), download(600_000);
    rare_destination [config(r#"{ "learning": 60, "kept": 100 }"#)]: then(page, elsewhere), then(page, page);
    lateral_movement [config(r#"{ "learning": 60, "kept": 100 }"#)]: then(inside(page), inside(ssh(SSH, SSH))),
        then(inside(page), inside(page));
}
