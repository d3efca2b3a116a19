//! Writes a capture of generated traffic, the same for the same arguments: `trace OUT PACKETS [SEED]`.
//!
//! 4 in 10 flows are DNS exchanges (2 packets), 3 HTTP (10), 1 TLS-like (7), 1 SYN answered by RST (2),
//! 1 unknown UDP (3), between 20,000 clients and 50,000 servers, 100 µs between packets.

#![allow(clippy::expect_used, clippy::print_stderr, reason = "a tool for benches")]

use std::fs::File;
use std::io::{BufWriter, Write};

use shared::backoff::unit_random;

/// Draws whole numbers that follow from the seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(1);
        (unit_random(self.0) * f64::from(bound)) as u32
    }
}

/// A segment of a conversation: from the client or not, TCP flags, payload.
type Step = (bool, u8, Vec<u8>);

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, path, packets, rest @ ..] = args.as_slice() else {
        eprintln!("usage: trace OUT.pcap PACKETS [SEED]");
        std::process::exit(2);
    };
    let packets: u64 = packets.parse().expect("PACKETS is a number");
    let seed = rest.first().map_or(1, |s| s.parse().expect("SEED is a number"));
    let mut out = BufWriter::new(File::create(path).expect("the file can be written"));
    write_trace(&mut out, packets, seed).expect("the file can be written");
}

