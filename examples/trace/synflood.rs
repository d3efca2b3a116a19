//! A SYN flood with spoofed sources on one server, which goes on talking with its 300 clients: their
//! handshakes come before the flood, a packet of each comes every second of it, their ends after it.

use std::io::{self, Write};

use shared::model::flow::{TCP_ACK as ACK, TCP_FIN as FIN, TCP_SYN as SYN};

use crate::draw::Draw;
use crate::frame::Talk;
use crate::payload::{http_answer, http_request};
use crate::pcap::Pcap;

const CONNECTIONS: u64 = 300;

/// The server's address: 192.0.2.80.
const SERVER: (u32, u16) = (0xc000_0250, 80);

/// 100,000 SYNs a second.
const SYN_EVERY_US: u64 = 10;

pub fn write(out: &mut Pcap<impl Write>, syns: u64, seed: u64) -> io::Result<()> {
    let mut draw = Draw::new(seed);
    let mut frame = Vec::new();
    let mut now_us = 0;
    let mut talks: Vec<Talk> = (0..CONNECTIONS as u32)
        .map(|number| Talk {
            tcp: true,
            // 198.51.100.0/23, which the flood does not use.
            client: (0xc633_6401 + number, 40_000 + number as u16),
            server: SERVER,
            seq: [draw.below(u32::MAX), draw.below(u32::MAX)],
        })
        .collect();
    let opening: [(bool, u8, Vec<u8>); 5] = [
        (true, SYN, vec![]),
        (false, SYN | ACK, vec![]),
        (true, ACK, vec![]),
        (true, ACK, http_request("download.example", 1)),
        (false, ACK, http_answer(1_000_000_000)),
    ];
    let mut say = |now_us: &mut u64, talk: &mut Talk, (from_client, flags, payload): (bool, u8, &[u8])| {
        *now_us += SYN_EVERY_US;
        talk.frame(from_client, flags, payload, &mut frame);
        out.packet(*now_us, &frame)
    };
    for (from_client, flags, payload) in &opening {
        for talk in &mut talks {
            say(&mut now_us, talk, (*from_client, *flags, payload))?;
        }
    }
    let syns_between = 1_000_000 / SYN_EVERY_US / CONNECTIONS;
    for number in 0..syns {
        let mut spoofed = Talk {
            tcp: true,
            // Half the address space: 0.0.0.0 to 127.255.255.255.
            client: (draw.below(1 << 31), 1024 + draw.below(64_000) as u16),
            server: SERVER,
            seq: [draw.below(u32::MAX), 0],
        };
        say(&mut now_us, &mut spoofed, (true, SYN, &[]))?;
        if number % syns_between == 0 {
            let turn = number / syns_between;
            let talk = &mut talks[(turn % CONNECTIONS) as usize];
            let answers = (turn / CONNECTIONS).is_multiple_of(2);
            say(&mut now_us, talk, if answers { (false, ACK, &[b'x'; 100]) } else { (true, ACK, &[]) })?;
        }
    }
    for from_client in [true, false] {
        for talk in &mut talks {
            say(&mut now_us, talk, (from_client, FIN | ACK, &[]))?;
        }
    }
    Ok(())
}