fn write_trace(out: &mut impl Write, packets: u64, seed: u64) -> std::io::Result<()> {
    // pcap file header: little endian, microseconds, Ethernet.
    out.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
    out.write_all(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    out.write_all(&262_144_u32.to_le_bytes())?;
    out.write_all(&1_u32.to_le_bytes())?;
    let mut draw = Draw(seed);
    let mut micros: u64 = 1_700_000_000_000_000;
    let mut written = 0;
    // Sixteen conversations at a time, a segment of each in turn.
    let mut open: Vec<(Flow, std::vec::IntoIter<Step>)> = Vec::new();
    while written < packets {
        while open.len() < 16 {
            let flow = Flow::draw(&mut draw);
            let steps = flow.steps(&mut draw);
            open.push((flow, steps.into_iter()));
        }
        for place in (0..open.len()).rev() {
            let (flow, steps) = &mut open[place];
            match steps.next() {
                Some((from_client, flags, payload)) => {
                    let frame = flow.frame(from_client, flags, &payload);
                    let length = (frame.len() as u32).to_le_bytes();
                    out.write_all(&((micros / 1_000_000) as u32).to_le_bytes())?;
                    out.write_all(&((micros % 1_000_000) as u32).to_le_bytes())?;
                    out.write_all(&length)?;
                    out.write_all(&length)?;
                    out.write_all(&frame)?;
                    micros += 100;
                    written += 1;
                }
                None => drop(open.swap_remove(place)),
            }
        }
    }
    out.flush()
}

struct Flow {
    kind: u32,
    client: u32,
    server: u32,
    client_port: u16,
    server_port: u16,
    seq: [u32; 2],
}

impl Flow {
    fn draw(draw: &mut Draw) -> Self {
        let kind = draw.below(10);
        let server_port = match kind {
            0..4 => 53,
            4..7 => 80,
            7 => 443,
            8 => 8000 + draw.below(1000) as u16,
            _ => 30_000 + draw.below(1000) as u16,
        };
        Self {
            kind,
            client: 0x0a00_0000 + draw.below(20_000),
            server: 0x2d00_0000 + draw.below(50_000),
            client_port: 1024 + draw.below(60_000) as u16,
            server_port,
            seq: [draw.below(u32::MAX), draw.below(u32::MAX)],
        }
    }

    fn is_tcp(&self) -> bool {
        (4..9).contains(&self.kind)
    }

    fn steps(&self, draw: &mut Draw) -> Vec<Step> {
        use shared::model::flow::{TCP_ACK as ACK, TCP_FIN as FIN, TCP_RST as RST, TCP_SYN as SYN};
        let name = format!("h{}.example", draw.below(100_000));
        match self.kind {
            0..4 => vec![(true, 0, dns(&name, false)), (false, 0, dns(&name, true))],
            4..7 => {
                let request =
                    format!("GET /{} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: trace\r\n\r\n", draw.below(999));
                let answer =
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2800\r\n\r\n".to_vec();
                vec![
                    (true, SYN, vec![]),
                    (false, SYN | ACK, vec![]),
                    (true, ACK, vec![]),
                    (true, ACK, request.into_bytes()),
                    (false, ACK, answer),
                    (false, ACK, vec![b'x'; 1400]),
                    (false, ACK, vec![b'x'; 1400]),
                    (true, ACK, vec![]),
                    (false, FIN | ACK, vec![]),
                    (true, FIN | ACK, vec![]),
                ]
            }
            7 => vec![
                (true, SYN, vec![]),
                (false, SYN | ACK, vec![]),
                (true, ACK, vec![]),
                (true, ACK, client_hello(&name)),
                (false, ACK, [&[22, 3, 3, 0, 200][..], &[7; 200]].concat()),
                (true, FIN | ACK, vec![]),
                (false, FIN | ACK, vec![]),
            ],
            8 => vec![(true, SYN, vec![]), (false, RST | ACK, vec![])],
            _ => vec![(true, 0, vec![0xee; 60]), (false, 0, vec![0xee; 90]), (true, 0, vec![0xee; 60])],
        }
    }

    fn frame(&mut self, from_client: bool, flags: u8, payload: &[u8]) -> Vec<u8> {
        let side = usize::from(!from_client);
        let l4 = if self.is_tcp() { 20 } else { 8 };
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
        let total = (20 + l4 + payload.len()) as u16;
        frame.extend([0x45, 0]);
        frame.extend(total.to_be_bytes());
        frame.extend([0, 0, 0x40, 0, 64, if self.is_tcp() { 6 } else { 17 }, 0, 0]);
        let (mut source, mut target) = ((self.client, self.client_port), (self.server, self.server_port));
        if !from_client {
            std::mem::swap(&mut source, &mut target);
        }
        frame.extend(source.0.to_be_bytes());
        frame.extend(target.0.to_be_bytes());
        frame.extend(source.1.to_be_bytes());
        frame.extend(target.1.to_be_bytes());
        if self.is_tcp() {
            frame.extend(self.seq[side].to_be_bytes());
            frame.extend(self.seq[1 - side].to_be_bytes());
            frame.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            let marks = u32::from(flags & 3 != 0);
            self.seq[side] = self.seq[side].wrapping_add(payload.len() as u32 + marks);
        } else {
            frame.extend(((8 + payload.len()) as u16).to_be_bytes());
            frame.extend([0, 0]);
        }
        frame.extend(payload);
        frame
    }
}

/// A question for the A record of `name`, or its answer (RFC 1035 §4.1).
fn dns(name: &str, answer: bool) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, if answer { 0x81 } else { 0x01 }, if answer { 0x80 } else { 0 }];
    message.extend([0, 1, 0, u8::from(answer), 0, 0, 0, 0]);
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    if answer {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    }
    message
}

/// A TLS 1.2 hello with a server name (RFC 5246 §7.4.1.2, RFC 6066 §3).
fn client_hello(name: &str) -> Vec<u8> {
    let u16s = |n: usize| (n as u16).to_be_bytes();
    let mut sni = vec![0, 0];
    sni.extend(u16s(name.len() + 5));
    sni.extend(u16s(name.len() + 3));
    sni.push(0);
    sni.extend(u16s(name.len()));
    sni.extend(name.as_bytes());
    let mut hello = vec![3, 3];
    hello.extend([9; 32]);
    hello.extend([0, 0, 4, 0x13, 1, 0x13, 2, 1, 0]);
    hello.extend(u16s(sni.len()));
    hello.extend(sni);
    let mut record = vec![22, 3, 1];
    record.extend(u16s(hello.len() + 4));
    record.extend([1, 0]);
    record.extend(u16s(hello.len()));
    record.extend(hello);
    record
}
